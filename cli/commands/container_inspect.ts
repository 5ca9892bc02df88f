import { defineCommand } from "../command.ts";
import { bool, text } from "../flags/spec.ts";
import { fetchObject, printObjects } from "../inspect.ts";
import { FORMAT_HELP } from "../output/help_texts.ts";

export const command = defineCommand({
  flags: {
    format: text(FORMAT_HELP, { short: "f" }),
    size: bool("Display total file sizes", { short: "s" }),
  },
  usage: "CONTAINER [CONTAINER...]",
  count: { min: 1 },
  completes: "container",
  async run({ flags, args, client }) {
    await printObjects(args, flags.format, (name) => fetchObject(client, "container", name, flags.size));
  },
});
