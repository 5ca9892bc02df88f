/** One build: a Dockerfile's stages as a graph, its operations looked up or carried out. */
import type { SourceRef } from "../../image/build/types.ts";
import { locate } from "../../image/build/errors.ts";
import { resolveSource } from "../../image/build/stages.ts";
import type { Platform } from "../../image/platform.ts";
import type { ImageStore } from "../../image/image_store.ts";
import type { Image } from "../../image/types.ts";
import type { BaseImages } from "./base_image.ts";
import { ignoredSources } from "./context_files.ts";
import { exportResult } from "./export_result.ts";
import { ImportedCache } from "./imported_cache.ts";
import { Operations, type OperationTools } from "./operations.ts";
import { contextOf, Planner, type SolvePlan, type StagePlan, type StageStep } from "./plan.ts";
import { Progress } from "./progress.ts";
import type { FileSource } from "./sources.ts";
import { endOf, filesOfImage, NOTHING, type StageFiles, withConfig } from "./stage_files.ts";
import { prepareCopy, prepareRun, prepareWorkdir, type StepScope } from "./steps.ts";
import type { BuildEvent, BuildRequest, BuildResult } from "./types.ts";

/** What all builds share. */
export interface SolveTools extends OperationTools {
  readonly images: ImageStore;
  readonly bases: BaseImages;
  /** A directory with nothing in it, for builds without a context. */
  readonly emptyDirectory: () => string;
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
  readonly #operations: Operations;
  /** What the build relies on: layers, and records of the cache. */
  readonly #held = new DisposableStack();
  readonly #stages = new Map<number, Promise<StageFiles>>();

  constructor(tools: SolveTools, request: BuildRequest, signal: AbortSignal, progress: Progress) {
    this.#tools = tools;
    this.#request = request;
    this.#signal = signal;
    this.#progress = progress;
    const isIgnored = ignoredSources(tools.ctx.kernel, request);
    this.#planner = new Planner({ request, isIgnored, bases: tools.bases, progress, signal });
    const imported = new ImportedCache(tools, (reference, platform) => this.#image(reference, platform));
    this.#imported = imported;
    this.#operations = new Operations({ tools, imported, held: this.#held, signal });
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
      if (base.kind === "image") {
        this.#held.use(this.#tools.store.layers.hold(base.image.chainIds));
        return filesOfImage(base.image);
      }
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
      return await this.#operations.run(
        {
          step: await prepareCopy(this.#tools, scope, below.stack, op),
          description: vertex.name,
          createdBy: vertex.name,
          isToldByHistory: false,
          isCacheUsed: this.#isCacheUsed(stage),
        },
        below,
        progress,
      );
    }, endOf);
  }

  async #step(stage: StagePlan, scope: StepScope, step: StageStep, below: StageFiles): Promise<StageFiles> {
    const { op, vertex } = step;
    this.#signal.throwIfAborted();
    if (op.kind === "config") {
      return await this.#progress.step(vertex.id, () => withConfig(below, op.createdBy, op.title), endOf);
    }
    // waits for other stages: neither that time nor their failures are this step's
    for (const source of sourcesOf(op)) await scope.findNamed(source);
    if (op.kind === "copy") await scope.find(op.from);
    return await this.#progress.step(vertex.id, async (progress) => {
      try {
        const step = op.kind === "run"
          ? await prepareRun(this.#tools, scope, below.stack, op)
          : op.kind === "copy"
          ? await prepareCopy(this.#tools, scope, below.stack, op)
          : prepareWorkdir(this.#tools, scope, below.stack, op);
        return await this.#operations.run(
          {
            step,
            description: vertex.name,
            createdBy: op.createdBy,
            isToldByHistory: isToldByHistory(op),
            isCacheUsed: this.#isCacheUsed(stage),
          },
          below,
          progress,
        );
      } catch (error) {
        return locate(op.range, () => {
          throw error;
        });
      }
    }, endOf);
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

/** Whether the line of the history tells all that the operation depends on: it names no contents of files. */
function isToldByHistory(op: Exclude<StageStep["op"], { kind: "config" }>): boolean {
  if (op.kind === "run") return op.mounts.every(({ type }) => type !== "bind");
  return op.kind === "workdir";
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
