/** What the scripts of all shells are made from. */

import type { Completion } from "../command.ts";
import type { FlagTable } from "../flags/spec.ts";

/** A command in every spelling, with what can follow it. */
export interface CompletedCommand {
  /** For example "run" or "container run". */
  readonly path: string;
  readonly summary: string;
  readonly flags: FlagTable;
  readonly completes: Completion | undefined;
}

export interface CompletionTables {
  readonly commands: readonly CompletedCommand[];
  readonly groups: Readonly<Record<string, string>>;
  readonly globals: FlagTable;
}

/** Names of flags as words: "--name" and "-n", hidden ones left out. */
export function flagWords(flags: FlagTable): string[] {
  return Object.entries(flags).filter(([, flag]) => !flag.hidden).flatMap(([name, flag]) =>
    flag.short === undefined ? [`--${name}`] : [`--${name}`, `-${flag.short}`]
  ).concat("help" in flags ? [] : ["--help"]);
}

/** Commands that list what can be completed. */
export const LISTS = {
  container: "berth ps --all --format '{{.Names}}' 2>/dev/null",
  image: "berth images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null",
  network: "berth network ls --format '{{.Name}}' 2>/dev/null",
  volume: "berth volume ls --quiet 2>/dev/null",
  context: "berth context ls --quiet 2>/dev/null",
  endpoint:
    "berth network ls --format '{{.Name}}' 2>/dev/null; berth ps --all --format '{{.Names}}' 2>/dev/null",
} as const;
