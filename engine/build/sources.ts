import { AT_EMPTY_PATH, AT_RECURSIVE, MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE } from "../../ffi/constants.ts";
import type { ViewMount } from "../../fs/tree_job.ts";
import type { SourceRef } from "../../image/build/types.ts";
import type { LayerStack } from "./build_context.ts";
import { attachTree } from "../../runtime/init_mounts.ts";
import { findInRoot } from "../../runtime/rootfs_path.ts";
import { type MountedTree, mountLayerTree, openLayerTree, openRoot } from "./layer_tree.ts";
import type { BuildContext } from "./build_context.ts";
import type { SourceTree } from "../../fs/build_copy.ts";

/** Files that COPY, ADD and mounts take from: a directory of a client's, or the files of a stage or an image. */
export type FileSource =
  | { readonly kind: "directory"; readonly path: string; readonly content?: string | undefined }
  | { readonly kind: "stack"; readonly stack: LayerStack };

/** Finds what a reference in a Dockerfile means; waits for stages. */
export type FindSource = (source: SourceRef) => Promise<FileSource>;

/** The same for `from` of a mount; undefined: the build context. */
export type FindNamed = (from: string | undefined) => Promise<FileSource>;

/** This machine's directories, where the image is made of them. */
export function hostMounts(ctx: BuildContext, id: string, dir: string, below: LayerStack): ViewMount[] {
  using _stack = ctx.images.add(id, below, "");
  return ctx.images.hostMounts(ctx.images.get(id), dir).map(({ target, source, overlay }) => ({
    target,
    source: overlay ?? source ?? target,
    readOnly: overlay === undefined,
  }));
}

/**
 * Shows a source to the threads that read trees, for as long as `work` takes. A stack is put together for reading alone.
 */
export async function withSourceTree<T>(
  ctx: BuildContext,
  source: FileSource,
  work: (tree: SourceTree) => Promise<T>,
): Promise<T> {
  if (source.kind === "directory") return await work({ kind: "directory", path: source.path });
  const tree = await openLayerTree(ctx, ctx.images.refs(source.stack.chainIds));
  try {
    const mounts = hostMounts(ctx, tree.id, tree.dir, source.stack);
    return await work({ kind: "rootfs", at: tree.dir, rootfs: withoutUpper(tree.rootfs), mounts });
  } finally {
    await tree.remove();
  }
}

type Rootfs = Extract<SourceTree, { kind: "rootfs" }>["rootfs"];

function withoutUpper(rootfs: Rootfs): Rootfs {
  if (rootfs.kind === "directory") return rootfs;
  const { lower, options } = rootfs.overlay;
  return { kind: "overlay", overlay: { lower, options } };
}

/** A source at a path of the engine's, to bind from. What is written there, if it may be, is dropped. */
export async function mountSource(
  ctx: BuildContext,
  source: FileSource,
  readWrite: boolean,
): Promise<MountedTree> {
  if (source.kind === "stack") {
    const tree = await mountLayerTree(ctx, ctx.images.refs(source.stack.chainIds));
    try {
      for (const mount of hostMounts(ctx, tree.id, tree.dir, source.stack)) {
        await mountInTree(ctx, tree.path, mount);
      }
      return tree;
    } catch (error) {
      await tree.remove();
      throw error;
    }
  }
  if (!readWrite) return { path: source.path, remove: () => Promise.resolve() };
  // a layer under a name that no layer has
  const chainId = `sha256:${crypto.getRandomValues(new Uint8Array(32)).toHex()}`;
  return await mountLayerTree(ctx, [{ chainId, dir: source.path }]);
}

/** Mounts one of this machine's directories in a tree; with the tree it goes. Nothing that is written reaches the machine. */
async function mountInTree(ctx: BuildContext, tree: string, { target, source }: ViewMount): Promise<void> {
  const { kernel } = ctx;
  const root = openRoot(kernel, tree);
  try {
    const place = findInRoot(kernel, root, target);
    if (place === undefined) return;
    try {
      if (typeof source !== "string") {
        await ctx.trees.run({ op: "mount", overlay: source, target: `/proc/self/fd/${place}` });
        return;
      }
      const from = openRoot(kernel, source);
      try {
        // with what is mounted below it, which is locked to it in a user namespace
        const copy = kernel.openTree(from, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
        try {
          kernel.mountSetattr(copy, "", AT_EMPTY_PATH | AT_RECURSIVE, { set: MOUNT_ATTR_RDONLY });
          attachTree(kernel, copy, place);
        } finally {
          kernel.close(copy);
        }
      } finally {
        kernel.close(from);
      }
    } finally {
      kernel.close(place);
    }
  } finally {
    kernel.close(root);
  }
}
