import { EngineError, invalid } from "../../base/errors.ts";
import { familiarString, parseReference, withDefaultTag } from "../../base/reference.ts";
import { parsePlatform, type Platform } from "../platform.ts";
import { DockerfileError, locate } from "./errors.ts";
import { expand, ExpansionBudget } from "./expand.ts";
import { flagValue, flagValues } from "./flags.ts";
import { type GlobalArgs, globalArgs, own } from "./global_args.ts";
import { mountFields } from "./run_mount.ts";
import { nearest, withSuggestion } from "./suggest.ts";
import type { Dockerfile, Instruction, SourceRef, Stage } from "./types.ts";

export interface PlanOptions {
  /** Stage's name or number; undefined: the last. */
  readonly target: string | undefined;
  readonly buildArgs: Readonly<Record<string, string>>;
  /** What is built for, and where. */
  readonly targetPlatform: Platform;
  readonly buildPlatform: Platform;
  /** `--build-context`: names as they were given. */
  readonly namedContexts: readonly string[];
}

export type BaseRef =
  | { readonly kind: "scratch" }
  | { readonly kind: "stage"; readonly index: number }
  /** Name as FROM has it after expansion. */
  | { readonly kind: "image"; readonly reference: string }
  | { readonly kind: "named"; readonly name: string };

export interface PlannedStage {
  readonly index: number;
  readonly stage: Stage;
  /** For titles and messages: its name, or "stage-1". "" in a Dockerfile that has one stage alone. */
  readonly label: string;
  readonly base: BaseRef;
  /** The stage's own `--platform`; undefined: the target's. */
  readonly platform: Platform | undefined;
  /** Empty when a named context takes the stage's place. */
  readonly instructions: readonly Instruction[];
  /** What it takes files from, besides its base: known before images are, so without what triggers of ONBUILD add. */
  readonly sources: readonly SourceRef[];
  /** The target or something it is made from needs it. */
  readonly needed: boolean;
}

export interface BuildPlan {
  readonly dockerfile: Dockerfile;
  readonly options: PlanOptions;
  readonly globals: GlobalArgs;
  /** Index of the stage that is built. */
  readonly target: number;
  readonly stages: readonly PlannedStage[];
  /** SOURCE_DATE_EPOCH of the build arguments, or of an ARG before the first FROM: seconds since 1970. */
  readonly sourceDateEpoch: number | undefined;
  readonly budget: ExpansionBudget;
}

type Draft = Omit<PlannedStage, "needed"> & {
  readonly uses: readonly { readonly source: SourceRef; readonly instruction: Instruction }[];
};

/**
 * Finds out what a target needs: bases, files of other stages, images.
 *
 * @throws {DockerfileError} invalid, in BuildKit's words.
 */
export function planBuild(dockerfile: Dockerfile, options: PlanOptions): BuildPlan {
  const target = findTarget(dockerfile, options.target);
  const platforms = { target: options.targetPlatform, builder: options.buildPlatform };
  const budget = new ExpansionBudget();
  const targetStage = dockerfile.stages[target]?.name ?? "";
  const globals = globalArgs(dockerfile, options.buildArgs, platforms, targetStage, budget);
  const draft: Draft[] = [];
  for (const stage of dockerfile.stages) {
    draft.push(locate(stage.from.range, () => planStage(dockerfile, stage, globals, options)));
  }
  refuseCircles(draft);
  const needed = reachable(draft, target);
  for (const { index, stage, uses } of draft) {
    if (!needed.has(index)) continue;
    for (const { source, instruction } of uses) {
      locate(instruction.range, () => requireBefore(source, instruction, stage));
    }
  }
  return {
    dockerfile,
    options,
    globals,
    target,
    budget,
    stages: draft.map(({ uses: _, ...stage }) => ({ ...stage, needed: needed.has(stage.index) })),
    sourceDateEpoch: epoch(
      own(options.buildArgs, "SOURCE_DATE_EPOCH") ?? globals.values.get("SOURCE_DATE_EPOCH"),
    ),
  };
}

function epoch(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^-?\d{1,15}$/.test(text)) throw invalid(`invalid SOURCE_DATE_EPOCH: ${text}`);
  return Number(text);
}

function findTarget({ stages }: Dockerfile, target: string | undefined): number {
  if (target === undefined || target === "") return stages.length - 1;
  const name = target.toLowerCase();
  const found = stages.findLast((stage) => stage.name === name) ??
    (/^\d+$/.test(target) ? stages[Number(target)] : undefined);
  if (found) return found.index;
  const message = `target stage ${JSON.stringify(target)} could not be found`;
  throw new DockerfileError(withSuggestion(message, target, stages.map(labelOf)));
}

const labelOf = (stage: Stage): string => stage.name ?? `stage-${stage.index}`;

