import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { ApiError, CliError, describeError } from "../errors.ts";
import { bool } from "../flags/spec.ts";
import { printError, printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: { force: bool("Do not error if the network does not exist", { short: "f" }) },
  usage: "NETWORK [NETWORK...]",
  count: { min: 1 },
  completes: "network",
  async run({ flags, args, client }) {
    let failed = false;
    // One after the other: a configuration can be removed when the network that was made from it is gone.
    for (const name of args) {
      try {
        await client.send("DELETE", `/networks/${segment(name, "network")}`);
        printLine(name);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (flags.force && error.status === 404) continue;
        printError(describeError(error));
        failed = true;
      }
    }
    if (failed) throw new CliError("");
  },
});
