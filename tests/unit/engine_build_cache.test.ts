import { DatabaseSync } from "node:sqlite";
import { beforeEach, describe, expect, it } from "vitest";
import { BuildCache, keyOf } from "../../engine/build/cache.ts";
import type { CacheMounts } from "../../engine/build/cache_mounts.ts";
import { CacheUsage } from "../../engine/build/cache_usage.ts";
import { KeptContexts } from "../../engine/build/kept_contexts.ts";
import type { ContentStore } from "../../image/content_store.ts";
import { ImageTables } from "../../image/image_tables.ts";
import type { LayerRecord, LayerStore } from "../../image/layer_store.ts";

const digest = (name: string) => `sha256:${keyOf(name)}`;
const MB = 1_000_000;

describe("BuildCache", () => {
  let db: DatabaseSync;
  let tables: ImageTables;
  let cache: BuildCache;
  let usage: CacheUsage;
  let contexts: KeptContexts;
  /** Directories of contexts that have gone. */
  const removed: string[] = [];
  /** Layers that are in their place. */
  const present = new Map<string, LayerRecord>();

  beforeEach(() => {
    present.clear();
    db = new DatabaseSync(":memory:");
    tables = new ImageTables(db);
    const layers = {
      known: (id: string) => present.get(id),
      record: (records: readonly LayerRecord[]) => records.forEach((one) => tables.insertLayer(one)),
      collect: () => {
        for (const id of tables.unusedLayers()) tables.deleteLayer(id);
        return [];
      },
      collected: () => Promise.resolve(),
    } as unknown as LayerStore;
    cache = new BuildCache(db, tables, layers);
    const mounts = { inUse: () => false, remove: () => {} } as unknown as CacheMounts;
    const content = { collect: () => {}, collected: () => Promise.resolve() } as unknown as ContentStore;
    contexts = new KeptContexts({
      newDirectory: () => ({ path: "/context", dispose: () => removed.push("/context") }),
      unpack: () => Promise.resolve([{ path: "/a", content: "file 644 7 x", size: 7 }]),
    });
    usage = new CacheUsage({ tables, layers, content }, cache, mounts, contexts);
  });

  /** A step that has made a layer on top of another one. */
  function step(name: string, parent: string, usedAt: string, size = MB): string {
    const chainId = digest(name);
    present.set(chainId, { chainId, diffId: digest(`diff ${name}`), parent, size, notes: "{}" });
    const description = `[${name}]`;
    cache.put({ id: keyOf(name), chainId, parent, type: "regular", description, createdAt: usedAt, usedAt });
    return chainId;
  }
  const start = Date.now();
  const time = (hours: number) => new Date(start - hours * 3_600_000).toISOString();
  const prune = (options: Partial<Parameters<CacheUsage["prune"]>[0]>) =>
    usage.prune({ all: false, keepStorage: 0, filters: {}, ...options }, new AbortController().signal);
  const left = () => cache.steps().map(({ description }) => description);

  it("finds what was put, and counts uses", () => {
    const chainId = step("a", "", time(2));
    const now = time(0);
    expect(cache.find(keyOf("a"), now)).toMatchObject({ chainId, parent: "", uses: 1 });
    expect(cache.find(keyOf("a"), now)).toMatchObject({ usedAt: now, uses: 2 });
    expect(cache.find(keyOf("b"), now)).toBeUndefined();
  });

  it("keeps layers and those below from the collector, until they are forgotten", () => {
    const below = digest("base");
    tables.insertLayer({ chainId: below, diffId: below, parent: "", size: 1, notes: "{}" });
    const chainId = step("a", below, time(1));
    expect(tables.unusedLayers()).toEqual([]);
    cache.remove([keyOf("a")]);
    expect(tables.unusedLayers().sort()).toEqual([below, chainId].sort());
  });

  it("does not find a result whose layer is gone, and forgets it", () => {
    const chainId = step("a", "", time(1));
    present.delete(chainId);
    expect(cache.find(keyOf("a"), time(0))).toBeUndefined();
    expect(left()).toEqual([]);
  });

  it("keeps a layer for as long as one of several results has it", () => {
    const chainId = step("a", "", time(1));
    cache.put({
      id: keyOf("b"),
      chainId,
      parent: "",
      type: "regular",
      description: "[b]",
      createdAt: time(1),
      usedAt: time(1),
    });
    cache.remove([keyOf("a")]);
    expect(tables.unusedLayers()).toEqual([]);
    cache.remove([keyOf("b")]);
    expect(tables.unusedLayers()).toEqual([chainId]);
  });

  it("prunes what was used longest ago, children before parents, until little enough is left", async () => {
    const a = step("a", "", time(3));
    step("b", a, time(3));
    step("c", "", time(1));
    expect(cache.size()).toBe(3 * MB);
    expect(await prune({ keepStorage: 2 * MB })).toMatchObject({ space: MB });
    expect(left()).toEqual(["[a]", "[c]"]);
    expect((await prune({ keepStorage: 1.5 * MB })).ids).toHaveLength(1);
    expect(left()).toEqual(["[c]"]);
    await prune({});
    expect(left()).toEqual([]);
  });

  it("leaves what is in use, and what images have unless all is said", async () => {
    const shared = step("shared", "", time(1));
    step("used", "", time(1));
    using _hold = cache.hold(keyOf("used"));
    tables.insertImage({ id: digest("image"), config: "{}", parent: "", host_dirs: "[]" }, [shared]);
    const flags = Object.fromEntries(
      usage.records().map(({ description, shared, inUse }) => [description, { shared, inUse }]),
    );
    expect(flags).toEqual({
      "[shared]": { shared: true, inUse: false },
      "[used]": { shared: false, inUse: true },
    });
    await prune({});
    expect(left().sort()).toEqual(["[shared]", "[used]"]);
    expect(await prune({ all: true })).toMatchObject({ space: 0 });
    expect(left()).toEqual(["[used]"]);
  });

  it("tells of contexts that are kept, and removes their files when no build reads them any more", async () => {
    const { signal } = new AbortController();
    const open = () => contexts.open("host:/src", [{ path: "a", state: "1" }]);
    const update = open();
    expect(update.wanted).toEqual([0]);
    expect(usage.records()).toEqual([]);
    await update.receive(new ReadableStream(), signal);
    expect(usage.records()).toMatchObject([
      { type: "source.local", description: "local source for context host:/src", size: 7, inUse: true },
    ]);
    await prune({ all: true });
    expect(usage.records()).toHaveLength(1);
    update[Symbol.dispose]();
    const again = open();
    expect(again.wanted).toEqual([]);
    again[Symbol.dispose]();
    expect(await prune({ filters: { type: ["regular"] } })).toEqual({ ids: [], space: 0 });
    expect(removed).toEqual([]);
    expect(await prune({ filters: { type: ["source.local"] } })).toMatchObject({ space: 7 });
    expect(removed).toEqual(["/context"]);
    expect(open().wanted).toEqual([0]);
  });

  it("prunes by filters", async () => {
    step("old", "", time(50));
    step("new", "", time(1));
    await expect(prune({ filters: { nonsense: ["x"] } })).rejects.toThrow("invalid filter 'nonsense'");
    await prune({ filters: { until: ["24h"] } });
    expect(left()).toEqual(["[new]"]);
    await prune({ filters: { type: ["source.local"] } });
    expect(left()).toEqual(["[new]"]);
    await prune({ filters: { id: [keyOf("new").slice(0, 25)] } });
    expect(left()).toEqual([]);
  });
});
