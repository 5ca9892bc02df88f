/** What a build will do, known before any of it is done: an instruction's meaning depends on no file but the base images' configurations. */
import { invalid } from "../../base/errors.ts";
import { canonicalString, parseReference, withDefaultTag } from "../../base/reference.ts";
import { Dispatcher } from "../../image/build/dispatch.ts";
import { locate } from "../../image/build/errors.ts";
import { Lint } from "../../image/build/lint.ts";
import { lintFile } from "../../image/build/lint_file.ts";
import { parseDockerfile } from "../../image/build/parse.ts";
import {
  type BuildPlan,
  hasBaseStep,
  isStep,
  planBuild,
  type PlannedStage,
  resolveSource,
  StepCounter,
} from "../../image/build/stages.ts";
import type { IgnoreCheck } from "../../image/build/step.ts";
import type { BuildOp, Instruction, SourceRef, StageState } from "../../image/build/types.ts";
import { HOST_PLATFORM, parsePlatform, type Platform, platformOf } from "../../image/platform.ts";
import type { TransferMessage } from "../../image/pull.ts";
import type { Image } from "../../image/types.ts";
import type { BaseImages } from "./base_image.ts";
import type { Progress, StepProgress } from "./progress.ts";
import type { BuildRequest, BuildVertex, NamedContext } from "./types.ts";

/** An instruction of a stage, ready to be carried out. */
export interface StageStep {
  readonly vertex: BuildVertex;
  readonly op: BuildOp;
}

/** A stage whose instructions are known, down to the last. */
export interface StagePlan {
  readonly planned: PlannedStage;
  readonly platform: Platform;
  readonly base:
    | { readonly kind: "scratch" }
    | { readonly kind: "stage"; readonly index: number }
    | { readonly kind: "image"; readonly image: Image }
    | { readonly kind: "directory"; readonly source: SourceRef };
  /** FROM. */
  readonly vertex: BuildVertex;
  readonly steps: readonly StageStep[];
  /** After the last instruction. */
  readonly state: StageState;
}

export interface SolvePlan {
  readonly build: BuildPlan;
  /** The stages that are needed, by index. */
  readonly stages: ReadonlyMap<number, StagePlan>;
  /** Seconds since 1970. */
  readonly epoch: number | undefined;
}

/** A stage without the vertices, whose numbers come when all are known. */
interface Draft extends Omit<StagePlan, "vertex" | "steps"> {
  readonly baseName: string;
  readonly steps: readonly (Omit<StageStep, "vertex"> & { instruction: Instruction; isTrigger: boolean })[];
}

export interface PlannerInput {
  readonly request: BuildRequest;
  /** Which of the context's files `.dockerignore` leaves out, for the check that warns of it. */
  readonly isIgnored: IgnoreCheck | undefined;
  readonly bases: BaseImages;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** Makes the plan of one build, and finds images for it. */
export class Planner {
  readonly #input: PlannerInput;
  readonly #images = new Map<string, Promise<Image>>();
  readonly #drafts = new Map<number, Promise<Draft>>();

  constructor(input: PlannerInput) {
    this.#input = input;
  }

  /** @throws {DockerfileError} in BuildKit's words; the registry's for images. */
  async plan(): Promise<SolvePlan> {
    const { request, progress } = this.#input;
    const { name, text } = request.dockerfile;
    const { build, lint } = await progress.internal(
      `[internal] load build definition from ${name}`,
      ({ id }) => {
        const dockerfile = parseDockerfile(text, name);
        const target = targetPlatform(request);
        const build = planBuild(dockerfile, {
          target: request.target,
          buildArgs: request.buildArgs,
          targetPlatform: target,
          buildPlatform: HOST_PLATFORM,
          namedContexts: Object.keys(request.namedContexts),
        });
        const check = request.buildArgs["BUILDKIT_DOCKERFILE_CHECK"] ?? dockerfile.directives["check"];
        const lint = new Lint(check, (warning) => progress.emit({ kind: "warning", id, warning }));
        lintFile(build, lint);
        return { build, lint };
      },
    );
    const { isIgnored } = this.#input;
    const dispatcher = new Dispatcher(build, { lint, ...(isIgnored && { isIgnored }) });
    const wanted = build.stages.filter(({ needed }) => needed).map(({ index }) => index);
    const drafts = await this.#all(wanted, build, dispatcher);
    lint.finish();
    return {
      build,
      stages: this.#numbered(build, drafts),
      epoch: request.sourceDateEpoch ?? build.sourceDateEpoch,
    };
  }

