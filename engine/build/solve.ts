/** One build: a Dockerfile's stages as a graph, its operations looked up or carried out. */
import type { SourceRef } from "../../image/build/types.ts";
import { locate } from "../../image/build/errors.ts";
import { resolveSource } from "../../image/build/stages.ts";
import type { Platform } from "../../image/platform.ts";
import type { ImageStore } from "../../image/image_store.ts";
import type { Image, ImageHistory } from "../../image/types.ts";
import type { BaseImages } from "./base_image.ts";
import type { LayerStack } from "./build_context.ts";
import { type BuildCache, keyOf } from "./cache.ts";
import { restackLayer } from "./commit_layer.ts";
import { ignoredSources } from "./context_files.ts";
import { exportResult } from "./export_result.ts";
import type { BuildHistory } from "./image_result.ts";
import type { InlineStep } from "./inline_cache.ts";
import { ImportedCache } from "./imported_cache.ts";
import { contextOf, Planner, type SolvePlan, type StagePlan, type StageStep } from "./plan.ts";
import { Progress, type StepEnd, type StepProgress } from "./progress.ts";
import type { FileSource } from "./sources.ts";
import {
  prepareCopy,
  type PreparedStep,
  prepareRun,
  prepareWorkdir,
  type StepScope,
  type StepTools,
} from "./steps.ts";
import type { BuildEvent, BuildRequest, BuildResult } from "./types.ts";

/** What all builds share. */
export interface SolveTools extends StepTools {
  readonly images: ImageStore;
  readonly bases: BaseImages;
  readonly cache: BuildCache;
  /** Operations that are being carried out, by key: another build waits and takes the result. */
  readonly underWay: Map<string, Promise<unknown>>;
  /** A directory with nothing in it, for builds without a context. */
  readonly emptyDirectory: () => string;
}

/** Files and history at some point of a stage. */
export interface StageFiles {
  readonly stack: LayerStack;
  /** One for each layer. */
  readonly diffIds: readonly string[];
  readonly baseHistory: readonly ImageHistory[];
  readonly history: readonly BuildHistory[];
  /** What this build's layers were made of. */
  readonly steps: readonly InlineStep[];
  /** Everything so far was there. */
  readonly cached: boolean;
  /** Names this point, as classic progress shows one: equal for what has come about in the same way. */
  readonly id: string;
}

const NOTHING: StageFiles = {
  stack: { chainIds: [], hostDirs: [] },
  diffIds: [],
  baseHistory: [],
  history: [],
  steps: [],
  cached: true,
  id: nextId("", "scratch", ""),
};

/** What a step has come to. */
interface Outcome {
  readonly chainId: string;
  readonly createdAt: string;
  readonly cached: boolean;
}

/**
 * Builds what is asked for.
 *
 * @throws {EngineError} in BuildKit's words. Nothing is left of the build but what the cache has.
 */
export async function solve(
  tools: SolveTools,
  request: BuildRequest,
  signal: AbortSignal,
  emit: (event: BuildEvent) => void,
): Promise<BuildResult> {
  const failed = new AbortController();
  const build = new Solve(tools, request, AbortSignal.any([signal, failed.signal]), new Progress(emit));
  try {
    return await build.run();
  } catch (error) {
    // the other stages end as well, before anything is told
    failed.abort(new DOMException("another step has failed", "AbortError"));
    await build.settled();
    build.release();
    signal.throwIfAborted();
    throw error;
  }
}

class Solve {
  readonly #tools: SolveTools;
  readonly #request: BuildRequest;
  readonly #signal: AbortSignal;
  readonly #progress: Progress;
  readonly #planner: Planner;
  readonly #imported: ImportedCache;
  /** What the build relies on: layers, and records of the cache. */
  readonly #held = new DisposableStack();
  readonly #started = new Date().toISOString();
  readonly #stages = new Map<number, Promise<StageFiles>>();

