import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { bool, text } from "../flags/spec.ts";
import { printObjects } from "../inspect.ts";
import { FORMAT_HELP } from "../output/help_texts.ts";

export const command = defineCommand({
  flags: {
    format: text(FORMAT_HELP, { short: "f" }),
    verbose: bool("Verbose output for diagnostics", { short: "v" }),
  },
  usage: "NETWORK [NETWORK...]",
  count: { min: 1 },
  completes: "network",
  async run({ flags, args, client }) {
    const query = { verbose: flags.verbose ? "true" : undefined };
    await printObjects(
      args,
      flags.format,
      (name) => client.json<unknown>("GET", `/networks/${segment(name, "network")}`, { query }),
    );
  },
});
