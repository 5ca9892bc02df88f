import type { ContainerDefaults } from "../types.ts";
import {
  dispatchArg,
  dispatchCmd,
  dispatchEntrypoint,
  dispatchEnv,
  dispatchExpose,
  dispatchHealthcheck,
  dispatchLabel,
  dispatchMaintainer,
  dispatchOnbuild,
  dispatchShell,
  dispatchStopsignal,
  dispatchUser,
  dispatchVolume,
  dispatchWorkdir,
} from "./dispatch_config.ts";
import { dispatchCopy } from "./dispatch_copy.ts";
import { dispatchRun } from "./dispatch_run.ts";
import { DockerfileError, locate } from "./errors.ts";
import type { Lint } from "./lint.ts";
import { parseTrigger } from "./parse.ts";
import { type BuildPlan, requireBefore, sourcesOf } from "./stages.ts";
import { WorkingState } from "./stage_state.ts";
import { type Dispatched, type IgnoreCheck, Step } from "./step.ts";
import type { BuildOp, Instruction, StageState } from "./types.ts";

/** A stage about to begin. */
export interface BegunStage {
  readonly state: StageState;
  /** What the base has left with ONBUILD: done before the stage's own instructions. */
  readonly triggers: readonly Instruction[];
}

/**
 * Turns the instructions of one build into operations, stage by stage. Nothing is done, and what an instruction means depends on the state it
 * meets alone.
 */
export class Dispatcher {
  readonly #plan: BuildPlan;
  readonly #lint: Lint | undefined;
  readonly #isIgnored: IgnoreCheck | undefined;

  constructor(plan: BuildPlan, options: { readonly lint?: Lint; readonly isIgnored?: IgnoreCheck } = {}) {
    this.#plan = plan;
    this.#lint = options.lint;
    this.#isIgnored = options.isIgnored;
  }

  /**
   * @param base the last state of the stage that this one is made from; of an image its configuration and author; {} for scratch.
   * @throws {DockerfileError} a trigger is wrong, or needs a stage that does not stand before.
   */
  begin(
    stageIndex: number,
    base: StageState | { readonly config?: ContainerDefaults; readonly author?: string },
  ): BegunStage {
    const { stage } = this.#stage(stageIndex);
    const { range } = stage.from;
    const onBuild = base.config?.OnBuild ?? [];
    const state = base instanceof WorkingState
      ? WorkingState.fromStage(base)
      : WorkingState.fromImage(base.config ?? {}, base.author ?? "");
    const { dockerfile, options } = this.#plan;
    const triggers = onBuild.map((text) => {
      const trigger = parseTrigger(text, range);
      locate(range, () => {
        for (const source of sourcesOf(trigger, dockerfile, options.namedContexts)) {
          requireBefore(source, trigger, stage);
        }
      });
      return trigger;
    });
    return { state, triggers };
  }

  /**
   * What an instruction means in this state.
   *
   * @param state as `begin` or the instruction before has returned it.
   * @throws {DockerfileError} invalid, in BuildKit's words.
   */
  dispatch(
    stageIndex: number,
    state: StageState,
    instruction: Instruction,
  ): { readonly state: StageState; readonly op: BuildOp } {
    if (!(state instanceof WorkingState)) throw new TypeError("the state is none of a dispatcher's");
    const handler = HANDLERS[instruction.keyword];
    if (handler === undefined) {
      throw new DockerfileError(`${instruction.keyword} is not a command`, instruction.range);
    }
    const fields = {
      plan: this.#plan,
      stage: this.#stage(stageIndex),
      state,
      instruction,
      lint: this.#lint,
      isIgnored: this.#isIgnored,
    };
    return locate(instruction.range, () => {
      const dispatched = handler(new Step(fields));
      this.#plan.budget.spend(dispatched.op.createdBy.length);
      return dispatched;
    });
  }

  #stage(index: number) {
    const stage = this.#plan.stages[index];
    if (stage === undefined) throw new RangeError(`no stage ${index}`);
    return stage;
  }
}

const HANDLERS: Readonly<Record<string, (step: Step) => Dispatched>> = {
  ADD: dispatchCopy,
  ARG: dispatchArg,
  CMD: dispatchCmd,
  COPY: dispatchCopy,
  ENTRYPOINT: dispatchEntrypoint,
  ENV: dispatchEnv,
  EXPOSE: dispatchExpose,
  HEALTHCHECK: dispatchHealthcheck,
  LABEL: dispatchLabel,
  MAINTAINER: dispatchMaintainer,
  ONBUILD: dispatchOnbuild,
  RUN: dispatchRun,
  SHELL: dispatchShell,
  STOPSIGNAL: dispatchStopsignal,
  USER: dispatchUser,
  VOLUME: dispatchVolume,
  WORKDIR: dispatchWorkdir,
};
