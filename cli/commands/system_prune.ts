import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { filter, type Filters } from "../flags/filter.ts";
import { bool } from "../flags/spec.ts";
import { compareNaturally } from "../output/natural_order.ts";
import {
  confirmed,
  printPruned,
  pruneBuildCacheIfAny,
  pruneContainers,
  pruneImages,
  pruneNetworks,
  pruneVolumes,
  withUserFilters,
} from "../prune.ts";

export const command = defineCommand({
  flags: {
    all: bool("Remove all unused images not just dangling ones", { short: "a" }),
    filter: filter(`Provide filter values (e.g. "label=<key>=<value>")`),
    force: bool("Do not prompt for confirmation", { short: "f" }),
    volumes: bool("Prune anonymous volumes"),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    if (flags.volumes && "until" in flags.filter) {
      throw new CliError(`ERROR: The "until" filter is not supported with "--volumes"`);
    }
    const what = [
      "all stopped containers",
      "all networks not used by at least one container",
      ...(flags.volumes ? ["all anonymous volumes not used by at least one container"] : []),
      flags.all ? "all images without at least one container associated to them" : "all dangling images",
      flags.all ? "all build cache" : "unused build cache",
    ];
    const filters = filterLines(withUserFilters(flags.filter));
    const warning = `WARNING! This will remove:\n${list(what)}` +
      (filters.length === 0 ? "" : `\n  Items to be pruned will be filtered with:\n${list(filters)}`);
    if (!flags.force && !await confirmed(warning)) return;
    const containers = await pruneContainers(client, flags.filter);
    const networks = await pruneNetworks(client, flags.filter);
    const volumes = flags.volumes ? [await pruneVolumes(client, false, flags.filter)] : [];
    const images = await pruneImages(client, flags.all, flags.filter);
    const cache = await pruneBuildCacheIfAny(client, flags.all, flags.filter);
    printPruned([containers, networks, ...volumes, images, ...cache]);
  },
});

const list = (lines: readonly string[]): string => lines.map((line) => `  - ${line}\n`).join("");

/** Those that the warning tells of, as docker's does. */
function filterLines(filters: Filters): string[] {
  return ["label", "label!", "until"]
    .flatMap((name) => Object.keys(filters[name] ?? {}).map((value) => `${name}=${value}`))
    .sort(compareNaturally);
}
