import { invalid } from "../../base/errors.ts";
import { withSuggestion } from "./suggest.ts";
import type { Flag, Instruction } from "./types.ts";

type FlagKind = "bool" | "string" | "list";

/** Flags of each instruction (BuildKit, frontend/dockerfile/instructions). */
const FLAGS: Readonly<Record<string, Readonly<Record<string, FlagKind>>>> = {
  FROM: { platform: "string" },
  RUN: { mount: "list", network: "string", security: "string", device: "list" },
  COPY: { from: "string", chown: "string", chmod: "string", link: "bool", parents: "bool", exclude: "list" },
  ADD: {
    chown: "string",
    chmod: "string",
    link: "bool",
    "keep-git-dir": "bool",
    checksum: "string",
    unpack: "bool",
    exclude: "list",
  },
  HEALTHCHECK: {
    interval: "string",
    timeout: "string",
    "start-period": "string",
    "start-interval": "string",
    retries: "string",
  },
};

/** Instructions whose flags Docker does not look at. */
const UNCHECKED = new Set(["ARG", "STOPSIGNAL"]);

/**
 * Checks flags as they are written, and takes them apart.
 *
 * @param texts "--chown=1:2", "--link"
 * @throws {EngineError} invalid
 */
export function parseFlags(keyword: string, texts: readonly string[]): Flag[] {
  if (UNCHECKED.has(keyword)) return [];
  const known = FLAGS[keyword] ?? {};
  const seen = new Set<string>();
  return texts.map((text) => {
    const equals = text.indexOf("=");
    const shown = equals < 0 ? text : text.slice(0, equals);
    const value = equals < 0 ? undefined : text.slice(equals + 1);
    const name = shown.slice(2);
    const kind = Object.hasOwn(known, name) ? known[name] : undefined;
    if (kind === undefined) {
      throw invalid(withSuggestion(`unknown flag: ${shown}`, name, Object.keys(known)));
    }
    if (kind !== "list" && seen.has(name)) throw invalid(`duplicate flag specified: ${shown}`);
    seen.add(name);
    if (kind === "bool") checkBoolean(shown, value);
    else if (value === undefined) throw invalid(`missing a value on flag: ${shown}`);
    return { name, value };
  });
}

function checkBoolean(shown: string, value: string | undefined): void {
  if (value === "") throw invalid(`missing a value on flag: ${shown}`);
  if (value !== undefined && !/^(true|false)$/i.test(value)) {
    throw invalid(`expecting boolean value for flag ${shown}, not: ${value}`);
  }
}

/** The flag's value; undefined: not given. */
export const flagValue = ({ flags }: Instruction, name: string): string | undefined =>
  flags.find((flag) => flag.name === name)?.value;

/** Values of a flag that may be repeated. */
export const flagValues = ({ flags }: Instruction, name: string): string[] =>
  flags.flatMap((flag) => flag.name === name && flag.value !== undefined ? [flag.value] : []);

/** A flag with or without a value; undefined: not given. */
export function booleanFlag({ flags }: Instruction, name: string): boolean | undefined {
  const flag = flags.find((candidate) => candidate.name === name);
  return flag && (flag.value ?? "true").toLowerCase() === "true";
}
