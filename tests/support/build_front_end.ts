import { Dispatcher } from "../../image/build/dispatch.ts";
import { Lint } from "../../image/build/lint.ts";
import { lintFile } from "../../image/build/lint_file.ts";
import { parseDockerfile } from "../../image/build/parse.ts";
import { type BuildPlan, planBuild, type PlanOptions } from "../../image/build/stages.ts";
import type { IgnoreCheck } from "../../image/build/step.ts";
import type { BuildOp, LintWarning, StageState } from "../../image/build/types.ts";
import type { ContainerDefaults } from "../../image/types.ts";

const AMD64 = { os: "linux", architecture: "amd64" } as const;

export interface FrontEndOptions extends Partial<PlanOptions> {
  /** Configurations of base images by the names in FROM. */
  readonly images?: Readonly<Record<string, ContainerDefaults>>;
  readonly isIgnored?: IgnoreCheck;
}

export interface FrontEndResult {
  readonly plan: BuildPlan;
  /** Of the stages that are needed, by index. */
  readonly stages: readonly { readonly ops: readonly BuildOp[]; readonly state: StageState }[];
  /** Of the target. */
  readonly ops: readonly BuildOp[];
  readonly state: StageState;
  readonly warnings: readonly LintWarning[];
}

export function plan(text: string, options: Partial<PlanOptions> = {}): BuildPlan {
  return planBuild(parseDockerfile(text), {
    target: undefined,
    buildArgs: {},
    targetPlatform: AMD64,
    buildPlatform: AMD64,
    namedContexts: [],
    ...options,
  });
}

/** All that is done with a Dockerfile before anything is built. */
export function frontEnd(text: string, options: FrontEndOptions = {}): FrontEndResult {
  const { images = {}, isIgnored, ...rest } = options;
  const planned = plan(text, rest);
  const warnings: LintWarning[] = [];
  const lint = new Lint(planned.dockerfile.directives["check"], (warning) => warnings.push(warning));
  lintFile(planned, lint);
  const dispatcher = new Dispatcher(planned, { lint, ...(isIgnored && { isIgnored }) });
  const stages: { ops: BuildOp[]; state: StageState }[] = [];
  for (const { index, base, instructions, needed } of planned.stages) {
    if (!needed) continue;
    const below = base.kind === "stage" ? stages[base.index]?.state : undefined;
    const config = base.kind === "image" ? images[base.reference] : undefined;
    const begun = dispatcher.begin(index, below ?? (config ? { config } : {}));
    const ops: BuildOp[] = [];
    let { state } = begun;
    for (const instruction of [...begun.triggers, ...instructions]) {
      const dispatched = dispatcher.dispatch(index, state, instruction);
      state = dispatched.state;
      ops.push(dispatched.op);
    }
    stages[index] = { ops, state };
  }
  lint.finish();
  const target = stages[planned.target];
  if (target === undefined) throw new Error("the target was not dispatched");
  return { plan: planned, stages, ...target, warnings };
}
