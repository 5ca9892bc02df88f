import { completionScript, SHELLS } from "../completion/script.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { print } from "../stdio.ts";

export const command = defineCommand({
  flags: {},
  usage: "SHELL",
  count: { min: 1, max: 1 },
  async run({ args: [shell = ""] }) {
    const known = SHELLS.find((name) => name === shell);
    if (known === undefined) {
      throw new CliError(`unknown shell ${JSON.stringify(shell)}: must be one of "${SHELLS.join('", "')}"`);
    }
    print(await completionScript(known));
  },
});
