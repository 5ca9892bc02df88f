/** What the build cache has, as clients are told of it, and what goes first when there is too much. */
import { invalid } from "../../base/errors.ts";
import { parseFilterTime } from "../human_time.ts";
import type { StoreInternals } from "../../image/store_internals.ts";
import type { BuildCache } from "./cache.ts";
import type { CacheMounts } from "./cache_mounts.ts";
import type { KeptContexts } from "./kept_contexts.ts";
import type { CacheRecord, PruneOptions } from "./types.ts";

/** As many characters as BuildKit's ids have. */
const ID_LENGTH = 25;

/** A record, and how to remove it. */
interface Entry {
  readonly record: CacheRecord;
  /** Layers below; those with more go first. */
  readonly depth: number;
  /** Names the layer, which several records may have. */
  readonly layer: string;
  readonly remove: () => void;
}

export class CacheUsage {
  readonly #store: Pick<StoreInternals, "tables" | "layers" | "content">;
  readonly #cache: BuildCache;
  readonly #mounts: CacheMounts;
  readonly #contexts: KeptContexts;

  constructor(
    store: Pick<StoreInternals, "tables" | "layers" | "content">,
    cache: BuildCache,
    mounts: CacheMounts,
    contexts: KeptContexts,
  ) {
    this.#store = store;
    this.#cache = cache;
    this.#mounts = mounts;
    this.#contexts = contexts;
  }

  records(): CacheRecord[] {
    return this.#entries().map(({ record }) => record);
  }

  #entries(): Entry[] {
    const { tables } = this.#store;
    const steps = this.#cache.steps();
    const makers = new Map<string, string>();
    for (const { id, chainId, parent } of steps) if (chainId !== parent) makers.set(chainId, shortId(id));
    const depths = new Map<string, number>([["", 0]]);
    const depthOf = (chainId: string): number => {
      const path: string[] = [];
      let at = chainId;
      for (; !depths.has(at); at = tables.layer(at)?.parent ?? "") path.push(at);
      let depth = depths.get(at) ?? 0;
      for (const above of path.reverse()) depths.set(above, ++depth);
      return depth;
    };
    const entries = steps.map((step): Entry => {
      const { id, chainId, parent } = step;
      const isChanged = chainId !== parent;
      const maker = makers.get(parent);
      return {
        record: {
          id: shortId(id),
          parents: maker === undefined ? [] : [maker],
          type: step.type,
          description: step.description,
          inUse: this.#cache.inUse(id),
          shared: isChanged && tables.inImage(chainId),
          size: isChanged ? tables.layer(chainId)?.size ?? 0 : 0,
          createdAt: step.createdAt,
          lastUsedAt: step.usedAt,
          usageCount: step.uses,
        },
        depth: depthOf(chainId),
        layer: isChanged ? chainId : "",
        remove: () => this.#cache.remove([id]),
      };
    });
    const mounts = this.#cache.mounts().map((mount): Entry => ({
      record: {
        id: shortId(mount.id),
        parents: [],
        type: "exec.cachemount",
        description: mount.description,
        inUse: this.#mounts.inUse(mount.id),
        shared: false,
        size: mount.size,
        createdAt: mount.createdAt,
        lastUsedAt: mount.usedAt,
        usageCount: mount.uses,
      },
      depth: 0,
      layer: `mount ${mount.id}`,
      remove: () => this.#mounts.remove(mount.id),
    }));
    const contexts = this.#contexts.records().map((record): Entry => ({
      record: { ...record, id: shortId(record.id) },
      depth: 0,
      layer: `context ${record.id}`,
      remove: () => this.#contexts.remove(record.id),
    }));
    return [...entries, ...mounts, ...contexts];
  }

  /**
   * Removes records, those that were used longest ago first, until what is left is no more than `keepStorage`. What a build under way
   * relies on stays; so does what images have as well, unless `all` says otherwise.
   *
   * @returns ids, and bytes that are free by it.
   * @throws {EngineError} invalid: a filter that is not known.
   */
  async prune(
    { all, keepStorage, filters }: PruneOptions,
    signal: AbortSignal,
  ): Promise<{ ids: string[]; space: number }> {
    const isWanted = selector(filters);
    const entries = this.#entries();
    const users = new Map<string, number>();
    let total = 0;
    for (const { record, layer } of entries) {
      if (layer === "" || record.shared) continue;
      if (!users.has(layer)) total += record.size;
      users.set(layer, (users.get(layer) ?? 0) + 1);
    }
    const before = this.#bytes();
    const doomed = entries.filter(({ record }) =>
      !record.inUse && (all || !record.shared) && isWanted(record)
    )
      .sort((a, b) =>
        (a.record.lastUsedAt ?? "").localeCompare(b.record.lastUsedAt ?? "") || b.depth - a.depth
      );
    const ids: string[] = [];
    for (const { record, layer, remove } of doomed) {
      if (signal.aborted || (keepStorage > 0 && total <= keepStorage)) break;
      remove();
      ids.push(record.id);
      const left = (users.get(layer) ?? 1) - 1;
      users.set(layer, left);
      if (left === 0) total -= record.size;
    }
    this.#store.layers.collect();
    this.#store.content.collect();
    await this.#store.layers.collected();
    await this.#store.content.collected();
    return { ids, space: Math.max(0, before - this.#bytes()) };
  }

  /** Of all layers, cache mounts and contexts. */
  #bytes(): number {
    const mounts = this.#cache.mounts().reduce((sum, { size }) => sum + size, 0);
    return this.#store.tables.layersSize() + mounts + this.#contexts.size();
  }
}

const shortId = (id: string): string => id.slice(0, ID_LENGTH);

/** Docker's filters of a build prune (moby: builder/builder-next, toBuildkitPruneInfo). */
function selector(filters: PruneOptions["filters"]): (record: CacheRecord) => boolean {
  const tests: ((record: CacheRecord) => boolean)[] = [];
  for (const [name, values] of Object.entries(filters)) {
    const any = (fits: (record: CacheRecord, value: string) => boolean) =>
      tests.push((record) => values.length === 0 || values.some((value) => fits(record, value)));
    switch (name) {
      case "until":
      case "unused-for": {
        if (values.length > 1) throw invalid(`${JSON.stringify(name)} filter expects only one value`);
        const [value] = values;
        if (value === undefined) break;
        const time = parseFilterTime(value, Date.now());
        tests.push(({ lastUsedAt, createdAt }) => Date.parse(lastUsedAt ?? createdAt) < time);
        break;
      }
      case "id":
        any(({ id }, value) => id.startsWith(value));
        break;
      case "parents":
      case "parent":
        any(({ parents }, value) => parents.includes(value));
        break;
      case "type":
        any(({ type }, value) => type === value);
        break;
      case "description":
        any(({ description }, value) => description.includes(value));
        break;
      case "inuse":
      case "in-use":
        any(({ inUse }, value) => inUse === isTrue(value));
        break;
      case "shared":
        any(({ shared }, value) => shared === isTrue(value));
        break;
      case "private":
        any(({ shared }, value) => shared !== isTrue(value));
        break;
      default:
        throw invalid(`invalid filter '${name}'`);
    }
  }
  return (record) => tests.every((test) => test(record));
}

const isTrue = (value: string): boolean => !/^(0|f|false)$/i.test(value);
