import { cleanPath } from "../../base/clean_path.ts";
import { invalid } from "../../base/errors.ts";
import { signalNumber } from "../../ffi/signals.ts";
import { quoted } from "./errors.ts";
import { parseExpose } from "./expose.ts";
import { argumentsOf, own } from "./global_args.ts";
import { goDurationText } from "../../base/go_duration.ts";
import { healthInterval, healthRetries } from "./instruction_check.ts";
import type { Dispatched, Step } from "./step.ts";
import type { WorkingState } from "./stage_state.ts";

/** `name=value` pairs of ENV and LABEL, expanded. */
function pairsOf(step: Step): { name: string; value: string }[] {
  const { words, keyword, range } = step.instruction;
  const isLegacy = words[0]?.includes("=") === false;
  if (isLegacy) {
    const message = `"${keyword} key=value" should be used instead of legacy "${keyword} key value" format`;
    step.lint?.warn("LegacyKeyValueFormat", message, range);
  }
  const raw: [string, string][] = isLegacy
    ? [[words[0] ?? "", words[1] ?? ""]]
    : argumentsOf(step.instruction).map(({ name, value }) => [name, value ?? ""]);
  return raw.map(([name, value]) => ({ name: step.expand(name), value: step.expand(value) }));
}

export function dispatchEnv(step: Step): Dispatched {
  const pairs = pairsOf(step);
  let { state } = step;
  for (const { name, value } of pairs) {
    warnSecret(step, name);
    state = state.withVariable(name, value);
    state = state.with({ imageEnv: state.parts.imageEnv.with(name, value) });
  }
  return step.config(state, ["ENV", ...pairs.map(({ name, value }) => `${name}=${value}`)].join(" "));
}

export function dispatchLabel(step: Step): Dispatched {
  let { labels } = step.state.parts;
  const pairs = pairsOf(step);
  for (const { name, value } of pairs) labels = labels.with(name, value);
  const createdBy = ["LABEL", ...pairs.map(({ name, value }) => `${name}=${value}`)].join(" ");
  return step.config(step.state.with({ labels }), createdBy);
}

export function dispatchArg(step: Step): Dispatched {
  const { options, globals } = step.plan;
  let { state } = step;
  const shown = argumentsOf(step.instruction).map(({ name, value: fallback }) => {
    warnSecret(step, name);
    // a default that is not needed may be wrong
    const value = own(options.buildArgs, name) ??
      (fallback === undefined ? globals.values.get(name) : step.expand(fallback, {}, state));
    state = state.with({ declared: state.parts.declared.with(name, value) });
    if (value === undefined) return name;
    state = state.withVariable(name, value);
    return `${name}=${value}`;
  });
  return step.config(state, `ARG ${shown.join(" ")}`);
}

// BuildKit, frontend/dockerfile/dockerfile2llb/validations.go
const SECRET = /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
const NOT_SECRET = /(?:_|^)(?:public|file|version)(?:_|$)/i;

function warnSecret({ lint, instruction }: Step, name: string): void {
  if (!SECRET.test(name) || NOT_SECRET.test(name)) return;
  lint?.warn(
    "SecretsUsedInArgOrEnv",
    `Do not use ARG or ENV instructions for sensitive data (${instruction.keyword} ${quoted(name)})`,
    instruction.range,
  );
}

export function dispatchMaintainer(step: Step): Dispatched {
  const author = step.instruction.rest;
  return step.config(step.state.with({ author }), `MAINTAINER ${author}`);
}

export function dispatchWorkdir(step: Step): Dispatched {
  const { instruction, state, lint } = step;
  const text = step.expand(instruction.rest);
  if (!text.startsWith("/") && state.parts.seen.WORKDIR === undefined) {
    lint?.warn(
      "WorkdirRelativePath",
      `Relative workdir ${quoted(text)} can have unexpected results if the base image changes`,
      instruction.range,
    );
  }
  const path = cleanPath(text.startsWith("/") ? text : `${state.workingDir}/${text}`);
  const next = state.withConfig({ WorkingDir: path })
    .with({ seen: { ...state.parts.seen, WORKDIR: instruction.range } });
  const createdBy = `WORKDIR ${path}`;
  if (path === "/") return step.config(next, createdBy);
  const { range } = instruction;
  const op = { kind: "workdir", path, user: userOf(state), createdBy, title: step.title(), range } as const;
  return { state: next, op };
}

export const userOf = ({ parts }: WorkingState): string => parts.rest.User ?? "";

export function dispatchUser(step: Step): Dispatched {
  const user = step.expand(step.instruction.rest);
  return step.config(step.state.withConfig({ User: user }), `USER ${user}`);
}

export function dispatchExpose(step: Step): Dispatched {
  const { instruction, lint } = step;
  let { ports } = step.state.parts;
  const added = new Set<string>();
  for (const text of instruction.words.toSorted().flatMap((word) => step.expandWords(word))) {
    const parsed = parseExpose(text);
    if (parsed.oddCase) {
      const message = `Defined protocol '${text}' in EXPOSE instruction should be lowercase`;
      lint?.warn("ExposeProtoCasing", message, instruction.range);
    }
    if (parsed.mapping) {
      const message =
        `EXPOSE instruction should not define an IP address or host-port mapping, found '${text}'`;
      lint?.warn("ExposeInvalidFormat", message, instruction.range);
    }
    for (const port of parsed.ports) {
      ports = ports.with(port, {});
      added.add(port);
    }
  }
  const shown = [...added].sort().map((port) => `${port}:{}`).join(" ");
  return step.config(step.state.with({ ports }), `EXPOSE map[${shown}]`);
}

