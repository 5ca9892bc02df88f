import { invalid } from "../base/errors.ts";
import type { ContainerDefaults } from "./types.ts";

type Draft = { -readonly [K in keyof ContainerDefaults]: ContainerDefaults[K] };
type Apply = (draft: Draft, rest: string) => void;

/**
 * Applies `--change` instructions (of import and commit) to an image's defaults: one line of a Dockerfile each.
 *
 * @throws {EngineError} invalid
 */
export function applyChanges(base: ContainerDefaults, changes: readonly string[]): ContainerDefaults {
  const draft: Draft = { ...base };
  for (const change of changes) {
    const line = change.trim();
    if (line === "" || line.startsWith("#")) continue;
    const [word = ""] = line.split(/\s/, 1);
    const apply = INSTRUCTIONS[word.toLowerCase()];
    if (apply === undefined) throw invalid(`${word.toLowerCase()} is not a valid change command`);
    const rest = line.slice(word.length).trim();
    if (rest === "") throw invalid(`${word.toUpperCase()} requires at least one argument`);
    apply(draft, rest);
  }
  return draft;
}

/** The instructions that Docker accepts here (moby, builder/dockerfile/dispatchers.go). */
const INSTRUCTIONS: Readonly<Record<string, Apply>> = {
  cmd: (draft, rest) => {
    draft.Cmd = command(rest);
  },
  entrypoint: (draft, rest) => {
    draft.Entrypoint = command(rest);
    draft.Cmd = null;
  },
  env: (draft, rest) => {
    const names = new Map((draft.Env ?? []).map((entry) => [entry.split("=", 1)[0] ?? "", entry]));
    for (const [name, value] of pairs(rest, "ENV")) names.set(name, `${name}=${value}`);
    draft.Env = [...names.values()];
  },
  label: (draft, rest) => {
    draft.Labels = { ...draft.Labels, ...Object.fromEntries(pairs(rest, "LABEL")) };
  },
  expose: (draft, rest) => {
    const ports = words(rest).flatMap(portsOf);
    draft.ExposedPorts = { ...draft.ExposedPorts, ...Object.fromEntries(ports.map((port) => [port, {}])) };
  },
  volume: (draft, rest) => {
    const volumes = jsonList(rest) ?? words(rest);
    if (volumes.some((volume) => volume.trim() === "")) {
      throw invalid("VOLUME specified can not be an empty string");
    }
    draft.Volumes = { ...draft.Volumes, ...Object.fromEntries(volumes.map((volume) => [volume, {}])) };
  },
  user: (draft, rest) => {
    draft.User = single(rest, "USER");
  },
  workdir: (draft, rest) => {
    draft.WorkingDir = resolvePath(draft.WorkingDir ?? "/", single(rest, "WORKDIR"));
  },
  stopsignal: (draft, rest) => {
    draft.StopSignal = single(rest, "STOPSIGNAL");
  },
  onbuild: (draft, rest) => {
    draft.OnBuild = [...(draft.OnBuild ?? []), rest];
  },
  healthcheck: (draft, rest) => {
    draft.Healthcheck = healthcheck(rest);
  },
};

/** The form with brackets is a list, everything else a line for the shell. */
function command(rest: string): string[] {
  return jsonList(rest) ?? ["/bin/sh", "-c", rest];
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((item) => typeof item === "string") ? value : undefined;
  } catch {
    return undefined;
  }
}

/** `a=b "c d"=e` or, the old form, `name value to the end`. */
function pairs(rest: string, instruction: string): [string, string][] {
  const parts = words(rest);
  if (!parts[0]?.includes("=")) {
    const match = /^(\S+)\s+(.+)$/s.exec(rest);
    if (!match) throw invalid(`${instruction} must have two arguments`);
    return [[match[1] ?? "", match[2] ?? ""]];
  }
  return parts.map((part) => {
    const equals = part.indexOf("=");
    if (equals < 0) {
      throw invalid(
        `Syntax error - can't find = in ${JSON.stringify(part)}. Must be of the form: name=value`,
      );
    }
    if (equals === 0) throw invalid(`${instruction} names can not be blank`);
    return [part.slice(0, equals), part.slice(equals + 1)];
  });
}

/** Splits at spaces, with quotes and backslashes as the shell has them. */
function words(text: string): string[] {
  const found: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const char = text[i] ?? "";
    if (quote === "" && /\s/.test(char)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else if (char === "\\" && quote !== "'" && i + 1 < text.length) {
      word = (word ?? "") + (text[++i] ?? "");
    } else if (quote === "" && (char === '"' || char === "'")) {
      quote = char;
      word ??= "";
    } else if (char === quote) quote = "";
    else word = (word ?? "") + char;
  }
  if (quote !== "") throw invalid("unexpected end of statement while looking for matching quote");
  if (word !== undefined) found.push(word);
  return found;
}

function single(rest: string, instruction: string): string {
  const parts = instruction === "WORKDIR" ? [words(rest).join(" ")] : words(rest);
  if (parts.length !== 1 || parts[0] === undefined) {
    throw invalid(`${instruction} requires exactly one argument`);
  }
  return parts[0];
}

/** `80`, `53/udp`, `8000-8002/tcp` */
function portsOf(text: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const first = Number(match?.[1]), last = Number(match?.[2] ?? match?.[1]);
  if (!match || first > last || last > 65535) throw invalid(`invalid containerPort: ${text}`);
  const protocol = (match[3] ?? "tcp").toLowerCase();
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}/${protocol}`);
}

function resolvePath(base: string, path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith("/") ? path : `${base}/${path}`).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

const DURATIONS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** Go's duration in nanoseconds. */
function duration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== text) {
    throw invalid(`time: invalid duration ${JSON.stringify(text)}`);
  }
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (DURATIONS[unit ?? ""] ?? 0), 0);
}

const HEALTH_OPTIONS: Readonly<Record<string, string>> = {
  interval: "Interval",
  timeout: "Timeout",
  "start-period": "StartPeriod",
  "start-interval": "StartInterval",
  retries: "Retries",
};

function healthcheck(text: string): Record<string, unknown> {
  let rest = text;
  const health: Record<string, unknown> = {};
  for (let match; (match = /^--([a-z-]+)=(\S+)\s+/.exec(rest)); rest = rest.slice(match[0].length)) {
    const key = HEALTH_OPTIONS[match[1] ?? ""];
    if (key === undefined) throw invalid(`Unknown flag: ${match[1]}`);
    health[key] = key === "Retries" ? Number(match[2]) : duration(match[2] ?? "");
  }
  if (/^none$/i.test(rest)) return { Test: ["NONE"] };
  const match = /^cmd\s+(.+)$/is.exec(rest);
  if (!match) throw invalid(`Unknown type in HEALTHCHECK (try CMD): ${JSON.stringify(rest)}`);
  const list = jsonList(match[1] ?? "");
  return { Test: list ? ["CMD", ...list] : ["CMD-SHELL", match[1] ?? ""], ...health };
}
