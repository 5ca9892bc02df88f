import type { Platform } from "../platform.ts";
import { formatPlatform } from "../platform.ts";
import { locate } from "./errors.ts";
import { expand, type ExpansionBudget } from "./expand.ts";
import type { Dockerfile, Instruction } from "./types.ts";

/** What ARG before the first FROM makes, and what every Dockerfile may ask for. */
export interface GlobalArgs {
  /** Values for FROM, and for ARG without a value in a stage. */
  readonly values: ReadonlyMap<string, string>;
  /** Names that the Dockerfile declares itself. */
  readonly declared: ReadonlySet<string>;
}

/** The target's and the builder's platform, taken apart (docs.docker.com, "Automatic platform ARGs in the global scope"). */
function platformArgs(target: Platform, builder: Platform, stage: string): [string, string][] {
  const of = (prefix: string, whole: Platform): [string, string][] => named(prefix, withoutDefault(whole));
  const named = (prefix: string, platform: Platform): [string, string][] => [
    [`${prefix}PLATFORM`, formatPlatform(platform)],
    [`${prefix}OS`, platform.os],
    [`${prefix}OSVERSION`, ""],
    [`${prefix}ARCH`, platform.architecture],
    [`${prefix}VARIANT`, platform.variant ?? ""],
  ];
  return [...of("BUILD", builder), ...of("TARGET", target), ["TARGETSTAGE", stage || "default"]];
}

/** arm64 is v8 unless it says otherwise, and is written without it. */
const withoutDefault = ({ os, architecture, variant }: Platform): Platform =>
  variant === undefined || (architecture === "arm64" && variant === "v8")
    ? { os, architecture }
    : { os, architecture, variant };

/**
 * @param targetStage name of the stage that is built, "" when it has none.
 * @throws {DockerfileError} invalid
 */
export function globalArgs(
  dockerfile: Dockerfile,
  buildArgs: Readonly<Record<string, string>>,
  platforms: { readonly target: Platform; readonly builder: Platform },
  targetStage: string,
  budget?: ExpansionBudget,
): GlobalArgs {
  const values = new Map(
    platformArgs(platforms.target, platforms.builder, targetStage)
      .map(([name, value]) => [name, own(buildArgs, name) ?? value]),
  );
  const declared = new Set<string>();
  for (const instruction of dockerfile.globalArgs) {
    for (const { name, value: text } of argumentsOf(instruction)) {
      declared.add(name);
      const value = own(buildArgs, name) ??
        (text &&
          locate(
            instruction.range,
            () => expand(text, values, { escape: dockerfile.escape, budget }).text,
          )) ??
        text;
      if (value !== undefined) values.set(name, value);
    }
  }
  return { values, declared };
}

/** `ARG a b=c` */
export function argumentsOf({ words }: Instruction): { name: string; value: string | undefined }[] {
  return words.map((word) => {
    const equals = word.indexOf("=");
    return equals < 0
      ? { name: word, value: undefined }
      : { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
}

/** A record's own field: names come from strangers ("constructor"). */
export const own = <T>(record: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined;
