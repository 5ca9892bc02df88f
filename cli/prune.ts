/** Removing what nobody uses: asking first, and telling what went. */
import type { ApiClient } from "./api_client.ts";
import { filterQuery, type Filters } from "./flags/filter.ts";
import { humanSize } from "./output/units.ts";
import { ApiError } from "./errors.ts";
import { print, readLine } from "./stdio.ts";
import { pruneFilters } from "./user_config.ts";

/** Asks on the terminal; only "y" is a yes. */
export async function confirmed(warning: string, separator: "" | " " | "\n" = "\n"): Promise<boolean> {
  print(`${warning}${separator}Are you sure you want to continue? [y/N] `);
  return (await readLine()).trim().toLowerCase() === "y";
}

/** With `pruneFilters` of docker's config.json, which keep for every prune what the user never wants to lose (docker/cli: PruneFilters). */
export function withUserFilters(filters: Filters): Filters {
  const merged: Record<string, Record<string, true>> = {};
  for (const [name, values] of Object.entries(filters)) merged[name] = { ...values };
  for (const [name, value] of pruneFilters()) {
    // What was asked for on the command line beats its opposite.
    const opposite = name === "label" ? "label!" : name === "label!" ? "label" : undefined;
    if (opposite !== undefined && merged[opposite]?.[value]) continue;
    merged[name] = { ...merged[name], [value]: true };
  }
  return merged;
}

export interface Pruned {
  /** Text about what went, "" when nothing did. */
  readonly text: string;
  readonly bytes: number;
}

export async function pruneContainers(client: ApiClient, filters: Filters): Promise<Pruned> {
  const answer = await client.json<{ ContainersDeleted?: string[] | null; SpaceReclaimed?: number }>(
    "POST",
    "/containers/prune",
    { query: { filters: filterQuery(withUserFilters(filters)) } },
  );
  const ids = answer.ContainersDeleted ?? [];
  return {
    text: ids.length === 0 ? "" : `Deleted Containers:\n${ids.map((id) => `${id}\n`).join("")}\n`,
    bytes: answer.SpaceReclaimed ?? 0,
  };
}

export async function pruneNetworks(client: ApiClient, filters: Filters): Promise<Pruned> {
  const answer = await client.json<{ NetworksDeleted?: string[] | null }>("POST", "/networks/prune", {
    query: { filters: filterQuery(withUserFilters(filters)) },
  });
  const names = answer.NetworksDeleted ?? [];
  return {
    text: names.length === 0 ? "" : `Deleted Networks:\n${names.map((name) => `${name}\n`).join("")}\n`,
    bytes: 0,
  };
}

/** @param all those with a name as well; engines before version 1.42 of the API always take all. */
export async function pruneVolumes(client: ApiClient, all: boolean, filters: Filters): Promise<Pruned> {
  const own = withUserFilters(filters);
  const wanted = all ? { ...own, all: { true: true as const } } : own;
  const answer = await client.json<{ VolumesDeleted?: string[] | null; SpaceReclaimed?: number }>(
    "POST",
    "/volumes/prune",
    { query: { filters: filterQuery(wanted) } },
  );
  const names = answer.VolumesDeleted ?? [];
  return {
    text: names.length === 0 ? "" : `Deleted Volumes:\n${names.map((name) => `${name}\n`).join("")}\n`,
    bytes: answer.SpaceReclaimed ?? 0,
  };
}

export async function pruneImages(client: ApiClient, all: boolean, filters: Filters): Promise<Pruned> {
  const wanted = { ...withUserFilters(filters), dangling: { [String(!all)]: true as const } };
  const answer = await client.json<
    { ImagesDeleted?: { Untagged?: string; Deleted?: string }[] | null; SpaceReclaimed?: number }
  >("POST", "/images/prune", { query: { filters: filterQuery(wanted) } });
  const lines = (answer.ImagesDeleted ?? []).map(({ Untagged, Deleted }) =>
    Untagged ? `untagged: ${Untagged}\n` : `deleted: ${Deleted}\n`
  );
  return {
    text: lines.length === 0 ? "" : `Deleted Images:\n${lines.join("")}\n`,
    bytes: answer.SpaceReclaimed ?? 0,
  };
}

/** @param keep bytes of the cache that stay. */
export async function pruneBuildCache(
  client: ApiClient,
  all: boolean,
  filters: Filters,
  keep = 0,
): Promise<Pruned> {
  const answer = await client.json<{ CachesDeleted?: string[] | null; SpaceReclaimed?: number }>(
    "POST",
    "/build/prune",
    {
      query: {
        all: all || undefined,
        filters: filterQuery(withUserFilters(filters)) ?? "",
        "keep-storage": keep === 0 ? undefined : keep,
      },
    },
  );
  const ids = answer.CachesDeleted ?? [];
  return {
    text: ids.length === 0 ? "" : `Deleted build cache objects:\n${ids.map((id) => `${id}\n`).join("")}\n`,
    bytes: answer.SpaceReclaimed ?? 0,
  };
}

/** The same, with nothing of engines that have no builder: others than Docker's may. */
export async function pruneBuildCacheIfAny(
  client: ApiClient,
  all: boolean,
  filters: Filters,
): Promise<Pruned[]> {
  try {
    return [await pruneBuildCache(client, all, filters)];
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return [];
    throw error;
  }
}

export function printPruned(results: readonly Pruned[]): void {
  const bytes = results.reduce((sum, result) => sum + result.bytes, 0);
  print(`${results.map((result) => result.text).join("")}Total reclaimed space: ${humanSize(bytes)}\n`);
}
