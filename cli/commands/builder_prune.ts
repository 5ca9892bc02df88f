import { defineCommand } from "../command.ts";
import { filter } from "../flags/filter.ts";
import { bool } from "../flags/spec.ts";
import { bytes } from "../flags/values.ts";
import { confirmed, printPruned, pruneBuildCache } from "../prune.ts";

export const command = defineCommand({
  flags: {
    "all": bool("Remove all unused build cache, not just dangling ones", { short: "a" }),
    "filter": filter(`Provide filter values (e.g. "until=24h")`),
    "force": bool("Do not prompt for confirmation", { short: "f" }),
    "keep-storage": bytes("Amount of disk space to keep for cache"),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const what = flags.all ? "all build cache" : "all dangling build cache";
    // docker asks this one question on a single line.
    if (!flags.force && !await confirmed(`WARNING! This will remove ${what}.`, " ")) return;
    printPruned([await pruneBuildCache(client, flags.all, flags.filter, flags["keep-storage"])]);
  },
});
