import { defineCommand } from "../command.ts";
import { label } from "../flags/checks.ts";
import { CliError } from "../errors.ts";
import { pairs } from "../flags/pairs.ts";
import { list, map, text } from "../flags/spec.ts";
import { printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    "driver": text("Specify volume driver name", { short: "d", default: "local", completes: ["local"] }),
    "label": list("Set metadata for a volume", { check: label }),
    // How the name was given before it became an argument.
    "name": text("Specify volume name", { hidden: true }),
    "opt": map("Set driver specific options", { short: "o" }),
  },
  usage: "[VOLUME]",
  count: { min: 0, max: 1 },
  async run({ flags, args: [argument], client }) {
    if (argument !== undefined && flags.name !== "") {
      throw new CliError(
        "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
      );
    }
    const name = argument ?? flags.name;
    const volume = await client.json<{ Name: string }>("POST", "/volumes/create", {
      json: {
        Name: name || undefined,
        Driver: flags.driver,
        DriverOpts: unlessEmpty(flags.opt),
        Labels: unlessEmpty(pairs(flags.label)),
      },
    });
    printLine(volume.Name);
  },
});

const unlessEmpty = (values: Readonly<Record<string, string>>) =>
  Object.keys(values).length === 0 ? undefined : values;