export function dispatchVolume(step: Step): Dispatched {
  let { volumes } = step.state.parts;
  const paths = step.instruction.words.map((word) => step.expand(word.trim()));
  for (const path of paths) {
    if (path === "") throw invalid("VOLUME specified can not be an empty string");
    volumes = volumes.with(path, {});
  }
  return step.config(step.state.with({ volumes }), `VOLUME [${paths.join(" ")}]`);
}

export function dispatchStopsignal(step: Step): Dispatched {
  const signal = step.expand(step.instruction.rest);
  if (signalNumber(signal) === undefined) throw invalid(`invalid signal: ${signal}`);
  return step.config(step.state.withConfig({ StopSignal: signal }), `STOPSIGNAL ${signal}`);
}

export function dispatchShell(step: Step): Dispatched {
  const { words } = step.instruction;
  return step.config(step.state.withConfig({ Shell: words }), `SHELL [${words.join(" ")}]`);
}

/** The argument list of a command in shell form or as a list. */
export function commandLine({ parts }: WorkingState, words: readonly string[], isList: boolean): string[] {
  if (isList) return [...words];
  const shell = parts.rest.Shell?.length ? parts.rest.Shell : ["/bin/sh", "-c"];
  return [...shell, words.join(" ")];
}

/** A list as Go's %q writes it. */
const quotedList = (words: readonly string[]): string => `[${words.map(quoted).join(" ")}]`;

export function dispatchCmd(step: Step): Dispatched {
  const args = command(step);
  const state = step.state.withConfig({ Cmd: args, ArgsEscaped: true });
  return step.config(seen(step, state, "CMD"), `CMD ${quotedList(args)}`);
}

export function dispatchEntrypoint(step: Step): Dispatched {
  const args = command(step);
  const Entrypoint = args.length === 0 ? null : args;
  // the base's arguments are for the base's program
  const ownCmd = step.state.parts.seen.CMD !== undefined;
  const state = step.state.withConfig(ownCmd ? { Entrypoint } : { Entrypoint, Cmd: null });
  return step.config(seen(step, state, "ENTRYPOINT"), `ENTRYPOINT ${quotedList(args)}`);
}

function command({ state, instruction, lint }: Step): string[] {
  const { words, json, keyword, range } = instruction;
  if (!json && !state.parts.rest.Shell?.length) {
    lint?.warn(
      "JSONArgsRecommended",
      `JSON arguments recommended for ${keyword} to prevent unintended behavior related to OS signals`,
      range,
    );
  }
  return commandLine(state, words, json);
}

/** Notes that the stage has the instruction; of two in a stage only the last one counts. */
function seen(
  { instruction, lint, state: before }: Step,
  state: WorkingState,
  keyword: "CMD" | "ENTRYPOINT" | "HEALTHCHECK",
): WorkingState {
  const earlier = before.parts.seen[keyword];
  if (earlier) {
    lint?.warn(
      "MultipleInstructionsDisallowed",
      `Multiple ${keyword} instructions should not be used in the same stage because only the last one will be used`,
      earlier,
    );
  }
  return state.with({ seen: { ...state.parts.seen, [keyword]: instruction.range } });
}

export function dispatchHealthcheck(step: Step): Dispatched {
  const { instruction } = step;
  const [kind = "", ...args] = instruction.words;
  const isNone = kind.toUpperCase() === "NONE";
  const test = isNone ? ["NONE"] : [instruction.json ? "CMD" : "CMD-SHELL", ...args];
  const times = ["interval", "timeout", "start-period", "start-interval"]
    .map((name) => isNone ? 0 : healthInterval(instruction, name));
  const [Interval = 0, Timeout = 0, StartPeriod = 0, StartInterval = 0] = times;
  const Retries = isNone ? 0 : healthRetries(instruction);
  const set = Object.entries({ Interval, Timeout, StartPeriod, StartInterval, Retries })
    .filter(([, value]) => value !== 0);
  const state = step.state.withConfig({ Healthcheck: { Test: test, ...Object.fromEntries(set) } });
  // Go's %q of a pointer to this structure, which is what docker 28 leaves in the history
  const shown = [quotedList(test), ...times.map((time) => quoted(goDurationText(time))), quotedRune(Retries)];
  return step.config(seen(step, state, "HEALTHCHECK"), `HEALTHCHECK &{${shown.join(" ")}}`);
}

/** A number as Go's %q writes it: as a character. */
function quotedRune(code: number): string {
  const char = code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd";
  if (char === "'") return "'\\''";
  return `'${char === '"' ? char : quoted(char).slice(1, -1)}'`;
}

/** Keeps an instruction for whoever builds on this image; it leaves no line in the history. */
export function dispatchOnbuild(step: Step): Dispatched {
  const { original, heredocs } = step.instruction;
  const trigger = original.replace(/^\s*ONBUILD\s*/i, "") +
    heredocs.map(({ content, name }) => `\n${content}${name}`).join("");
  const OnBuild = [...step.state.parts.rest.OnBuild ?? [], trigger];
  return step.config(step.state.withConfig({ OnBuild }), "");
}
