import { DatabaseSync } from "node:sqlite";
import { beforeEach, describe, expect, it } from "vitest";
import { ImageTables } from "../../image/image_tables.ts";
import { LayerDurability } from "../../image/layer_durability.ts";

const LAYER = "sha256:1", OTHER = "sha256:2";

describe("LayerDurability", () => {
  let tables: ImageTables;
  let synced: PromiseWithResolvers<void>[];
  const logged: string[] = [];

  beforeEach(() => {
    tables = new ImageTables(new DatabaseSync(":memory:"));
    synced = [];
    logged.length = 0;
  });

  const open = (bootId: string) =>
    new LayerDurability({
      root: "/",
      tables,
      bootId,
      log: (line) => logged.push(line),
      sync: () => {
        const one = Promise.withResolvers<void>();
        synced.push(one);
        return one.promise;
      },
    });
  function record(durability: LayerDurability, chainId: string): void {
    tables.insertLayer({ chainId, diffId: chainId, parent: "", size: 1, notes: "{}" });
    durability.recorded(chainId);
  }
  const marked = () => tables.markedLayers().map(({ chainId }) => chainId);

  it("marks a layer until the disk has it", async () => {
    using durability = open("first");
    durability.made(LAYER);
    record(durability, LAYER);
    expect(tables.markedLayers()).toEqual([{ chainId: LAYER, boot: "first" }]);
    const settled = durability.settle();
    // it came while the disk was busy with what was there before
    durability.made(OTHER);
    record(durability, OTHER);
    synced[0]?.resolve();
    await settled;
    expect(marked()).toEqual([OTHER]);
  });

  it("does not mark a layer that was on the disk before it got its row, or has had one for long", async () => {
    using durability = open("first");
    durability.made(LAYER);
    const settled = durability.settle();
    synced[0]?.resolve();
    await settled;
    record(durability, LAYER);
    record(durability, OTHER);
    expect(marked()).toEqual([]);
  });

  it("names what another boot has left marked, once", () => {
    {
      using before = open("first");
      before.made(LAYER);
      record(before, LAYER);
    }
    using after = open("second");
    expect(after.lost()).toEqual([LAYER]);
    expect(after.lost()).toEqual([]);
    expect(marked()).toEqual([]);
  });

  it("goes on with what an engine that was killed has left marked in the same boot", async () => {
    {
      using killed = open("first");
      killed.made(LAYER);
      record(killed, LAYER);
    }
    using next = open("first");
    expect(next.lost()).toEqual([]);
    expect(marked()).toEqual([LAYER]);
    const settled = next.settle();
    synced[0]?.resolve();
    await settled;
    expect(marked()).toEqual([]);
  });

  it("keeps the mark when the disk refuses", async () => {
    using durability = open("first");
    durability.made(LAYER);
    record(durability, LAYER);
    const settled = durability.settle();
    synced[0]?.reject(new Error("syncfs: no"));
    await settled;
    expect([marked(), logged]).toEqual([[LAYER], ["layers may not be on the disk yet: syncfs: no"]]);
  });

  it("forgets the mark with the layer", () => {
    using durability = open("first");
    durability.made(LAYER);
    record(durability, LAYER);
    tables.deleteLayer(LAYER);
    expect(marked()).toEqual([]);
  });
});
