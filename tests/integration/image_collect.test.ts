/** Garbage collection beside everything else: many files, requests that go on, and leases. */
import { DatabaseSync } from "node:sqlite";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { OverlayDriver } from "../../fs/overlay.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { UnpackPool } from "../../fs/unpack.ts";
import { ImageStore } from "../../image/image_store.ts";
import { ImagePuller } from "../../image/pull.ts";
import { parseReference } from "../../base/reference.ts";
import { DEFAULT_REGISTRY_SETTINGS } from "../../image/registry/settings.ts";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { FakeRegistry } from "../support/fake_registry.ts";
import { buildImage, dockerArchive, file, streamOf } from "../support/image_archive.ts";
import { BUSYBOX, describeWith, ROOT } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { testDir, usersToTest } from "../support/users.ts";

const namesIn = (path: string): string[] => {
  try {
    return [...Deno.readDirSync(path)].map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
};

describeWith(ROOT)("the content store's collector", () => {
  let root: string;
  let db: DatabaseSync;
  let store: ImageStore;
  beforeEach(() => {
    root = Deno.makeTempDirSync({ prefix: "berth-collect-" });
    db = new DatabaseSync(`${root}/berth.db`);
    store = ImageStore.open({
      db,
      root,
      driver: new OverlayDriver(root, "test", "extfs"),
      singleId: false,
    });
  });
  afterEach(async () => {
    await store.settled();
    db.close();
    await removeTree(root);
  });

  it("takes what nobody needs, of hundreds of blobs, and leaves what is held or used", async () => {
    const image = buildImage({ layers: [[file("a")], [file("b")]] });
    await store.load(streamOf(dockerArchive({ ...image, refs: ["keep:1"] })));
    const used = namesIn(`${root}/blobs/sha256`).sort();
    expect(used.length).toBeGreaterThan(0);
    const held = [];
    for (let i = 0; i < 300; i++) held.push(await store.content.put(new TextEncoder().encode(`blob ${i}`)));
    // a pull under way holds what it wants, also before it is there
    const digests = held.slice(0, 50).map(({ digest }) => digest);
    const lease = store.content.hold(digests);
    for (const blob of held) blob[Symbol.dispose]();
    await store.collected();
    const left = [...used, ...digests.map((digest) => digest.slice(7))].sort();
    expect(namesIn(`${root}/blobs/sha256`).sort()).toEqual(left);
    for (const digest of digests) expect(store.content.get(digest)).toBeDefined();
    lease[Symbol.dispose]();
    await store.settled();
    expect(namesIn(`${root}/blobs/sha256`).sort()).toEqual(used);
    expect(namesIn(`${root}/trash`)).toEqual([]);
  });

  it("leaves a layer where it is that has come by another way meanwhile", async () => {
    const [layer] = buildImage({ layers: [[file("a")]] }).layers;
    if (layer === undefined) throw new Error("no layer");
    const { diffId, bytes } = layer;
    const { layers } = store.internals;
    const path = `${root}/layer.tar`;
    Deno.writeFileSync(path, bytes);
    using pool = new UnpackPool(1);
    using _hold = layers.hold([diffId]);
    let inode: number | null = null;
    const { chainId } = await layers.ensure({
      chainId: diffId,
      parent: "",
      diffId,
      part: { path, offset: 0, length: bytes.length },
      digest: undefined,
      unpacked: async () => {
        await store.importTar(streamOf(bytes), { changes: [] });
        inode = Deno.statSync(layers.ref(diffId).dir).ino;
      },
    }, pool);
    expect(inode).not.toBeNull();
    // a container may have it mounted by now
    expect(Deno.statSync(layers.ref(chainId).dir).ino).toBe(inode);
    expect(namesIn(`${root}/tmp`)).toEqual([]);
  });

  it("leaves what a pull under way has, when the image that had it too is removed", async () => {
    await using registry = new FakeRegistry();
    const gate = Promise.withResolvers<void>();
    const first = [file("a", "first")];
    const one = buildImage({ layers: [first] });
    const two = buildImage({ layers: [first, [file("b", "second")]] });
    registry.add("one", "1", one);
    registry.add("two", "1", two);
    const [shared = "", slow = ""] = two.layers.map(({ diffId }) => diffId);
    let asked = false;
    let downloads = 0;
    registry.intercept = async (request, path) => {
      if (request.method === "GET" && path.endsWith(shared)) downloads++;
      if (!path.endsWith(slow)) return undefined;
      asked = true;
      await gate.promise;
      return undefined;
    };
    const pull = (name: string) =>
      new ImagePuller(store.internals, DEFAULT_REGISTRY_SETTINGS).pull({
        reference: parseReference(`${registry.host}/${name}`),
        platform: undefined,
        auth: undefined,
        signal: new AbortController().signal,
        report: () => {},
      });
    await pull("one:1");
    const pulling = pull("two:1");
    await waitFor(() => asked, 10_000, () => "the second layer is not asked for");
    store.remove(one.id, { force: true, noPrune: false, inUse: () => [] });
    await store.settled();
    expect(store.list()).toEqual([]);
    expect(store.content.get(shared)).toBeDefined();
    expect(namesIn(`${root}/layers`)).toEqual([shared.slice(7)]);
    gate.resolve();
    await pulling;
    expect(downloads).toBe(1);
    expect(store.get(two.id).chainIds).toHaveLength(2);
    store.remove(two.id, { force: true, noPrune: false, inUse: () => [] });
    await store.settled();
    expect([namesIn(`${root}/layers`), namesIn(`${root}/blobs/sha256`)]).toEqual([[], []]);
  });

  it("leaves a layer that came again before its directory was cleared away", async () => {
    const image = buildImage({ layers: [[file("a")]] });
    const archive = dockerArchive({ ...image, refs: ["again:1"] });
    await store.load(streamOf(archive));
    for (let i = 0; i < 5; i++) {
      store.remove("again:1", { force: false, noPrune: false, inUse: () => [] });
      await store.load(streamOf(archive));
    }
    await store.settled();
    expect(namesIn(`${root}/layers`)).toHaveLength(1);
    expect(Deno.readTextFileSync(`${root}/layers/${namesIn(`${root}/layers`)[0]}/diff/a`)).toBeDefined();
  });
});

describeWith(BUSYBOX)("removing an image of 3,000 files", () => {
  let engine: Engine;
  let dir: string;
  let archive: string;
  beforeAll(async () => {
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "collect-" });
    Deno.chmodSync(dir, 0o755);
    const files = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`data/${i % 30}/${i}`, `${i}`]));
    archive = await busyboxArchive(dir, { reference: "many:1", files });
    engine = await startEngine({ user: usersToTest()[0] ?? { name: "root", uid: 0, gid: 0 } });
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    Deno.removeSync(dir, { recursive: true });
  });

  it("answers other requests meanwhile, and leaves nothing", async () => {
    const before = [namesIn(`${engine.dataRoot}/layers`), namesIn(`${engine.dataRoot}/blobs/sha256`)];
    expect((await engine.berth(["load", "-q", "-i", archive])).code).toBe(0);
    expect(namesIn(`${engine.dataRoot}/layers`)).toHaveLength((before[0]?.length ?? 0) + 1);
    let done = false;
    const asking = (async () => {
      const codes = new Set<number>();
      using client = Deno.createHttpClient({ proxy: { transport: "unix", path: engine.socket } });
      while (!done) {
        const answer = await fetch("http://d/containers/json", { client });
        await answer.text();
        codes.add(answer.status);
      }
      return [...codes];
    })();
    expect((await engine.berth(["rmi", "many:1"])).code).toBe(0);
    await waitFor(() => namesIn(`${engine.dataRoot}/trash`).length === 0, 30_000, () => "trash stays");
    done = true;
    expect(await asking).toEqual([200]);
    expect([namesIn(`${engine.dataRoot}/layers`), namesIn(`${engine.dataRoot}/blobs/sha256`)]).toEqual(
      before,
    );
  });

  it("goes on at the next start where a kill -9 has ended it", async () => {
    expect((await engine.berth(["load", "-q", "-i", archive])).code).toBe(0);
    expect((await engine.berth(["rmi", "many:1"])).code).toBe(0);
    await engine.kill9();
    await engine.restart();
    await waitFor(() => namesIn(`${engine.dataRoot}/trash`).length === 0, 30_000, () => "trash stays");
    // berth/host's
    expect(namesIn(`${engine.dataRoot}/layers`)).toHaveLength(1);
  });
});
