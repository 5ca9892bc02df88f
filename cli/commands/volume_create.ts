import { defineCommand } from "../command.ts";
import { label } from "../flags/checks.ts";
import { pairs } from "../flags/pairs.ts";
import { list, map, text } from "../flags/spec.ts";
import { printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    "driver": text("Specify volume driver name", { short: "d", default: "local", completes: ["local"] }),
    "label": list("Set metadata for a volume", { check: label }),
    "opt": map("Set driver specific options", { short: "o" }),
  },
  usage: "[VOLUME]",
  count: { min: 0, max: 1 },
  async run({ flags, args: [name = ""], client }) {
    const volume = await client.json<{ Name: string }>("POST", "/volumes/create", {
      json: { Name: name, Driver: flags.driver, DriverOpts: flags.opt, Labels: pairs(flags.label) },
    });
    printLine(volume.Name);
  },
});
