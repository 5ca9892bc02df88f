import { expand, type ExpandOptions, type Expansion, type Variables } from "./expand.ts";
import type { Lint } from "./lint.ts";
import type { BuildPlan, PlannedStage } from "./stages.ts";
import type { WorkingState } from "./stage_state.ts";
import { nearest } from "./suggest.ts";
import type { BuildOp, Instruction } from "./types.ts";

/** Among more variables than this, in characters, none is looked for that was meant. */
const MANY_VARIABLES = 8 * 1024;

/** What a step comes to: the next state, and what is to be done. */
export interface Dispatched {
  readonly state: WorkingState;
  readonly op: BuildOp;
}

/** Says whether `.dockerignore` leaves a path out; undefined: cannot be said, or there is none. */
export type IgnoreCheck = (path: string) => boolean | undefined;

/** One instruction in the state that it meets. */
export class Step {
  readonly plan: BuildPlan;
  readonly stage: PlannedStage;
  readonly state: WorkingState;
  readonly instruction: Instruction;
  readonly lint: Lint | undefined;
  readonly isIgnored: IgnoreCheck | undefined;

  constructor(
    fields: Pick<Step, "plan" | "stage" | "state" | "instruction" | "lint" | "isIgnored">,
  ) {
    this.plan = fields.plan;
    this.stage = fields.stage;
    this.state = fields.state;
    this.instruction = fields.instruction;
    this.lint = fields.lint;
    this.isIgnored = fields.isIgnored;
  }

  /** A word with its variables replaced and its quotes removed; warns of variables that do not exist. */
  expand(text: string, options: Partial<ExpandOptions> = {}, state = this.state): string {
    return this.#expand(text, state.parts.scope, options).text;
  }

  /** The same, split at white space. */
  expandWords(text: string): readonly string[] {
    return this.#expand(text, this.state.parts.scope, {}).words;
  }

  #expand(text: string, variables: Variables, options: Partial<ExpandOptions>): Expansion {
    const { dockerfile: { escape }, budget } = this.plan;
    const result = expand(text, variables, { escape, budget, ...options });
    if (this.lint) { for (const name of result.unmatched) this.#warnUndefined(name, this.lint); }
    return result;
  }

  #warnUndefined(name: string, lint: Lint): void {
    const { declared, scope, scopeSize } = this.state.parts;
    if (declared.has(name) || lint.isFull) return;
    const meant = scopeSize > MANY_VARIABLES ? undefined : nearest(name, scope.all().keys());
    const hint = meant === undefined ? "" : ` (did you mean $${meant}?)`;
    lint.warn("UndefinedVar", `Usage of undefined variable '$${name}'${hint}`, this.instruction.range);
  }

  /**
   * What progress shows: the instruction with its variables replaced, keyword in upper case.
   *
   * @param variables other ones than the stage's.
   */
  title(options: Partial<ExpandOptions> = {}, variables: Variables = this.state.parts.scope): string {
    const { original, keyword, written } = this.instruction;
    let text = original;
    try {
      const { dockerfile: { escape }, budget } = this.plan;
      text = expand(original, variables, { escape, budget, ...options }).text;
    } catch {
      // what cannot be expanded is shown as it is
    }
    return keyword + text.slice(written.length);
  }

  /** A step that changes the configuration only. */
  config(state: WorkingState, createdBy: string): Dispatched {
    const { range, original, keyword, written } = this.instruction;
    const title = keyword + original.slice(written.length);
    return { state, op: { kind: "config", createdBy, title, range } };
  }
}
