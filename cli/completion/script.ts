/** Completion scripts, made from the tables of commands and flags. */

import { COMMANDS, GROUPS } from "../command_table.ts";
import type { FlagTable } from "../flags/spec.ts";
import { GLOBAL_FLAGS } from "../global_flags.ts";
import { bashScript } from "./bash.ts";
import { fishScript } from "./fish.ts";
import { zshScript } from "./zsh.ts";

export const SHELLS = ["bash", "fish", "zsh"] as const;

/** A command in every spelling, with what can follow it. */
export interface CompletedCommand {
  /** For example "run" or "container run". */
  readonly path: string;
  readonly summary: string;
  readonly flags: FlagTable;
  readonly completes: "container" | "image" | "file" | undefined;
}

export interface CompletionTables {
  readonly commands: readonly CompletedCommand[];
  readonly groups: Readonly<Record<string, string>>;
  readonly globals: FlagTable;
}

/** Loads every command; only `berth completion` does. */
export async function completionScript(shell: (typeof SHELLS)[number]): Promise<string> {
  const commands = await Promise.all(COMMANDS.map(async (entry) => {
    const { flags, completes } = await entry.load();
    return entry.spellings.map((path) => ({ path, summary: entry.summary, flags, completes }));
  }));
  const tables = {
    commands: commands.flat().sort((a, b) => a.path < b.path ? -1 : 1),
    groups: GROUPS,
    globals: GLOBAL_FLAGS,
  };
  return { bash: bashScript, fish: fishScript, zsh: zshScript }[shell](tables);
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
} as const;