  /** Stages, and those that their bases' triggers take files from. */
  async #all(wanted: number[], build: BuildPlan, dispatcher: Dispatcher): Promise<Map<number, Draft>> {
    const found = new Map<number, Draft>();
    for (let next = wanted; next.length > 0;) {
      const drafts = await Promise.all(next.map((index) => this.#draft(index, build, dispatcher)));
      for (const draft of drafts) found.set(draft.planned.index, draft);
      next = drafts.flatMap((draft) => stagesOf(draft, build)).filter((index) => !found.has(index));
      next = [...new Set(next)];
    }
    return found;
  }

  #draft(index: number, build: BuildPlan, dispatcher: Dispatcher): Promise<Draft> {
    let known = this.#drafts.get(index);
    if (known === undefined) {
      this.#drafts.set(index, known = this.#makeDraft(index, build, dispatcher));
    }
    return known;
  }

  async #makeDraft(index: number, build: BuildPlan, dispatcher: Dispatcher): Promise<Draft> {
    const planned = build.stages[index];
    if (planned === undefined) throw new RangeError(`no stage ${index}`);
    const { base, stage } = planned;
    let platform = planned.platform ?? targetPlatform(this.#input.request);
    let begun: ReturnType<Dispatcher["begin"]>;
    let files: StagePlan["base"];
    let baseName: string;
    if (base.kind === "stage") {
      const below = await this.#draft(base.index, build, dispatcher);
      platform = below.platform;
      begun = dispatcher.begin(index, below.state);
      files = { kind: "stage", index: base.index };
      baseName = stage.base;
    } else if (base.kind === "scratch") {
      begun = dispatcher.begin(index, {});
      files = { kind: "scratch" };
      baseName = "scratch";
    } else {
      const context = base.kind === "named" ? contextOf(this.#input.request, base.name) : undefined;
      if (base.kind === "named" && context?.kind === "directory") {
        begun = dispatcher.begin(index, {});
        files = { kind: "directory", source: { kind: "named", name: base.name } };
        baseName = base.name;
      } else {
        const reference = context?.kind === "image"
          ? context.reference
          : base.kind === "image"
          ? base.reference
          : "";
        const image = await locateAsync(stage.from, () => this.image(reference, platform));
        platform = platformOf(image.config);
        const { author } = image.config;
        begun = dispatcher.begin(index, {
          ...(image.config.config === undefined ? {} : { config: image.config.config }),
          ...(author === undefined ? {} : { author }),
        });
        files = { kind: "image", image };
        baseName = nameOf(reference, image);
      }
    }
    let { state } = begun;
    const steps: Draft["steps"][number][] = [];
    const take = (instruction: Instruction, isTrigger: boolean) => {
      const dispatched = dispatcher.dispatch(index, state, instruction);
      state = dispatched.state;
      steps.push({ op: dispatched.op, instruction, isTrigger });
    };
    for (const instruction of begun.triggers) take(instruction, true);
    for (const instruction of planned.instructions) take(instruction, false);
    return { planned, platform, base: files, baseName, steps, state };
  }

  /** An image that the build uses, fetched when it is not here. Asked for twice, it is looked for once. */
  image(reference: string, platform: Platform): Promise<Image> {
    const key = JSON.stringify([reference, platform]);
    let known = this.#images.get(key);
    if (known === undefined) {
      const { bases, request, progress, signal } = this.#input;
      known = progress.internal(
        `[internal] load metadata for ${shownName(reference)}`,
        (step) =>
          bases.find(reference, {
            platform,
            pull: request.pull,
            client: request.client,
            signal,
            report: transferStatus(step),
          }),
      );
      this.#images.set(key, known);
    }
    return known;
  }

  /** Resolves when nothing is looked for any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#images.values(), ...this.#drafts.values()]);
  }

  /** Gives all vertices their numbers, in the order of the Dockerfile, and tells of them. */
  #numbered(build: BuildPlan, drafts: ReadonlyMap<number, Draft>): Map<number, StagePlan> {
    const { progress } = this.#input;
    const stages = new Map<number, StagePlan>();
    const last = (index: number): number[] => {
      const stage = stages.get(index);
      return stage === undefined ? [] : [(stage.steps.at(-1)?.vertex ?? stage.vertex).id];
    };
    const vertices: BuildVertex[] = [];
    for (const index of [...drafts.keys()].sort((a, b) => a - b)) {
      const draft = drafts.get(index);
      if (draft === undefined) continue;
      const { planned, base, baseName, ...rest } = draft;
      const triggers = draft.steps.filter(({ isTrigger, instruction }) => isTrigger && isStep(instruction));
      const counter = new StepCounter(planned, triggers.length);
      const stage = planned.label === "" ? undefined : planned.label;
      const hasStep = hasBaseStep(planned);
      const vertex: BuildVertex = {
        id: progress.id(),
        name: `${hasStep ? counter.next() : ""}FROM ${baseName}`,
        instruction: planned.stage.from.original,
        stage,
        ...(hasStep ? {} : { configOnly: true }),
        inputs: base.kind === "stage" ? last(base.index) : [],
      };
      vertices.push(vertex);
      let before = vertex.id;
      const steps = draft.steps.map(({ op, instruction, isTrigger }): StageStep => {
        const makesFiles = isStep(instruction);
        const step: BuildVertex = {
          id: progress.id(),
          name: `${makesFiles ? counter.next(isTrigger) : ""}${op.title}`,
          instruction: instruction.original,
          stage,
          ...(makesFiles ? {} : { configOnly: true }),
          inputs: [
            before,
            ...sourcesOfOp(op, build).flatMap((source) => source.kind === "stage" ? last(source.index) : []),
          ],
        };
        before = step.id;
        vertices.push(step);
        return { vertex: step, op };
      });
      stages.set(index, { ...rest, planned, base, vertex, steps });
    }
    progress.plan(vertices);
    return stages;
  }
}

async function locateAsync<T>({ range }: Instruction, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    return locate(range, () => {
      throw error;
    });
  }
}

