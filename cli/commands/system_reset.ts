import { segment } from "../api_client.ts";
import type { ContainerSummary } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { ApiError, CliError } from "../errors.ts";
import { bool } from "../flags/spec.ts";
import {
  confirmed,
  printPruned,
  pruneBuildCacheIfAny,
  pruneImages,
  pruneNetworks,
  pruneVolumes,
} from "../prune.ts";
import { forEach } from "./each.ts";

const WARNING = "WARNING! This will remove:\n" +
  [
    "all containers, running ones too",
    "all images",
    "all volumes, named ones too",
    "all networks",
    "all build cache",
  ]
    .map((line) => `  - ${line}\n`).join("");

export const command = defineCommand({
  flags: { force: bool("Do not prompt for confirmation", { short: "f" }) },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client, session }) {
    const whose = session.endpoint.isDefault ? "" : `of the engine at ${session.endpoint.url}\n`;
    if (!flags.force && !await confirmed(`${WARNING}${whose}`, "")) return;
    const containers = await client.json<ContainerSummary[] | null>("GET", "/containers/json", {
      query: { all: true },
    });
    let failure: unknown;
    try {
      await forEach((containers ?? []).map(({ Id }) => Id), async (id) => {
        try {
          await client.send("DELETE", `/containers/${segment(id)}`, { query: { v: true, force: true } });
        } catch (error) {
          // Gone meanwhile, as one with --rm may be.
          if (!(error instanceof ApiError) || error.status !== 404) throw error;
        }
        return undefined;
      });
    } catch (error) {
      // What is not held by a container that stays can go all the same.
      failure = error;
    }
    printPruned([
      await pruneNetworks(client, {}),
      await pruneVolumes(client, true, {}),
      await pruneImages(client, true, {}),
      ...await pruneBuildCacheIfAny(client, true, {}),
    ]);
    if (failure !== undefined) throw failure instanceof CliError ? failure : new CliError(String(failure));
  },
});
