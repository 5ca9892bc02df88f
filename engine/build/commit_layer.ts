import type { LayerFile } from "../../fs/tree_job.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { UnpackPool } from "../../fs/unpack.ts";
import { EngineError, invalid } from "../../base/errors.ts";
import { chainIds } from "../../image/digest.ts";
import { LAYER_TAR } from "../../image/layer_media.ts";
import type { LayerRecord } from "../../image/layer_store.ts";
import type { StoreInternals } from "../../image/store_internals.ts";
import { containerDir } from "../context.ts";
import type { BuildContext, LayerStack } from "./build_context.ts";
import { mountLayerTree } from "./layer_tree.ts";

/** Layers that an image may have: what Docker allows (moby: layer.maxLayerDepth). */
const MAX_LAYERS = 125;

/** What an operation has made of the files below it. */
export interface CommittedLayer {
  /** undefined: nothing has changed. */
  readonly layer: LayerRecord | undefined;
  /** Of the stack with the layer: what was below when nothing has changed. */
  readonly chainId: string;
  /** Keeps the layer until somebody else does. */
  readonly hold: Disposable;
}

export interface CommitRequest {
  /** Names the directory: of a container, or of a layer tree. */
  readonly id: string;
  readonly below: LayerStack;
  /** Mount points that were made for the run, and are no change as long as nothing is in them. */
  readonly stubs: readonly string[];
  /** No file is dated later: seconds since 1970. */
  readonly latest: number | undefined;
}

/**
 * Makes a layer of what has changed in a writable layer, which nobody has mounted any more.
 *
 * With the kernel's overlay the writable directory itself becomes the layer: its files are read once, for the digest, and written not at
 * all. `push` and `save` pack it when they want it (image_packing.ts). Other drivers' differences go through an archive.
 *
 * @throws {EngineError} invalid: too many layers.
 */
export async function commitLayer(
  ctx: BuildContext,
  store: StoreInternals,
  request: CommitRequest,
  signal: AbortSignal,
): Promise<CommittedLayer> {
  const { id, below, latest } = request;
  const { stubs } = request;
  const upper = `${containerDir(ctx, id)}/upper`;
  const lower = below.chainIds.map((chainId) => store.layers.ref(chainId).dir).reverse();
  if (ctx.driver.name === "overlay" && below.hostDirs.length === 0) {
    const parts = [{ at: "/", upper, lower }];
    const source = { kind: "union" as const, parts, whiteoutFiles: false, stubs };
    const file = await ctx.trees.run({ op: "seal", source, latest }, signal);
    return await onTop(store, below, file, (ids) => store.layers.adopt(ids, upper, file));
  }
  const path = store.content.temporary();
  try {
    const source = diffSource(ctx, request, lower, stubs);
    const file = await ctx.trees.run({ op: "layer", source, file: path, latest }, signal);
    return await onTop(store, below, file, (ids) => unpackLayer(store, ids, path, file, signal));
  } finally {
    await Deno.remove(path).catch(() => {});
  }
}

/**
 * Makes one layer of all that a stack has on top of a lower one (`--squash`).
 *
 * @param base the lowest layers of `stack`.
 */
export async function squashLayers(
  ctx: BuildContext,
  store: StoreInternals,
  { base, stack, latest }: { base: LayerStack; stack: LayerStack; latest: number | undefined },
  signal: AbortSignal,
): Promise<CommittedLayer> {
  const tree = await mountLayerTree(ctx, ctx.images.refs(stack.chainIds));
  const path = store.content.temporary();
  try {
    const before = ctx.images.refs(base.chainIds).map(({ dir }) => dir);
    const source = { kind: "trees" as const, before, after: tree.path, stubs: [] };
    const file = await ctx.trees.run({ op: "layer", source, file: path, latest }, signal);
    return await onTop(store, base, file, (ids) => unpackLayer(store, ids, path, file, signal));
  } finally {
    await tree.remove();
    await Deno.remove(path).catch(() => {});
  }
}

