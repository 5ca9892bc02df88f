import { defineCommand } from "../command.ts";
import { ContextStore, DEFAULT_CONTEXT } from "../context/store.ts";
import { CliError } from "../errors.ts";
import { bool } from "../flags/spec.ts";
import { ConfigFile } from "../registry/config_file.ts";
import { printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: { force: bool("Force the removal of a context in use", { short: "f" }) },
  usage: "CONTEXT [CONTEXT...]",
  count: { min: 1 },
  completes: "context",
  run({ flags, args, session }) {
    const store = new ContextStore();
    const current = session.context;
    const failures: string[] = [];
    for (const name of args) {
      const quoted = JSON.stringify(name);
      if (name === DEFAULT_CONTEXT) failures.push(`context ${quoted} cannot be removed`);
      else if (!flags.force && !store.has(name)) failures.push(`context ${quoted} does not exist`);
      else if (!flags.force && name === current) {
        failures.push(`context ${quoted} is in use, set -f flag to force remove`);
      } else {
        if (name === current) ConfigFile.load().useContext(undefined);
        store.remove(name);
        printLine(name);
      }
    }
    if (failures.length > 0) throw new CliError(failures.join("\n"));
    return Promise.resolve();
  },
});
