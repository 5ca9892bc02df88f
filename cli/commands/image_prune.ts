import { defineCommand } from "../command.ts";
import { filter } from "../flags/filter.ts";
import { bool } from "../flags/spec.ts";
import { confirmed, printPruned, pruneImages } from "../prune.ts";

export const command = defineCommand({
  flags: {
    all: bool("Remove all unused images, not just dangling ones", { short: "a" }),
    filter: filter(`Provide filter values (e.g. "until=<timestamp>")`),
    force: bool("Do not prompt for confirmation", { short: "f" }),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const what = flags.all
      ? "all images without at least one container associated to them"
      : "all dangling images";
    if (!flags.force && !await confirmed(`WARNING! This will remove ${what}.`)) return;
    printPruned([await pruneImages(client, flags.all, flags.filter)]);
  },
});
