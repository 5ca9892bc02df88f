import { bashScript } from "./bash.ts";
import type { CompletionTables } from "./tables.ts";

/** The same function for zsh, through its emulation of bash's completion. */
export function zshScript(tables: CompletionTables): string {
  return `#compdef berth
autoload -U +X bashcompinit && bashcompinit
${bashScript(tables)}`;
}