function planStage(
  dockerfile: Dockerfile,
  stage: Stage,
  globals: GlobalArgs,
  options: PlanOptions,
): Draft {
  const label = dockerfile.stages.length === 1 ? "" : labelOf(stage);
  const base = expand(stage.base, globals.values, dockerfile).text;
  if (base === "") throw invalid(`base name (${stage.base}) should not be blank`);
  const platform = stage.platform === undefined
    ? undefined
    : stagePlatform(stage.platform, globals, dockerfile);
  const substitute = stage.name === undefined ? undefined : namedContext(options.namedContexts, stage.name);
  const common = { index: stage.index, stage, label, platform };
  if (substitute !== undefined) {
    return { ...common, base: { kind: "named", name: substitute }, instructions: [], sources: [], uses: [] };
  }
  const uses = stage.instructions.flatMap((instruction) =>
    locate(instruction.range, () => sourcesOf(instruction, dockerfile, options.namedContexts))
      .map((source) => ({ source, instruction }))
  );
  return {
    ...common,
    base: baseOf(dockerfile, stage, base, options),
    instructions: stage.instructions,
    sources: uses.map(({ source }) => source),
    uses,
  };
}

function stagePlatform(text: string, globals: GlobalArgs, dockerfile: Dockerfile): Platform {
  const { text: value, unmatched } = expand(text, globals.values, dockerfile);
  const guess = (message: string): EngineError => {
    for (const name of unmatched) {
      const found = nearest(name, globals.values.keys());
      if (found !== undefined) return invalid(`${message} (did you mean ${found}?)`);
    }
    return invalid(message);
  };
  if (value === "") throw guess(`empty platform value from expression ${text}`);
  try {
    return parsePlatform(value);
  } catch (error) {
    throw guess(`failed to parse platform ${text}: ${error instanceof Error ? error.message : error}`);
  }
}

function baseOf(dockerfile: Dockerfile, stage: Stage, name: string, options: PlanOptions): BaseRef {
  const lower = name.toLowerCase();
  const before = dockerfile.stages.findLast((one) => one.index < stage.index && one.name === lower);
  if (before) return { kind: "stage", index: before.index };
  if (name === "scratch") return { kind: "scratch" };
  const context = namedContext(options.namedContexts, name);
  if (context !== undefined) return { kind: "named", name: context };
  checkImageName(name);
  return { kind: "image", reference: name };
}

function checkImageName(name: string): void {
  try {
    parseReference(name);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw invalid(`failed to parse stage name ${JSON.stringify(name)}: ${reason}`);
  }
}

/** The context that was given for a stage's or an image's name, in any of the name's forms. */
function namedContext(contexts: readonly string[], name: string): string | undefined {
  if (contexts.length === 0 || name.toLowerCase() === "scratch" || name.toLowerCase() === "context") {
    return undefined;
  }
  const forms = new Set(formsOf(name));
  return contexts.find((context) => formsOf(context).some((form) => forms.has(form)));
}

function formsOf(name: string): string[] {
  const lower = name.toLowerCase();
  try {
    return [lower, familiarString(withDefaultTag(parseReference(lower)))];
  } catch {
    return [lower];
  }
}

/**
 * Where a name leads that stands in `--from`: a stage (by name; for COPY by number, too), a named context, or an image.
 *
 * @throws {EngineError} invalid
 */
export function resolveSource(
  name: string,
  dockerfile: Dockerfile,
  namedContexts: readonly string[],
  options: { readonly numbers?: boolean } = {},
): SourceRef {
  if (options.numbers && /^[+-]?\d+$/.test(name)) {
    const index = Number(name);
    if (!(index >= 0 && index < dockerfile.stages.length)) throw invalid(`invalid stage index ${index}`);
    return { kind: "stage", index };
  }
  const lower = name.toLowerCase();
  const stage = dockerfile.stages.findLast((one) => one.name === lower);
  if (stage) return { kind: "stage", index: stage.index };
  const context = namedContext(namedContexts, name);
  if (context !== undefined) return { kind: "named", name: context };
  if (name !== "scratch") checkImageName(name);
  return { kind: "image", reference: name };
}

/**
 * All that an instruction takes files from, except the build context.
 *
 * @throws {EngineError} invalid
 */
export function sourcesOf(
  instruction: Instruction,
  dockerfile: Dockerfile,
  namedContexts: readonly string[],
): SourceRef[] {
  if (instruction.keyword === "COPY") {
    const from = copyFrom(instruction, dockerfile);
    return from === undefined ? [] : [resolveSource(from, dockerfile, namedContexts, { numbers: true })];
  }
  if (instruction.keyword !== "RUN") return [];
  return flagValues(instruction, "mount").flatMap((text) => {
    const { from } = mountFields(text);
    return from === undefined ? [] : [resolveSource(from, dockerfile, namedContexts)];
  });
}

