/** Instructions of `--change`, which commit and import take: what they make of a configuration. */
import { invalid } from "../../base/errors.ts";
import type { ContainerDefaults } from "../types.ts";
import { HOST_PLATFORM } from "../platform.ts";
import { Dispatcher } from "./dispatch.ts";
import { DockerfileError } from "./errors.ts";
import { LayeredMap } from "./layered_map.ts";
import { parseChanges, parseDockerfile } from "./parse.ts";
import { splitPair, WorkingState } from "./stage_state.ts";
import { planBuild } from "./stages.ts";
import type { StageState } from "./types.ts";

/** What Docker takes here (moby: builder/dockerfile, validCommitCommands). */
const ALLOWED = new Set([
  "CMD",
  "ENTRYPOINT",
  "ENV",
  "EXPOSE",
  "HEALTHCHECK",
  "LABEL",
  "ONBUILD",
  "STOPSIGNAL",
  "USER",
  "VOLUME",
  "WORKDIR",
]);

/**
 * The configuration that instructions make of another one, as if they stood in a Dockerfile: variables are those of its Env.
 *
 * @throws {EngineError} invalid
 */
export function changedConfig(base: ContainerDefaults, changes: readonly string[]): ContainerDefaults {
  try {
    return applied(base, changes.join("\n"));
  } catch (error) {
    // there is no file whose line could be told
    throw error instanceof DockerfileError ? invalid(error.reason, error) : error;
  }
}

function applied(base: ContainerDefaults, text: string): ContainerDefaults {
  const { instructions, escape } = parseChanges(
    text,
    (keyword, written) =>
      ALLOWED.has(keyword) ? undefined : invalid(`${written} is not a valid change command`),
  );
  const dispatcher = new Dispatcher(planBuild({ ...parseDockerfile("FROM scratch"), escape }, {
    target: undefined,
    buildArgs: {},
    targetPlatform: HOST_PLATFORM,
    buildPlatform: HOST_PLATFORM,
    namedContexts: [],
  }));
  const begun = stateOf(base);
  let state: StageState = begun;
  let isCommandSet = false;
  for (const instruction of instructions) {
    const { keyword, rest } = instruction;
    if (rest === "") throw invalid(`${keyword} requires at least one argument`);
    ({ state } = dispatcher.dispatch(0, state, instruction));
    isCommandSet ||= keyword === "CMD";
  }
  const { ArgsEscaped, ...config } = state.config;
  return {
    ...config,
    // BuildKit's mark of a command that a Dockerfile has set; Docker leaves it out here
    ...(isCommandSet || ArgsEscaped === undefined ? {} : { ArgsEscaped }),
  };
}

/** Other than for a stage, triggers stay, and no PATH comes by itself. */
function stateOf(base: ContainerDefaults): WorkingState {
  const { parts } = WorkingState.fromImage(base, "");
  const variables = LayeredMap.of((base.Env ?? []).map(splitPair));
  const { OnBuild } = base;
  return new WorkingState({
    ...parts,
    rest: { ...parts.rest, ...(OnBuild === undefined ? {} : { OnBuild }) },
    imageEnv: variables,
    scope: variables,
  });
}
