import { bashScript } from "./bash.ts";
import type { CompletionTables } from "./tables.ts";

/** The same function for zsh, through its emulation of bash's completion. */
export function zshScript(tables: CompletionTables): string {
  return `#compdef berth
autoload -U +X bashcompinit && bashcompinit
${bashScript(tables)}# compinit loads this file at the first Tab, which is to complete already.
[[ $funcstack[1] == _berth ]] && _bash_complete -F _berth
`;
}
