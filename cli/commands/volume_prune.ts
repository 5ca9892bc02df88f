import { defineCommand } from "../command.ts";
import { filter } from "../flags/filter.ts";
import { bool } from "../flags/spec.ts";
import { confirmed, printPruned, pruneVolumes } from "../prune.ts";

export const command = defineCommand({
  flags: {
    all: bool("Remove all unused volumes, not just anonymous ones", { short: "a" }),
    filter: filter(`Provide filter values (e.g. "label=<label>")`),
    force: bool("Do not prompt for confirmation", { short: "f" }),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const which = flags.all ? "all local" : "anonymous local";
    const warning = `WARNING! This will remove ${which} volumes not used by at least one container.`;
    if (!flags.force && !await confirmed(warning)) return;
    printPruned([await pruneVolumes(client, flags.all, flags.filter)]);
  },
});
