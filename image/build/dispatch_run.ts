import { own } from "./global_args.ts";
import { commandLine, userOf } from "./dispatch_config.ts";
import { flagValue, flagValues } from "./flags.ts";
import { heredocText } from "./parse.ts";
import { parseMount } from "./run_mount.ts";
import type { Dispatched, Step } from "./step.ts";
import type { Heredoc, RunMount, RunOp } from "./types.ts";
import { heredocMark } from "./words.ts";

const PROXIES = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

export function dispatchRun(step: Step): Dispatched {
  const { state, instruction } = step;
  const { heredocs, json, range } = instruction;
  const [first] = heredocs;
  const isScript = first !== undefined && !json && heredocMark(instruction.rest) !== undefined;
  const { words, scripts } = isScript
    ? scriptOf(first)
    : { words: [commandText(instruction.words, heredocs)].flat(), scripts: [] };
  const args = commandLine(state, words, json);
  const mounts = flagValues(instruction, "mount")
    .map((text) => parseMount(text, (value) => step.expand(value), state.workingDir));
  const summary = isScript ? ` (${summarize(first.content)})` : "";
  const op: RunOp = {
    kind: "run",
    args,
    env: state.env,
    proxyEnv: proxyEnv(step),
    user: userOf(state),
    cwd: state.workingDir,
    mounts,
    network: (flagValue(instruction, "network") ?? "default") as RunOp["network"],
    security: (flagValue(instruction, "security") ?? "sandbox") as RunOp["security"],
    scripts,
    createdBy: `RUN ${withArguments(step, args)} # buildkit`,
    title: step.title({ rawQuotes: true, skipUnset: true }, maskSecrets(step, mounts)) + summary,
    range,
  };
  return { state, op };
}

/** `RUN <<EOF` alone: a script for the shell, or, with `#!`, for the program that it names. */
function scriptOf(heredoc: Heredoc): { words: string[]; scripts: RunOp["scripts"] } {
  const content = heredocText(heredoc);
  if (!content.startsWith("#!")) return { words: [content], scripts: [] };
  const path = `/dev/pipes/${heredoc.name}`;
  return { words: [path], scripts: [{ path, content }] };
}

/** Heredocs among other words are the shell's: they are put back as they were. */
function commandText(words: readonly string[], heredocs: readonly Heredoc[]): string | readonly string[] {
  if (heredocs.length === 0) return words;
  return words.join(" ") + heredocs.map(({ content, name }) => `\n${content}${name}`).join("");
}

/** `|1 A=b /bin/sh -c make`: the build arguments are part of what was run. */
function withArguments({ state }: Step, args: readonly string[]): string {
  const { declared, scope } = state.parts;
  const shown = Array.from(
    declared.all(),
    ([name, value]) => `${name}=${scope.get(name) ?? value ?? ""}`,
  );
  return [...(shown.length === 0 ? [] : [`|${shown.length}`, ...shown]), ...args].join(" ");
}

/** The title shows where a secret goes, whatever an argument of that name holds. */
function maskSecrets(
  { state }: Step,
  mounts: readonly RunMount[],
): { get(name: string): string | undefined } {
  const secret = new Set(mounts.flatMap((mount) => mount.type === "secret" && mount.env ? [mount.env] : []));
  return { get: (name) => secret.has(name) ? "****" : state.parts.scope.get(name) };
}

/** First line of a script, for its title. */
function summarize(content: string): string {
  const text = content.trim();
  const end = text.search(/\r?\n/);
  return end < 0 ? text : `${text.slice(0, end)}...`;
}

/** Proxies that were given as build arguments; declared ones are variables of the stage like any other. */
function proxyEnv({ plan, state }: Step): string[] {
  const { buildArgs } = plan.options;
  return PROXIES.flatMap((lower) => {
    const upper = lower.toUpperCase();
    const value = own(buildArgs, upper) ?? own(buildArgs, lower);
    if (value === undefined) return [];
    return [upper, lower].flatMap((name) =>
      state.parts.scope.get(name) === undefined ? [`${name}=${value}`] : []
    );
  });
}
