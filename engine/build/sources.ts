import { EngineError } from "../../base/errors.ts";
import type { LayerRef } from "../../fs/graph_driver.ts";
import type { ViewMount } from "../../fs/tree_job.ts";
import type { SourceRef } from "../../image/build/types.ts";
import type { LayerStack } from "./build_context.ts";
import { type MountedTree, mountLayerTree, openLayerTree } from "./layer_tree.ts";
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

/** The layers of a stack that are to be mounted, topmost first. */
function mountable(ctx: BuildContext, { chainIds, hostDirs }: LayerStack): LayerRef[] {
  if (hostDirs.length > 0) {
    throw new EngineError(
      "invalid",
      "a stage that is made of this machine's own directories (berth/host) cannot be mounted. Copy what is needed:  COPY --from=…",
    );
  }
  return ctx.images.refs(chainIds);
}

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
  if (source.kind === "stack") return await mountLayerTree(ctx, mountable(ctx, source.stack));
  if (!readWrite) return { path: source.path, remove: () => Promise.resolve() };
  // a layer under a name that no layer has
  const chainId = `sha256:${crypto.getRandomValues(new Uint8Array(32)).toHex()}`;
  return await mountLayerTree(ctx, [{ chainId, dir: source.path }]);
}
