import { defineCommand } from "../command.ts";
import { filter } from "../flags/filter.ts";
import { bool } from "../flags/spec.ts";
import { confirmed, pruneNetworks } from "../prune.ts";
import { print } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    filter: filter(`Provide filter values (e.g. "until=<timestamp>")`),
    force: bool("Do not prompt for confirmation", { short: "f" }),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const warning = "WARNING! This will remove all custom networks not used by at least one container.";
    if (!flags.force && !await confirmed(warning)) return;
    print((await pruneNetworks(client, flags.filter)).text);
  },
});
