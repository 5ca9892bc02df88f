import { defineCommand } from "../command.ts";
import { checkContextName, ContextStore, DEFAULT_CONTEXT } from "../context/store.ts";
import { ConfigFile } from "../registry/config_file.ts";
import { printError, printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {},
  usage: "CONTEXT",
  count: { min: 1, max: 1 },
  completes: "context",
  run({ args: [name = ""] }) {
    if (name !== DEFAULT_CONTEXT) {
      checkContextName(name);
      new ContextStore().find(name);
    }
    ConfigFile.load().useContext(name === DEFAULT_CONTEXT ? undefined : name);
    printLine(name);
    printError(`Current context is now ${JSON.stringify(name)}`);
    if (name !== DEFAULT_CONTEXT && Deno.env.get("DOCKER_HOST")) {
      printError(
        `Warning: DOCKER_HOST environment variable overrides the active context. To use ${
          JSON.stringify(name)
        }, either set the global --context flag, or unset DOCKER_HOST environment variable.`,
      );
    }
    return Promise.resolve();
  },
});