export function targetPlatform({ platform }: BuildRequest): Platform {
  return platform === undefined || platform === "" ? HOST_PLATFORM : parsePlatform(platform);
}

/** @throws {EngineError} invalid */
export function contextOf({ namedContexts }: BuildRequest, name: string): NamedContext {
  const found = Object.hasOwn(namedContexts, name) ? namedContexts[name] : undefined;
  if (found === undefined) throw invalid(`no build context ${JSON.stringify(name)}`);
  return found;
}

/** Where an operation takes files from, besides what is below it. */
function sourcesOfOp(op: BuildOp, { dockerfile, options }: BuildPlan): SourceRef[] {
  if (op.kind === "copy") return [op.from];
  if (op.kind !== "run") return [];
  return op.mounts.flatMap((mount) =>
    (mount.type === "bind" || mount.type === "cache") && mount.from !== undefined
      ? [resolveSource(mount.from, dockerfile, options.namedContexts)]
      : []
  );
}

function stagesOf({ base, steps }: Draft, build: BuildPlan): number[] {
  const sources = steps.flatMap(({ op }) => sourcesOfOp(op, build));
  return [
    ...(base.kind === "stage" ? [base.index] : []),
    ...sources.flatMap((source) => source.kind === "stage" ? [source.index] : []),
  ];
}

/** `docker.io/library/debian:12@sha256:…`, as BuildKit shows what FROM has led to. */
function nameOf(reference: string, { repoDigests }: Image): string {
  const name = shownName(reference);
  const digest = repoDigests[0]?.split("@")[1];
  return digest === undefined || name.includes("@") ? name : `${name}@${digest}`;
}

function shownName(reference: string): string {
  try {
    return canonicalString(withDefaultTag(parseReference(reference)));
  } catch {
    return reference;
  }
}

/** A pull's lines as the step's statuses. */
function transferStatus(step: StepProgress): (message: TransferMessage) => void {
  return ({ id, status, progress }) => {
    if (id === undefined || progress === undefined) return;
    const { current = 0, total = 0 } = progress;
    const done = status === "Pull complete" || status === "Already exists";
    step.status(`sha256:${id} ${status}`, done ? total : current, total, done);
  };
}
