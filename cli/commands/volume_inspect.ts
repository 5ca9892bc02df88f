import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { text } from "../flags/spec.ts";
import { printObjects } from "../inspect.ts";
import { FORMAT_HELP } from "../output/help_texts.ts";

export const command = defineCommand({
  flags: { format: text(FORMAT_HELP, { short: "f" }) },
  usage: "VOLUME [VOLUME...]",
  count: { min: 1 },
  completes: "volume",
  async run({ flags, args, client }) {
    await printObjects(
      args,
      flags.format,
      (name) => client.json<unknown>("GET", `/volumes/${segment(name, "volume")}`),
    );
  },
});
