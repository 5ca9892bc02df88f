import { parseReference } from "../../base/reference.ts";
import { formatPlatform, parsePlatform } from "../platform.ts";
import { expand } from "./expand.ts";
import { argumentsOf, globalArgs } from "./global_args.ts";
import type { Lint } from "./lint.ts";
import type { BuildPlan } from "./stages.ts";
import { nearest } from "./suggest.ts";
import type { Dockerfile, Instruction, Stage } from "./types.ts";

/** The checks that look at the file as a whole. Those of a single instruction are done where it is dispatched. */
export function lintFile(plan: BuildPlan, lint: Lint): void {
  const { dockerfile } = plan;
  for (const range of dockerfile.emptyContinuations) {
    lint.warn("NoEmptyContinuation", "Empty continuation line", range);
  }
  for (const instruction of dockerfile.globalArgs) lintDescription(instruction, lint);
  for (const stage of dockerfile.stages) {
    lintFrom(stage, lint);
    for (const instruction of stage.instructions) {
      if (instruction.keyword === "ARG") lintDescription(instruction, lint);
      else if (instruction.keyword === "MAINTAINER") {
        lint.warn(
          "MaintainerDeprecated",
          "Maintainer instruction is deprecated in favor of using label",
          instruction.range,
        );
      }
    }
  }
  lintStageNames(dockerfile, lint);
  lintCasing(dockerfile, lint);
  lintDefaults(plan, lint);
  for (const stage of dockerfile.stages) lintFromArgs(plan, stage, lint);
}

function lintFrom({ from, name }: Stage, lint: Lint): void {
  const [, as, written] = from.words;
  if (written !== undefined && written !== written.toLowerCase()) {
    lint.warn("StageNameCasing", `Stage name '${written}' should be lowercase`, from.range);
  }
  const isLower = from.written === from.written.toLowerCase();
  const isUpper = from.written === from.written.toUpperCase();
  if (as !== undefined && (isLower || isUpper) && as !== (isLower ? as.toLowerCase() : as.toUpperCase())) {
    lint.warn("FromAsCasing", `'${as}' and '${from.written}' keywords' casing do not match`, from.range);
  }
  if (name !== undefined) lintDescription(from, lint);
}

/** A comment right above a definition is taken for its description, and begins with its name then. */
function lintDescription(instruction: Instruction, lint: Lint): void {
  const last = instruction.comments.at(-1);
  if (last === undefined) return;
  const isFrom = instruction.keyword === "FROM";
  const names = isFrom
    ? [instruction.words[2]?.toLowerCase() ?? ""]
    : argumentsOf(instruction).map(({ name }) => name);
  if (names.length === 0 || names.includes(last.split(" ")[0] ?? "")) return;
  const example = names.length > 1 ? "<arg_key>" : names[0];
  lint.warn(
    "InvalidDefinitionDescription",
    `Comment for ${instruction.keyword} should follow the format: \`# ${example} <description>\``,
    instruction.range,
  );
}

function lintStageNames({ stages }: Dockerfile, lint: Lint): void {
  const seen = new Set<string>();
  for (const { name, from } of stages) {
    if (name === undefined) continue;
    if (name === "context" || name === "scratch") {
      lint.warn(
        "ReservedStageName",
        `Stage name should not use the same name as reserved stage ${JSON.stringify(name)}`,
        from.range,
      );
    }
    if (seen.has(name)) {
      lint.warn(
        "DuplicateStageName",
        `Duplicate stage name ${JSON.stringify(name)}, stage names should be unique`,
        from.range,
      );
    }
    seen.add(name);
  }
}

function lintCasing({ stages }: Dockerfile, lint: Lint): void {
  const all = stages.flatMap(({ from, instructions }) => [from, ...instructions]);
  let lower = 0, upper = 0;
  for (const { written } of all) {
    if (written === written.toLowerCase()) lower++;
    else if (written === written.toUpperCase()) upper++;
  }
  const isLower = lower > upper;
  for (const { written, range } of all) {
    if (written === (isLower ? written.toLowerCase() : written.toUpperCase())) continue;
    lint.warn(
      "ConsistentInstructionCasing",
      `Command '${written}' should match the case of the command majority (${
        isLower ? "lowercase" : "uppercase"
      })`,
      range,
    );
  }
}

/** Base names as they are when nobody gives build arguments. */
function lintDefaults({ dockerfile, options, globals }: BuildPlan, lint: Lint): void {
  const platforms = { target: options.targetPlatform, builder: options.buildPlatform };
  let defaults;
  try {
    defaults = Object.keys(options.buildArgs).length === 0
      ? globals
      : globalArgs(dockerfile, {}, platforms, "");
  } catch {
    // wrong by itself: what is asked for now may be right
    return;
  }
  for (const { base, from } of dockerfile.stages) {
    try {
      parseReference(expand(base, defaults.values, dockerfile).text);
    } catch {
      lint.warn(
        "InvalidDefaultArgInFrom",
        `Default value for ARG ${base} results in empty or invalid base image name`,
        from.range,
      );
    }
  }
}

function lintFromArgs({ dockerfile, globals }: BuildPlan, stage: Stage, lint: Lint): void {
  const { range } = stage.from;
  const known = new Set([...globals.declared, ...globals.values.keys()]);
  const undefinedArgs = (unmatched: Iterable<string>) => {
    for (const name of unmatched) {
      if (known.has(name)) continue;
      const meant = nearest(name, known);
      const hint = meant === undefined ? "" : ` (did you mean ${meant}?)`;
      lint.warn("UndefinedArgInFrom", `FROM argument '${name}' is not declared${hint}`, range);
    }
  };
  undefinedArgs(expand(stage.base, globals.values, dockerfile).unmatched);
  if (stage.platform === undefined) return;
  const { text, matched, unmatched } = expand(stage.platform, globals.values, dockerfile);
  undefinedArgs(unmatched);
  if (matched.size === 1 && unmatched.size === 0 && matched.has("TARGETPLATFORM")) {
    if (text === globals.values.get("TARGETPLATFORM")) {
      lint.warn(
        "RedundantTargetPlatform",
        `Setting platform to predefined ${stage.platform} in FROM is redundant as this is the default behavior`,
        range,
      );
    }
  }
  if (matched.size > 0 || unmatched.size > 0) return;
  const { os, architecture } = parsePlatform(text);
  // a stage that is named after its platform is meant to have it
  if (stage.name !== undefined && (stage.name.includes(os) || stage.name.includes(architecture))) return;
  lint.warn(
    "FromPlatformFlagConstDisallowed",
    `FROM --platform flag should not use constant value ${JSON.stringify(text)}`,
    range,
  );
}

/** Warns of a base that is for another platform than the one asked for. */
export function lintBasePlatform(
  name: string,
  expected: { readonly os: string; readonly architecture: string; readonly variant?: string },
  actual: { readonly os: string; readonly architecture: string; readonly variant?: string },
  stage: Stage,
  lint: Lint,
): void {
  if (expected.os === actual.os && expected.architecture === actual.architecture) return;
  lint.warn(
    "InvalidBaseImagePlatform",
    `Base image ${name} was pulled with platform ${JSON.stringify(formatPlatform(actual))}, ` +
      `expected ${JSON.stringify(formatPlatform(expected))} for current build`,
    stage.from.range,
  );
}