  constructor(tools: SolveTools, request: BuildRequest, signal: AbortSignal, progress: Progress) {
    this.#tools = tools;
    this.#request = request;
    this.#signal = signal;
    this.#progress = progress;
    const isIgnored = ignoredSources(tools.ctx.kernel, request);
    this.#planner = new Planner({ request, isIgnored, bases: tools.bases, progress, signal });
    this.#imported = new ImportedCache(tools, (reference, platform) => this.#image(reference, platform));
  }

  release(): void {
    this.#held.dispose();
  }

  /** Resolves when nothing is carried out any more. */
  async settled(): Promise<void> {
    await this.#planner.settled();
    await Promise.allSettled(this.#stages.values());
  }

  async run(): Promise<BuildResult> {
    const plan = await this.#planner.plan();
    const target = plan.stages.get(plan.build.target);
    if (target === undefined) throw new RangeError("the target is not planned");
    await this.#imported.load(this.#request.cacheFrom, target.platform);
    // all at once: each waits for what it needs
    const [files] = await Promise.all([
      this.#stage(plan, plan.build.target),
      ...[...plan.stages.keys()].map((index) => this.#stage(plan, index)),
    ]);
    return await exportResult(this.#tools, {
      request: this.#request,
      platform: target.platform,
      state: target.state,
      files,
      base: baseImageOf(plan, target),
      epoch: plan.epoch,
      progress: this.#progress,
      signal: this.#signal,
      held: this.#held,
      release: () => this.release(),
    });
  }

  #stage(plan: SolvePlan, index: number): Promise<StageFiles> {
    let known = this.#stages.get(index);
    if (known === undefined) {
      const stage = plan.stages.get(index);
      if (stage === undefined) throw new RangeError(`stage ${index} is not planned`);
      this.#stages.set(index, known = this.#build(plan, stage));
      known.catch(() => {});
    }
    return known;
  }