/** `COPY --from`, which takes no variables; undefined: the build context. */
export function copyFrom(instruction: Instruction, dockerfile: Dockerfile): string | undefined {
  const from = flagValue(instruction, "from");
  if (from === undefined || from === "") return undefined;
  if (expand(from, { get: () => undefined }, dockerfile).text !== from) {
    throw invalid(
      "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
    );
  }
  return from;
}

type Edge = Pick<PlannedStage, "index" | "base" | "sources">;

function stagesBelow({ base, sources }: Edge): number[] {
  return [base, ...sources].flatMap((one) => one.kind === "stage" ? [one.index] : []);
}

/** All that `from` leads to, itself included. No recursion: there may be thousands in a row. */
function reachable(stages: readonly Edge[], from: number): Set<number> {
  const found = new Set([from]);
  for (const index of found) {
    const stage = stages[index];
    if (stage) { for (const below of stagesBelow(stage)) found.add(below); }
  }
  return found;
}

/** Refuses what waits for itself: follows all stages down, and looks whether one is met that is still being followed. */
function refuseCircles(stages: readonly Draft[]): void {
  const state = new Map<number, "open" | "done">();
  const edges = stages.map(({ base, uses }) => [
    ...(base.kind === "stage" ? [{ index: base.index, instruction: undefined }] : []),
    ...uses.flatMap(({ source, instruction }) =>
      source.kind === "stage" ? [{ index: source.index, instruction }] : []
    ),
  ]);
  for (const { index: start } of stages) {
    // no recursion: there may be thousands in a row
    const path = state.has(start) ? [] : [{ index: start, next: 0 }];
    if (path.length > 0) state.set(start, "open");
    for (let top; (top = path.at(-1)) !== undefined;) {
      const edge = edges[top.index]?.[top.next++];
      if (edge === undefined) {
        state.set(top.index, "done");
        path.pop();
      } else if (state.get(edge.index) === "open") {
        const stage = stages[top.index]?.stage;
        const range = edge.instruction?.range ?? stage?.from.range;
        throw new DockerfileError(
          `circular dependency detected on stage: ${stage ? labelOf(stage) : ""}`,
          range,
        );
      } else if (!state.has(edge.index)) {
        state.set(edge.index, "open");
        path.push({ index: edge.index, next: 0 });
      }
    }
  }
}

/**
 * Refuses files of a stage that does not stand before.
 *
 * @throws {EngineError} invalid
 */
export function requireBefore(source: SourceRef, instruction: Instruction, stage: Stage): void {
  if (source.kind !== "stage" || source.index < stage.index) return;
  if (instruction.keyword === "COPY") {
    throw invalid(
      `cannot copy from stage ${JSON.stringify(flagValue(instruction, "from"))}, ` +
        `it needs to be defined before current stage ${JSON.stringify(labelOf(stage))}`,
    );
  }
  const mount = flagValues(instruction, "mount").find((text) => mountFields(text).from !== undefined);
  const { from = "", target = "" } = mountFields(mount ?? "");
  throw invalid(
    `cannot mount from stage ${JSON.stringify(from)} to ${JSON.stringify(target)}, ` +
      "stage needs to be defined before current command",
  );
}

/** Instructions that make a step of their own in titles. */
const STEPS = new Set(["ADD", "COPY", "RUN", "WORKDIR"]);

/** Counts a stage's steps: "[build 2/5] ", "[stage-1 3/4] ", "[2/5] ". */
export class StepCounter {
  readonly #label: string;
  readonly #total: number;
  #done = 0;

  /** @param triggers how many of ONBUILD are done first. */
  constructor(stage: PlannedStage, triggers = 0) {
    const own = stage.instructions.filter(({ keyword }) => STEPS.has(keyword)).length;
    this.#label = stage.label;
    this.#total = own + triggers + (hasBaseStep(stage) ? 1 : 0);
  }

  /** The prefix for the next step; also the one of a base image, which is the first. */
  next(onbuild = false): string {
    if (this.#total === 0) return "";
    const label = this.#label === "" ? "" : `${this.#label} `;
    const width = String(this.#total).length;
    const number = String(++this.#done).padStart(width);
    return `[${label}${number}/${this.#total}] ${onbuild ? "ONBUILD " : ""}`;
  }
}

/** Whether the base is a step of its own: an image, not scratch and not another stage. */
export const hasBaseStep = ({ base }: PlannedStage): boolean =>
  base.kind === "image" || base.kind === "named";

/** Whether the instruction is a step in titles. */
export const isStep = ({ keyword }: Instruction): boolean => STEPS.has(keyword);