/**
 * Puts a layer that was made on its own on top of a stack. Its files are not written again: those of layers never change, so both have
 * them by hard links.
 *
 * @param alone its chain id, as a bottom layer; the caller holds it.
 * @throws {EngineError} invalid: too many layers.
 */
export async function restackLayer(
  ctx: BuildContext,
  store: StoreInternals,
  alone: string,
  below: LayerStack,
  signal: AbortSignal,
): Promise<CommittedLayer> {
  const layer = store.layers.known(alone);
  if (layer === undefined) throw new EngineError("system", `layer ${alone} has vanished during the build`);
  const { diffId, size } = layer;
  return await onTop(store, below, { diffId, entries: 1 }, async (ids) => {
    const known = store.layers.known(ids.chainId);
    if (known !== undefined) return known;
    store.layers.makeTmp();
    const path = `${store.layers.tmp}/layer-${crypto.randomUUID()}`;
    try {
      await ctx.trees.run({ op: "link", from: store.layers.ref(alone).dir, to: path }, signal);
      return store.layers.adopt(ids, path, { size });
    } finally {
      // it is not there any more, unless something went wrong or another build was quicker
      await removeTree(path);
    }
  });
}

function diffSource(
  ctx: BuildContext,
  { id, below }: CommitRequest,
  lower: readonly string[],
  stubs: readonly string[],
): Parameters<typeof ctx.trees.run<"layer">>[0]["source"] {
  const dir = containerDir(ctx, id);
  if (ctx.driver.name === "vfs") {
    return { kind: "trees", before: lower, after: `${dir}/rootfs`, stubs };
  }
  using _stack = ctx.images.add(id, below, "");
  const parts = ctx.images.hostMounts(ctx.images.get(id), dir).flatMap(({ target, overlay }) =>
    overlay?.upper === undefined ? [] : [{ at: target, upper: overlay.upper, lower: overlay.lower }]
  );
  return {
    kind: "union",
    parts: [{ at: "/", upper: `${dir}/upper`, lower }, ...parts],
    whiteoutFiles: ctx.driver.whiteouts === "fuse-overlayfs",
    stubs,
  };
}

type LayerIds = Pick<LayerRecord, "chainId" | "diffId" | "parent">;

/** Puts a layer on a stack by `take`, which is not called when there is nothing in it. */
async function onTop(
  { layers, content }: StoreInternals,
  { chainIds: below }: LayerStack,
  { diffId, entries }: Pick<LayerFile, "diffId" | "entries">,
  take: (ids: LayerIds) => LayerRecord | Promise<LayerRecord>,
): Promise<CommittedLayer> {
  const parent = below.at(-1) ?? "";
  if (entries === 0) return { layer: undefined, chainId: parent, hold: { [Symbol.dispose]: () => {} } };
  if (below.length >= MAX_LAYERS) throw invalid("max depth exceeded");
  const chainId = await chainOf(parent, diffId);
  using holds = new DisposableStack();
  holds.use(layers.hold([chainId]));
  holds.use(content.hold([diffId]));
  return { layer: await take({ chainId, diffId, parent }), chainId, hold: holds.move() };
}

/** Chain id of a layer on top of another ("" for none). */
async function chainOf(parent: string, diffId: string): Promise<string> {
  return (await chainIds(parent === "" ? [diffId] : [parent, diffId])).at(-1) ?? "";
}

/** Unpacks an archive of ours, which is kept for `push` and `save`. */
async function unpackLayer(
  { layers, content }: StoreInternals,
  ids: LayerIds,
  path: string,
  { diffId, length }: LayerFile,
  signal: AbortSignal,
): Promise<LayerRecord> {
  if (content.get(diffId) === undefined) content.adopt(path, { digest: diffId, size: length });
  content.setLayerBlob(diffId, diffId, LAYER_TAR);
  using pool = new UnpackPool(1);
  const part = { path: content.path(diffId), offset: 0, length };
  return await layers.ensure({ ...ids, part, digest: diffId }, pool, signal);
}
