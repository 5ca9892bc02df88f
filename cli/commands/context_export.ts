import { goErrno } from "../../base/go_errno.ts";
import { defineCommand } from "../command.ts";
import { packContext } from "../context/archive.ts";
import { contentOf } from "../context/source.ts";
import { checkContextName, ContextStore, DEFAULT_CONTEXT } from "../context/store.ts";
import { CliError } from "../errors.ts";
import { printError, writeStream } from "../stdio.ts";

export const command = defineCommand({
  flags: {},
  usage: "[OPTIONS] CONTEXT [FILE|-]",
  count: { min: 1, max: 2 },
  completes: "context",
  async run({ args: [name = "", file = `${name}.dockercontext`], session }) {
    if (name !== DEFAULT_CONTEXT) checkContextName(name);
    const archive = packContext(contentOf(new ContextStore(), session, name));
    if (file === "-") {
      if (Deno.stdout.isTerminal()) {
        throw new CliError("cowardly refusing to export to a terminal, specify a file path");
      }
      return await writeStream(Deno.stdout, archive);
    }
    try {
      Deno.writeFileSync(file, archive, { createNew: true, mode: 0o600 });
    } catch (error) {
      throw new CliError(`open ${file}: ${goErrno(error)}`);
    }
    printError(`Written file ${JSON.stringify(file)}`);
  },
});
