import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { fetchObject, findObject, KINDS, printObjects } from "../inspect.ts";
import { FORMAT_HELP } from "../output/help_texts.ts";

const KIND_NAMES = Object.keys(KINDS).sort().map((kind) => JSON.stringify(kind)).join(", ");

export const command = defineCommand({
  flags: {
    format: text(FORMAT_HELP, { short: "f" }),
    size: bool("Display total file sizes if the type is container", { short: "s" }),
    type: text("Only inspect objects of the given type", { completes: Object.keys(KINDS) }),
  },
  usage: "NAME|ID [NAME|ID...]",
  count: { min: 1 },
  completes: "container",
  async run({ flags, changed, args, client }) {
    if (changed.has("type") && !Object.hasOwn(KINDS, flags.type)) {
      throw new CliError(
        flags.type === ""
          ? `type is empty: must be one of ${KIND_NAMES}`
          : `unknown type: ${JSON.stringify(flags.type)}: must be one of ${KIND_NAMES}`,
      );
    }
    await printObjects(
      args,
      flags.format,
      (name) =>
        flags.type === ""
          ? findObject(client, name, flags.size)
          : fetchObject(client, flags.type, name, flags.size),
    );
  },
});