  async #build(plan: SolvePlan, stage: StagePlan): Promise<StageFiles> {
    const scope: StepScope = {
      request: this.#request,
      platform: stage.platform,
      epoch: plan.epoch,
      client: this.#request.client,
      find: (source) => this.#find(plan, stage.platform, source),
      findNamed: (from) => this.#findNamed(plan, stage.platform, from),
      signal: this.#signal,
    };
    let files = await this.#base(plan, stage, scope);
    for (const step of stage.steps) files = await this.#step(stage, scope, step, files);
    return files;
  }

  async #base(plan: SolvePlan, stage: StagePlan, scope: StepScope): Promise<StageFiles> {
    const { base, vertex } = stage;
    // its instructions are no part of the step
    const below = base.kind === "stage" ? await this.#stage(plan, base.index) : NOTHING;
    return await this.#progress.step(vertex.id, async (progress) => {
      if (base.kind === "image") return this.#filesOf(base.image);
      if (base.kind !== "directory") return below;
      const op = {
        kind: "copy",
        createdBy: "",
        title: vertex.name,
        range: stage.planned.stage.from.range,
        add: false,
        from: base.source,
        items: [{ kind: "path", pattern: "/" }],
        dest: "/",
        chown: undefined,
        chmod: undefined,
        link: false,
        parents: false,
        exclude: [],
        unpack: false,
        checksum: undefined,
        keepGitDir: false,
      } as const;
      const prepared = await prepareCopy(this.#tools, scope, below.stack, op);
      const outcome = await this.#carryOut(stage, below, prepared, vertex.name, progress, undefined);
      return this.#withLayer(below, outcome, vertex.name, prepared.key);
    }, endOf);
  }

  #filesOf(image: Image): StageFiles {
    this.#held.use(this.#tools.store.layers.hold(image.chainIds));
    return {
      stack: { chainIds: image.chainIds, hostDirs: image.hostDirs },
      diffIds: image.config.rootfs.diff_ids,
      baseHistory: image.config.history ?? [],
      history: [],
      steps: [],
      cached: true,
      id: image.id,
    };
  }

  async #step(stage: StagePlan, scope: StepScope, step: StageStep, below: StageFiles): Promise<StageFiles> {
    const { op, vertex } = step;
    this.#signal.throwIfAborted();
    if (op.kind === "config") {
      const history = op.createdBy === ""
        ? below.history
        : [...below.history, { createdBy: op.createdBy, layerCreated: undefined }];
      const id = nextId(below.id, op.createdBy || op.title, "");
      return await this.#progress.step(vertex.id, () => ({ ...below, history, id }), endOf);
    }
    // waits for other stages: neither that time nor their failures are this step's
    for (const source of sourcesOf(op)) await scope.findNamed(source);
    if (op.kind === "copy") await scope.find(op.from);
    return await this.#progress.step(vertex.id, async (progress) => {
      try {
        const prepared = op.kind === "run"
          ? await prepareRun(this.#tools, scope, below.stack, op)
          : op.kind === "copy"
          ? await prepareCopy(this.#tools, scope, below.stack, op)
          : prepareWorkdir(this.#tools, scope, below.stack, op);
        const isPlain = op.kind === "run" && op.mounts.every(({ type }) => type !== "bind");
        const createdBy = isPlain || op.kind === "workdir" ? op.createdBy : undefined;
        const outcome = prepared.isLinked
          ? await this.#link(stage, below, prepared, vertex.name, progress)
          : await this.#carryOut(stage, below, prepared, vertex.name, progress, createdBy);
        return this.#withLayer(below, outcome, op.createdBy, prepared.key);
      } catch (error) {
        return locate(op.range, () => {
          throw error;
        });
      }
    }, endOf);
  }

  #withLayer(
    below: StageFiles,
    { chainId, createdAt, cached }: Outcome,
    createdBy: string,
    key: string,
  ): StageFiles {
    const { layers, tables } = this.#tools.store;
    const isChanged = chainId !== (below.stack.chainIds.at(-1) ?? "");
    const diffId = (layers.known(chainId) ?? tables.layer(chainId))?.diffId ?? "";
    const line = { createdBy, layerCreated: isChanged ? createdAt : undefined };
    return {
      stack: isChanged ? { ...below.stack, chainIds: [...below.stack.chainIds, chainId] } : below.stack,
      diffIds: isChanged ? [...below.diffIds, diffId] : below.diffIds,
      baseHistory: below.baseHistory,
      history: createdBy === "" ? below.history : [...below.history, line],
      steps: [...below.steps, { key, layer: below.stack.chainIds.length - (isChanged ? 0 : 1) }],
      cached,
      id: nextId(below.id, createdBy, chainId),
    };
  }

  /**
   * Looks the operation up, or waits for whoever carries it out, or does it.
   *
   * @param createdBy for images of `--cache-from`; undefined: their history does not tell what this operation depends on.
   */
  async #carryOut(
    stage: StagePlan,
    below: StageFiles,
    { key, type, make }: PreparedStep,
    description: string,
    progress: StepProgress,
    createdBy: string | undefined,
  ): Promise<Outcome> {
    const { cache, underWay, store } = this.#tools;
    const parent = below.stack.chainIds.at(-1) ?? "";
    const row = { id: key, parent, type, description, usedAt: this.#started };
    const isCacheUsed = this.#isCacheUsed(stage);
    this.#held.use(cache.hold(key));
    for (; isCacheUsed;) {
      const hit = cache.find(key, this.#started);
      if (hit !== undefined && (hit.parent === parent)) {
        this.#held.use(store.layers.hold([hit.chainId]));
        return { chainId: hit.chainId, createdAt: hit.createdAt, cached: true };
      }
      const running = underWay.get(key);
      if (running === undefined) break;
      await running.catch(() => {});
      this.#signal.throwIfAborted();
    }
    const found = isCacheUsed
      ? this.#imported.findKey(key, parent) ??
        (createdBy === undefined ? undefined : this.#imported.find(below, createdBy))
      : undefined;
    if (found !== undefined) {
      this.#held.use(store.layers.hold([found.chainId]));
      cache.put({ ...row, ...found });
      return { ...found, cached: true };
    }
    const making = make(progress);
    underWay.set(key, making);
    try {
      const { chainId, hold } = await making;
      this.#held.use(hold);
      const createdAt = new Date().toISOString();
      cache.put({ ...row, chainId, createdAt });
      return { chainId, createdAt, cached: false };
    } finally {
      if (underWay.get(key) === making) underWay.delete(key);
    }
  }

  /** Carries an operation out on nothing, and puts its layer on what is below. */
  async #link(
    stage: StagePlan,
    below: StageFiles,
    prepared: PreparedStep,
    description: string,
    progress: StepProgress,
  ): Promise<Outcome> {
    const { ctx, store, cache } = this.#tools;
    const parent = below.stack.chainIds.at(-1) ?? "";
    const row = { id: keyOf(["link", prepared.key, parent]), parent, type: prepared.type, description };
    this.#held.use(cache.hold(row.id));
    const imported = this.#isCacheUsed(stage) ? this.#imported.findKey(prepared.key, parent) : undefined;
    if (imported !== undefined) {
      this.#held.use(store.layers.hold([imported.chainId]));
      cache.put({ ...row, ...imported, usedAt: this.#started });
      return { ...imported, cached: true };
    }
    const alone = await this.#carryOut(stage, NOTHING, prepared, description, progress, undefined);
    if (alone.chainId === "") return { ...alone, chainId: parent };
    if (parent === "") return alone;
    const { chainId, hold } = await restackLayer(ctx, store, alone.chainId, below.stack, this.#signal);
    this.#held.use(hold);
    // the layers of later steps have this one below: it must be known to the store as they are
    if (cache.find(row.id, this.#started)?.chainId !== chainId) {
      cache.put({ ...row, chainId, createdAt: alone.createdAt, usedAt: this.#started });
    }
    return { ...alone, chainId };
  }

  /** `--no-cache`, `--no-cache-filter` */
  #isCacheUsed({ planned }: StagePlan): boolean {
    const { noCache, noCacheStages } = this.#request;
    return !noCache &&
      !noCacheStages.some((name) =>
        name.toLowerCase() === planned.stage.name || name === String(planned.index)
      );
  }

  async #image(reference: string, platform: Platform): Promise<Image> {
    const image = await this.#planner.image(reference, platform);
    this.#held.use(this.#tools.store.layers.hold(image.chainIds));
    return image;
  }

  async #find(plan: SolvePlan, platform: Platform, source: SourceRef): Promise<FileSource> {
    switch (source.kind) {
      case "context":
        return this.#request.context ?? { kind: "directory", path: this.#tools.emptyDirectory() };
      case "stage":
        return { kind: "stack", stack: (await this.#stage(plan, source.index)).stack };
      case "image": {
        if (source.reference === "scratch") return { kind: "stack", stack: NOTHING.stack };
        const { chainIds, hostDirs } = await this.#image(source.reference, platform);
        return { kind: "stack", stack: { chainIds, hostDirs } };
      }
      case "named": {
        const context = contextOf(this.#request, source.name);
        if (context.kind === "directory") return context;
        return await this.#find(plan, platform, { kind: "image", reference: context.reference });
      }
    }
  }

  async #findNamed(plan: SolvePlan, platform: Platform, from: string | undefined): Promise<FileSource> {
    const { dockerfile, options } = plan.build;
    const source: SourceRef = from === undefined
      ? { kind: "context" }
      : resolveSource(from, dockerfile, options.namedContexts);
    return await this.#find(plan, platform, source);
  }
}

const endOf = ({ cached, id }: StageFiles): StepEnd => ({ cached, result: id });

function nextId(before: string, line: string, chainId: string): string {
  return `sha256:${keyOf([before, line, chainId])}`;
}

/** What mounts of a command take files from. */
function sourcesOf(op: StageStep["op"]): (string | undefined)[] {
  if (op.kind !== "run") return [];
  return op.mounts.flatMap((mount) =>
    (mount.type === "bind" || mount.type === "cache") && mount.from !== undefined ? [mount.from] : []
  );
}

/** The image that the target's files begin with, below all stages. */
function baseImageOf(plan: SolvePlan, stage: StagePlan): Image | undefined {
  let current: StagePlan | undefined = stage;
  while (current?.base.kind === "stage") current = plan.stages.get(current.base.index);
  return current?.base.kind === "image" ? current.base.image : undefined;
}
