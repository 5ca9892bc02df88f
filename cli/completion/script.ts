/** Completion scripts, made from the tables of commands and flags. */

import { COMMANDS, GROUPS } from "../command_table.ts";
import { GLOBAL_FLAGS } from "../global_flags.ts";
import { bashScript } from "./bash.ts";
import { fishScript } from "./fish.ts";
import { zshScript } from "./zsh.ts";

export const SHELLS = ["bash", "fish", "zsh"] as const;

/** Loads every command; only `berth completion` does. */
export async function completionScript(shell: (typeof SHELLS)[number]): Promise<string> {
  const commands = await Promise.all(
    COMMANDS.filter(({ hidden }) => hidden !== true).map(async (entry) => {
      const { flags, completes } = await entry.load();
      return entry.spellings.map((path) => ({ path, summary: entry.summary, flags, completes }));
    }),
  );
  const tables = {
    commands: commands.flat().sort((a, b) => a.path < b.path ? -1 : 1),
    groups: GROUPS,
    globals: GLOBAL_FLAGS,
  };
  return { bash: bashScript, fish: fishScript, zsh: zshScript }[shell](tables);
}
