import { MNT_DETACH, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { Syscalls } from "../../ffi/syscalls.ts";
import type { LayerRef } from "../../fs/graph_driver.ts";
import { mountTable } from "../../fs/mount_table.ts";
import type { RootfsSpec } from "../../runtime/spec.ts";
import { containerDir, type EngineContext } from "../context.ts";
import { newContainerId } from "../names.ts";

type Ctx = Pick<EngineContext, "dataRoot" | "driver" | "kernel" | "trees">;

/** Layers put together as the graph driver does it for a container, with a writable layer of its own. */
export interface LayerTree {
  /** Of a container that there is not: names the directory. */
  readonly id: string;
  readonly dir: string;
  readonly rootfs: RootfsSpec;
  /** Removes all of it, the writable layer included. */
  remove(): Promise<void>;
}

/**
 * Puts layers together.
 *
 * @param layers topmost first; other directories may stand among them.
 */
export async function openLayerTree(ctx: Ctx, layers: readonly LayerRef[]): Promise<LayerTree> {
  const id = newContainerId();
  const dir = containerDir(ctx, id);
  Deno.mkdirSync(dir, { recursive: true, mode: 0o710 });
  const remove = async () => {
    await ctx.driver.release(id);
    await ctx.driver.remove(id);
  };
  try {
    await ctx.driver.create(id, layers);
    return { id, dir, rootfs: await ctx.driver.acquire(id, layers), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** A tree that is there by a path, in the engine's mount namespace. */
export interface MountedTree {
  readonly path: string;
  remove(): Promise<void>;
}

/** One of layers. */
export interface MountedLayers extends MountedTree, Pick<LayerTree, "id" | "dir"> {}

/**
 * {@link openLayerTree}, mounted where the driver leaves that to the container. What an engine that was killed leaves mounted, the next one's
 * sweep unmounts.
 */
export async function mountLayerTree(ctx: Ctx, layers: readonly LayerRef[]): Promise<MountedLayers> {
  const tree = await openLayerTree(ctx, layers);
  const { id, dir } = tree;
  if (tree.rootfs.kind === "directory") {
    const { path } = tree.rootfs;
    return {
      id,
      dir,
      path,
      remove: async () => {
        unmountBelow(ctx.kernel, path);
        await tree.remove();
      },
    };
  }
  const path = `${tree.dir}/merged`;
  try {
    await ctx.trees.run({ op: "mount", overlay: tree.rootfs.overlay, target: path });
  } catch (error) {
    await tree.remove();
    throw error;
  }
  return {
    id,
    dir,
    path,
    remove: async () => {
      unmount(ctx.kernel, path);
      await tree.remove();
    },
  };
}

/** Unmounts what is there; nothing is fine. */
export function unmount(kernel: Pick<Syscalls, "umount2">, path: string): void {
  try {
    kernel.umount2(path, MNT_DETACH);
  } catch (error) {
    if (!(error instanceof SysError && error.is("EINVAL", "ENOENT"))) throw error;
  }
}

/** Unmounts everything in a directory that is no mount itself. */
function unmountBelow(kernel: Pick<Syscalls, "umount2">, path: string): void {
  for (const { target } of mountTable().filter(({ target }) => target.startsWith(`${path}/`)).reverse()) {
    unmount(kernel, target);
  }
}

/** O_PATH descriptor of a directory. The caller closes it. */
export function openRoot(kernel: Syscalls, path: string): number {
  return kernel.open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}
