import { defineCommand } from "../command.ts";
import { filter } from "../flags/filter.ts";
import { bool } from "../flags/spec.ts";
import { confirmed, printPruned, pruneContainers } from "../prune.ts";

export const command = defineCommand({
  flags: {
    filter: filter(`Provide filter values (e.g. "until=<timestamp>")`),
    force: bool("Do not prompt for confirmation", { short: "f" }),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const warning = "WARNING! This will remove all stopped containers.";
    if (!flags.force && !await confirmed(warning)) return;
    printPruned([await pruneContainers(client, flags.filter)]);
  },
});
