import { messageOf } from "../../base/errors.ts";
import { canonicalString, parseReference, withDefaultTag } from "../../base/reference.ts";
import type { StageState } from "../../image/build/types.ts";
import type { Platform } from "../../image/platform.ts";
import type { LayerRecord } from "../../image/layer_store.ts";
import type { Image } from "../../image/types.ts";
import { EngineError } from "../../base/errors.ts";
import { squashLayers } from "./commit_layer.ts";
import { type BuildHistory, resultConfig } from "./image_result.ts";
import { inlineCache, isInlineCacheWanted } from "./inline_cache.ts";
import { openLayerTree } from "./layer_tree.ts";
import type { Progress } from "./progress.ts";
import type { StageFiles } from "./stage_files.ts";
import type { StepTools } from "./steps.ts";
import type { BuildRequest, BuildResult } from "./types.ts";

export interface ExportInput {
  readonly request: BuildRequest;
  readonly platform: Platform;
  readonly state: StageState;
  readonly files: StageFiles;
  /** What the files begin with. */
  readonly base: Image | undefined;
  /** Seconds since 1970. */
  readonly epoch: number | undefined;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** What the build relies on. */
  readonly held: DisposableStack;
  /** Lets go of all that the build holds. */
  readonly release: () => void;
}

/** Makes of a stage what was asked for. */
export async function exportResult(tools: StepTools, given: ExportInput): Promise<BuildResult> {
  const input = given.request.squash ? { ...given, files: await squash(tools, given) } : given;
  const { request, platform, state, files, epoch, release } = input;
  const config = resultConfig({
    platform,
    config: state.config,
    author: state.author,
    diffIds: files.diffIds,
    baseHistory: files.baseHistory,
    history: files.history,
    labels: request.labels,
    epoch,
    ...(isInlineCacheWanted(request.buildArgs) ? { members: inlineCache(files.steps) } : {}),
  });
  const { chainIds } = files.stack;
  const result = { config, chainIds, release, imageId: undefined, files: undefined };
  if (request.output === "none") return result;
  if (request.output === "files") return { ...result, files: () => filesOf(tools, input) };
  const imageId = await input.progress.internal("exporting to image", async (progress) => {
    const done = (name: string) => progress.status(name, 0, 0, true);
    done("exporting layers");
    const id = await insertImage(tools, input, JSON.stringify(config));
    done(`writing image ${id}`);
    for (const tag of request.tags) done(`naming to ${canonicalString(withDefaultTag(parseReference(tag)))}`);
    return id;
  });
  return { ...result, imageId };
}

/** One layer in the place of all that the build has made; the history tells what was in them. */
async function squash(tools: StepTools, input: ExportInput): Promise<StageFiles> {
  const { files, base, epoch, progress, signal } = input;
  const { stack } = files;
  const chainIds = base?.chainIds ?? [];
  if (stack.hostDirs.length > 0 || stack.chainIds.length <= chainIds.length + 1) return files;
  const below = { chainIds, hostDirs: [] };
  const { chainId, layer, hold } = await progress.internal(
    "squashing layers",
    () => squashLayers(tools.ctx, tools.store, { base: below, stack, latest: epoch }, signal),
  );
  input.held.use(hold);
  const made = layer === undefined ? [] : [chainId];
  const top = files.stack.chainIds.at(-1) ?? "";
  const merged: BuildHistory = {
    createdBy: "",
    layerCreated: layer === undefined ? undefined : new Date().toISOString(),
    comment: `merge ${top} to ${base?.id ?? "scratch"}`,
  };
  return {
    ...files,
    stack: { chainIds: [...chainIds, ...made], hostDirs: [] },
    steps: [],
    diffIds: [...files.diffIds.slice(0, chainIds.length), ...(layer === undefined ? [] : [layer.diffId])],
    history: [...files.history.map((line) => ({ ...line, layerCreated: undefined })), merged],
  };
}

/** Writes the image, its layers and names in one transaction. */
async function insertImage(
  { store }: StepTools,
  { request, files: { stack } }: ExportInput,
  configJson: string,
): Promise<string> {
  const records = stack.chainIds.map((chainId): LayerRecord => {
    const known = store.layers.known(chainId);
    if (known === undefined) {
      throw new EngineError("system", `layer ${chainId} has vanished during the build`);
    }
    return known;
  });
  const refs = request.tags.map((tag) => withDefaultTag(parseReference(tag)));
  return await store.insert(configJson, records, stack.chainIds, refs, stack.hostDirs);
}

/** The stage's files as a tar archive. */
async function* filesOf({ ctx }: StepTools, { files: { stack } }: ExportInput): AsyncGenerator<Uint8Array> {
  if (stack.hostDirs.length > 0) {
    throw new EngineError(
      "forbidden",
      "files of an image that is made of this machine's own cannot be given away",
    );
  }
  const tree = await openLayerTree(ctx, ctx.images.refs(stack.chainIds));
  try {
    const rootfs = tree.rootfs.kind === "directory" ? tree.rootfs : {
      ...tree.rootfs,
      overlay: { lower: tree.rootfs.overlay.lower, options: tree.rootfs.overlay.options },
    };
    const view = { kind: "rootfs" as const, at: tree.dir, rootfs, mounts: [], writable: false };
    yield* (await ctx.trees.archive({ op: "export", view })).chunks;
  } finally {
    await tree.remove().catch((error) => ctx.log.warn(messageOf(error)));
  }
}
