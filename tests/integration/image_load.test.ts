import { DatabaseSync } from "node:sqlite";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { kernel } from "../../ffi/kernel.ts";
import { OverlayDriver } from "../../fs/overlay.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { tarArchive } from "../../fs/tar/mod.ts";
import { hostEtc } from "../../image/host_etc.ts";
import { ImageStore } from "../../image/image_store.ts";
import type { RemoveOptions } from "../../image/image_removal.ts";
import { busyboxArchive } from "../support/busybox_image.ts";
import {
  buildImage,
  dockerArchive,
  file,
  HOST_ARCHITECTURE,
  ociArchive,
  sha256,
  streamOf,
  text,
} from "../support/image_archive.ts";
import { environmentOf, runAs, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith, itWith, MACHINE_ROOT, ROOT } from "../support/needs.ts";

// Unpacking needs chroot.
describeWith(ROOT)("ImageStore", () => {
  let root = "";
  let db: DatabaseSync;
  let store: ImageStore;
  const logged: string[] = [];

  function open(): void {
    db = new DatabaseSync(`${root}/berth.db`);
    db.exec("PRAGMA journal_mode = WAL");
    const driver = new OverlayDriver(root, "test", "extfs");
    store = ImageStore.open({ db, root, driver, singleId: false, log: (line) => logged.push(line) });
  }

  beforeEach(() => {
    root = Deno.makeTempDirSync({ prefix: "berth-images-" });
    logged.length = 0;
    open();
  });

  afterEach(async () => {
    await store.settled();
    db.close();
    await removeTree(root);
  });

  const names = (dir: string) => {
    try {
      return [...Deno.readDirSync(`${root}/${dir}`)].map(({ name }) => name).sort();
    } catch {
      return [];
    }
  };
  const load = (bytes: Uint8Array) => store.load(streamOf(bytes));
  /** What must be true when nothing is under way. */
  const expectClean = (layers: number) => {
    expect(names("layers")).toHaveLength(layers);
    expect(names("tmp")).toEqual([]);
    expect(names("trash")).toEqual([]);
  };
  const remove = (ref: string, options: Partial<RemoveOptions> = {}) =>
    store.remove(ref, { force: false, noPrune: false, inUse: () => [], ...options });

  const one = buildImage({
    layers: [[file("a", "lower"), file("b")], [file("a", "upper"), file(".wh.b", "")]],
    refs: ["one:1", "example.com:5000/x/one:latest"],
    config: { Env: ["A=b"], Labels: null, Volumes: { "/v": {} } },
    top: { "moby.extra": [1], history: [{ created_by: "x" }, { empty_layer: true }] },
  });
  const two = buildImage({ layers: [[file("a", "lower"), file("b")], [file("c")]], refs: ["two"] });

  describe("load()", () => {
    it("takes in an archive of docker save", async () => {
      expect(await load(dockerArchive(one))).toEqual({
        images: [{ id: one.id, refs: ["one:1", "example.com:5000/x/one:latest"] }],
      });
      const image = store.get("one:1");
      expect(image).toMatchObject({
        id: one.id,
        configJson: one.configJson,
        createdAt: "2024-05-06T07:08:09.1Z",
        repoTags: ["one:1", "example.com:5000/x/one:latest"],
        repoDigests: [],
        parent: "",
        hostDirs: [],
        size: "lower".length + 1 + "upper".length,
      });
      expect(image.config.config).toEqual({ Cmd: ["/bin/sh"], Env: ["A=b"], Volumes: { "/v": {} } });
      expect(image.config["moby.extra"]).toEqual([1]);
      const [bottom = "", top = ""] = one.layers.map(({ diffId }) => diffId);
      expect(image.chainIds).toEqual([bottom, sha256(text(`${bottom} ${top}`))]);
      const [upper, lower] = store.layers(image);
      expect(Deno.readTextFileSync(`${lower?.dir}/a`)).toBe("lower");
      expect(Deno.readTextFileSync(`${upper?.dir}/a`)).toBe("upper");
      expect(Deno.lstatSync(`${upper?.dir}/b`).isCharDevice).toBe(true);
      expectClean(2);
    });

    it.each([["gzip", gzipSync], ["zstd", zstdCompressSync]])(
      "takes in a %s archive, and layers that are compressed",
      async (_name, compress) => {
        const image = buildImage({
          layers: [[file("a")]],
          refs: ["c"],
          compress: (b) => new Uint8Array(compress(b)),
        });
        await load(new Uint8Array(compress(dockerArchive(image))));
        expect(store.get("c").id).toBe(image.id);
      },
    );

    it("takes in several images, shares their layers, and is repeatable", async () => {
      await load(dockerArchive(one, two));
      expect(store.list().map(({ id }) => id).sort()).toEqual([one.id, two.id].sort());
      expectClean(3);
      const before = Deno.statSync(store.layers(store.get("two"))[0]?.dir ?? "").ino;
      await Promise.all([load(dockerArchive(two)), load(dockerArchive(one, two))]);
      expect(Deno.statSync(store.layers(store.get("two"))[0]?.dir ?? "").ino).toBe(before);
      expectClean(3);
    });

    it("unpacks a layer once when two loads want it at the same time", async () => {
      const big = buildImage({ layers: [[file("a", "x".repeat(3_000_000))], [file("b")]], refs: ["big"] });
      const results = await Promise.all([1, 2, 3].map(() => load(dockerArchive(big))));
      expect(new Set(results.map(({ images }) => images[0]?.id))).toEqual(new Set([big.id]));
      expectClean(2);
    });

    it("takes the last of two members of the same name, whatever their size", async () => {
      const big = "x".repeat(400_000);
      const right = buildImage({ layers: [[file("big", big)]], refs: ["twice"] });
      const wrong = buildImage({ layers: [[file("big", `${big}y`)]] });
      const name = `${right.layers[0]?.diffId.slice(7)}/layer.tar`;
      const config = text(right.configJson);
      await load(tarArchive([
        { name, data: wrong.layers[0]?.bytes ?? new Uint8Array() },
        { name, data: right.layers[0]?.bytes ?? new Uint8Array() },
        { name: "c.json", data: config },
        {
          name: "manifest.json",
          data: text(JSON.stringify([{ Config: "c.json", RepoTags: ["twice"], Layers: [name] }])),
        },
      ]));
      expect(store.get("twice").id).toBe(right.id);
      expectClean(1);
    });

    it("moves a tag to the image that came last, and keeps the other", async () => {
      await load(dockerArchive({ ...one, refs: ["x"] }));
      await load(dockerArchive({ ...two, refs: ["x"] }));
      expect(store.get("x").id).toBe(two.id);
      expect(store.get(one.id)).toMatchObject({ repoTags: [] });
    });

    it("takes the same layer twice in an image, also as a link", async () => {
      const twice = buildImage({ layers: [[file("a")], [file("a")]], refs: ["twice"] });
      await load(dockerArchive(twice));
      expectClean(2);
      const name = `${twice.layers[0]?.diffId.slice(7)}/layer.tar`;
      const config = text(twice.configJson.replace('"2024-', '"2023-'));
      await load(tarArchive([
        { name, data: twice.layers[0]?.bytes ?? new Uint8Array() },
        { name: "other/layer.tar", type: "symlink", linkName: `../${name}` },
        { name: "c.json", data: config },
        {
          name: "manifest.json",
          data: text(
            JSON.stringify([{ Config: "c.json", RepoTags: ["l"], Layers: [name, "other/layer.tar"] }]),
          ),
        },
      ]));
      expect(store.get("l").chainIds).toEqual(store.get("twice").chainIds);
    });

    it("takes in an OCI layout, with the names that it can know", async () => {
      const gz = buildImage({ layers: [[file("a")]], compress: (b) => new Uint8Array(gzipSync(b)) });
      await load(ociArchive([
        {
          image: gz,
          annotations: {
            "io.containerd.image.name": "docker.io/library/oci:3",
            "org.opencontainers.image.ref.name": "3",
          },
        },
        { image: two, annotations: { "org.opencontainers.image.ref.name": "latest" } },
      ]));
      expect(store.get("oci:3").id).toBe(gz.id);
      expect(store.get(two.id).repoTags).toEqual([]);
    });

    it("takes this machine's image out of an index for several", async () => {
      const other = buildImage({ layers: [[file("other")]], top: { architecture: "s390x" } });
      const unknown = buildImage({ layers: [[file("attestation")]] });
      await load(ociArchive([
        { image: other, platform: { os: "linux", architecture: "s390x" } },
        { image: unknown, platform: { os: "unknown", architecture: "unknown" } },
        { image: two, platform: { os: "linux", architecture: HOST_ARCHITECTURE } },
      ], { annotations: { "org.opencontainers.image.ref.name": "quay.io/a/multi:2" } }));
      expect(store.list().map(({ id }) => id)).toEqual([two.id]);
      expect(store.get("quay.io/a/multi:2").id).toBe(two.id);
      await expect(load(ociArchive([
        { image: other, platform: { os: "linux", architecture: "s390x" } },
      ], {}))).rejects.toThrow(`no matching manifest for linux/${HOST_ARCHITECTURE}`);
    });

    itWith(BUSYBOX)("takes in a real archive of busybox", async () => {
      const path = await busyboxArchive(root);
      const input = await Deno.open(path);
      await store.load(input.readable);
      const [layer] = store.layers(store.get("busybox"));
      expect(Deno.readLinkSync(`${layer?.dir}/bin/sh`)).toBe("/bin/busybox");
      expect((Deno.statSync(`${layer?.dir}/tmp`).mode ?? 0) & 0o7777).toBe(0o1777);
    });

    it("reports how far it is", async () => {
      const seen: string[] = [];
      await store.load(streamOf(dockerArchive(two)), {
        onProgress: ({ id, status, current, total }) => seen.push(`${id} ${status} ${current === total}`),
      });
      for (const { diffId } of two.layers) {
        expect(seen).toContain(`${diffId.slice(7, 19)} Loading layer true`);
      }
    });

    const bad: [string, () => Uint8Array, string][] = [
      ["nothing", () => new Uint8Array(0), "unexpected EOF"],
      ["no archive", () => text("hello ".repeat(1000)), "invalid archive"],
      ["an archive of something else", () => tarArchive([file("x")]), "does not contain a manifest.json"],
      ["an archive cut short", () => dockerArchive(one).subarray(0, 2000), "unexpected EOF"],
      ["a broken manifest", () => tarArchive([file("manifest.json", "{")]), "invalid manifest.json"],
      [
        "a manifest of the wrong shape",
        () => tarArchive([file("manifest.json", '[{"Config":5}]')]),
        "at 0.Config",
      ],
      ["no configuration", () => tarArchive([file("manifest.json", '[{"Config":"x"}]')]), '"x" is missing'],
      [
        "a name out of the archive",
        () => tarArchive([file("manifest.json", '[{"Config":"../x"}]')]),
        "is missing",
      ],
    ];
    it.each(bad)("refuses %s", async (_name, make, message) => {
      await expect(load(make())).rejects.toMatchObject({
        kind: "invalid",
        message: expect.stringContaining(message),
      });
      expectClean(0);
      expect(store.list()).toEqual([]);
    });

    it("refuses layers that are missing, too few, or not what the configuration says", async () => {
      const good = buildImage({ layers: [[file("good")], [file("second")]], refs: ["x"] });
      const [first, second] = good.layers;
      if (!first || !second) throw new Error("no layers");
      const evil = tarArchive([file("evil")]);
      const swapped = { ...good, layers: [first, { ...second, bytes: evil }] };
      await expect(load(dockerArchive(swapped))).rejects.toThrow(
        `invalid diffID for layer: expected "${second.diffId}"`,
      );
      await expect(load(ociArchive([{ image: swapped }]))).rejects.toThrow("invalid diffID for layer");
      const short = { ...good, layers: [first] };
      await expect(load(dockerArchive(short))).rejects.toThrow("layers length mismatch: expected 2, got 1");
      const manifest = [{ Config: "c", Layers: ["gone", "gone2"] }];
      const lacking = tarArchive([
        file("c", good.configJson),
        file("manifest.json", JSON.stringify(manifest)),
      ]);
      await expect(load(lacking)).rejects.toThrow(`layer ${first.diffId} is missing`);
      await store.settled();
      expectClean(0);
      expect(store.list()).toEqual([]);
    });

    it("refuses a blob that is not what its name says", async () => {
      const archive = ociArchive([{ image: two }]);
      const at = new TextDecoder("latin1").decode(archive).indexOf("2024-05-06");
      archive[at] = "3".charCodeAt(0);
      await expect(load(archive)).rejects.toThrow("does not match its digest");
    });

    it("ends by a signal and leaves nothing", async () => {
      const control = new AbortController();
      const input = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(dockerArchive(one).subarray(0, 3000)),
      });
      const loading = store.load(input, { signal: control.signal });
      control.abort();
      await expect(loading).rejects.toMatchObject({ name: "AbortError" });
      expectClean(0);
    });

    it("says that the disk is full and leaves nothing half-made", async () => {
      for (const size of ["300k", "900k"]) {
        const small = `${root}/small`;
        Deno.mkdirSync(small);
        kernel.mount("tmpfs", small, "tmpfs", 0, `size=${size}`);
        try {
          const driver = new OverlayDriver(small, "test", "tmpfs");
          const full = ImageStore.open({ db, root: small, driver, singleId: false });
          // 900k holds the archive but not the layer as well
          const archive = dockerArchive(
            buildImage({ layers: [[file("a", "x".repeat(600_000))]], refs: ["x"] }),
          );
          await expect(full.load(streamOf(archive))).rejects.toMatchObject({
            kind: "system",
            message: expect.stringContaining("no space left on device"),
          });
          expect(full.list()).toEqual([]);
          await full.settled();
          const left = [...Deno.readDirSync(small)].flatMap((
            { name },
          ) => [...Deno.readDirSync(`${small}/${name}`)]);
          expect(left).toEqual([]);
        } finally {
          kernel.umount2(small, 0);
          Deno.removeSync(small);
        }
      }
    });
  });

  describe("sweep()", () => {
    it("removes what a crash has left and keeps everything else", async () => {
      await load(dockerArchive(one));
      const kept = names("layers");
      for (
        const left of ["layers/feed", "tmp/layer-x/diff", "trash/y", "probe-z", "tmp/other", "containers/c"]
      ) Deno.mkdirSync(`${root}/${left}`, { recursive: true });
      Deno.writeTextFileSync(`${root}/tmp/load-x`, "");
      Deno.mkdirSync(`${root}/l`);
      Deno.symlinkSync("../layers/gone/diff", `${root}/l/dead`);
      Deno.symlinkSync(`../layers/${kept[0]}/diff`, `${root}/l/alive`);
      db.close();
      open();
      await store.sweep();
      await store.settled();
      expect(names("layers")).toEqual(kept);
      expect([names("tmp"), names("trash"), names("l")]).toEqual([["other"], [], ["alive"]]);
      expect(names(".").filter((name) => name.startsWith("probe-"))).toEqual([]);
      expect(names("containers")).toEqual(["c"]);
      expect(store.get("one:1").id).toBe(one.id);
    });

    it("mentions layers that somebody has removed; loading brings them back", async () => {
      await load(dockerArchive(one));
      const [gone = ""] = names("layers");
      Deno.removeSync(`${root}/layers/${gone}`, { recursive: true });
      await store.sweep();
      expect(logged.join()).toContain(gone);
      await load(dockerArchive(one));
      expect(names("layers")).toContain(gone);
    });
  });

  describe("get(), tag() and remove()", () => {
    beforeEach(() => load(dockerArchive(one, two)));

    it("finds an image by each of its names", () => {
      const hex = one.id.slice(7);
      const known = [
        "one:1",
        "docker.io/library/one:1",
        "example.com:5000/x/one",
        one.id,
        hex,
        hex.slice(0, 12),
      ];
      for (const name of [...known, `sha256:${hex.slice(0, 20)}`]) {
        expect(store.get(name).id, name).toBe(one.id);
      }
    });

    it("says in Docker's words what it does not find", () => {
      expect(() => store.get("nope")).toThrow(
        expect.objectContaining({ kind: "not-found", message: "No such image: nope:latest" }),
      );
      expect(() => store.get("one")).toThrow("No such image: one:latest");
      expect(() => store.get("One")).toThrow(expect.objectContaining({ kind: "invalid" }));
      const missing = `sha256:${"0".repeat(64)}`;
      expect(() => store.get(missing)).toThrow(`No such image: ${missing}`);
    });

    it("takes the shortest beginning of an id that is unique, and no other", () => {
      const [a, b] = [one.id.slice(7), two.id.slice(7)];
      let same = 0;
      while (a[same] === b[same]) same++;
      expect(store.get(a.slice(0, same + 1)).id).toBe(one.id);
      if (same > 0) expect(() => store.get(a.slice(0, same))).toThrow("No such image");
    });

    it("tags", () => {
      store.tag("one:1", "more/one");
      expect(store.get(one.id).repoTags).toContain("more/one:latest");
      expect(store.get(one.id).lastTagTime).toMatch(/^\d{4}-.*Z$/);
      expect(() => store.tag("nope", "x")).toThrow("No such image: nope:latest");
      expect(() => store.tag("one:1", "X")).toThrow("must be lowercase");
      expect(() => store.tag("one:1", `x@sha256:${"a".repeat(64)}`)).toThrow("digest reference");
    });

    it("removes a name, and the image and the layers of its own with the last one", async () => {
      expect(remove("one:1")).toEqual([{ Untagged: "one:1" }]);
      const chain = store.get(one.id).chainIds;
      expect(remove("example.com:5000/x/one")).toEqual([
        { Untagged: "example.com:5000/x/one:latest" },
        { Deleted: one.id },
        { Deleted: chain[1] },
      ]);
      await store.settled();
      expectClean(2);
      expect(remove(two.id)).toHaveLength(4);
      await store.settled();
      expectClean(0);
      expect(store.list()).toEqual([]);
    });

    it("refuses to remove by id what has names in several repositories", () => {
      const short = one.id.slice(7, 19);
      expect(() => remove(short)).toThrow(expect.objectContaining({
        kind: "conflict",
        message:
          `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
      }));
      expect(remove(short, { force: true }).slice(0, 3)).toEqual([
        { Untagged: "one:1" },
        { Untagged: "example.com:5000/x/one:latest" },
        { Deleted: one.id },
      ]);
    });

    it("refuses in Docker's words while containers use the image", () => {
      const short = two.id.slice(7, 19);
      const container = "c0ffee".padEnd(64, "0");
      const user = (running: boolean) => ({ inUse: () => [{ id: container, running, name: "n" }] });
      const id = container.slice(0, 12);
      expect(() => remove("two", user(false))).toThrow(
        `conflict: unable to remove repository reference "two" (must force) - container ${id} is using its referenced image ${short}`,
      );
      expect(() => remove(short, user(false))).toThrow(
        `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container ${id}`,
      );
      for (const force of [false, true]) {
        expect(() => remove(short, { ...user(true), force })).toThrow(
          `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container ${id}`,
        );
      }
      expect(store.get("two").repoTags).toEqual(["two:latest"]);
    });

    it("keeps the layers of an image that was removed by force for the containers that use it", async () => {
      const image = store.get("two");
      let used = true;
      const inUse = () => used ? [{ id: "c".repeat(64), running: false, name: "n" }] : [];
      expect(remove("two", { force: true, inUse })).toEqual([{ Untagged: "two:latest" }, {
        Deleted: two.id,
      }]);
      expect(() => store.get("two")).toThrow("No such image");
      expect(() => store.get(two.id)).toThrow("No such image");
      expect(store.list()).toHaveLength(1);
      await store.sweep();
      const [layer] = store.layers(store.getForContainer(two.id));
      expect(Deno.readTextFileSync(`${layer?.dir}/c`)).toBe("c");
      store.collectHidden(() => used);
      expect(names("layers")).toHaveLength(3);
      used = false;
      store.collectHidden(() => used);
      await store.settled();
      expectClean(2);
      expect(image.id).toBe(two.id);
    });

    it("takes only the name, by force, of an image that a container runs", () => {
      const inUse = () => [{ id: "c".repeat(64), running: true, name: "n" }];
      expect(remove("two", { force: true, inUse })).toEqual([{ Untagged: "two:latest" }]);
      expect(store.get(two.id).repoTags).toEqual([]);
      expect(remove(two.id)).toContainEqual({ Deleted: two.id });
    });
  });

  describe("importTar()", () => {
    const rootfs = tarArchive([file("etc/hostname", "x"), file("bin/sh", "#!", { mode: 0o755 })]);

    it("makes an image of one layer with the changes applied", async () => {
      const { id } = await store.importTar(streamOf(new Uint8Array(gzipSync(rootfs))), {
        reference: "imported:v1",
        changes: [
          'CMD ["/bin/sh", "-l"]',
          "env A=1 B='two words'",
          "ENV C three words",
          "EXPOSE 80 8000-8001/udp",
          'LABEL a=b "c d"=e',
          "USER app:app",
          "VOLUME /data",
          "WORKDIR /srv",
          "WORKDIR app",
          "ENTRYPOINT exec top",
          "HEALTHCHECK --interval=5s --retries=2 CMD true",
          "STOPSIGNAL SIGINT",
          "ONBUILD RUN x",
        ],
        message: "by hand",
      });
      const image = store.get("imported:v1");
      expect(image.id).toBe(id);
      expect(image.chainIds).toEqual([sha256(rootfs)]);
      expect(image.config).toMatchObject({
        os: "linux",
        architecture: HOST_ARCHITECTURE,
        history: [{ comment: "by hand" }],
      });
      expect(image.config.config).toEqual({
        Env: ["A=1", "B=two words", "C=three words"],
        ExposedPorts: { "80/tcp": {}, "8000/udp": {}, "8001/udp": {} },
        Labels: { a: "b", "c d": "e" },
        User: "app:app",
        Volumes: { "/data": {} },
        WorkingDir: "/srv/app",
        // a command of the same changes stays, whichever comes first
        Cmd: ["/bin/sh", "-l"],
        Entrypoint: ["/bin/sh", "-c", "exec top"],
        Healthcheck: { Test: ["CMD-SHELL", "true"], Interval: 5e9, Retries: 2 },
        StopSignal: "SIGINT",
        OnBuild: ["RUN x"],
      });
      expectClean(1);
    });

    it("needs no name, and takes a platform", async () => {
      const { id } = await store.importTar(streamOf(rootfs), { changes: [], platform: "linux/arm64/v8" });
      expect(store.get(id)).toMatchObject({ repoTags: [], config: { architecture: "arm64", variant: "v8" } });
    });

    it.each([
      [{ changes: ["RUN x"] }, "RUN is not a valid change command"],
      [{ changes: ["CMD"] }, "CMD requires at least one argument"],
      [{ changes: ["ENV A"] }, "ENV must have two arguments"],
      [{ changes: ["EXPOSE x"] }, "invalid containerPort: x"],
      [{ changes: [], reference: "X" }, "must be lowercase"],
      [{ changes: [], platform: "windows/amd64" }, "operating system is not supported"],
    ])("refuses %j", async (options, message) => {
      await expect(store.importTar(streamOf(rootfs), options)).rejects.toMatchObject({
        kind: "invalid",
        message: expect.stringContaining(message),
      });
      expectClean(0);
    });

    it("refuses what is no archive or ends too early", async () => {
      for (const bytes of [new Uint8Array(0), text("x".repeat(2000)), rootfs.subarray(0, 512)]) {
        await expect(store.importTar(streamOf(bytes), { changes: [] })).rejects.toMatchObject({
          kind: "invalid",
        });
      }
      await store.settled();
      expectClean(0);
    });
  });

  describe("ensureHostImage()", () => {
    it("makes berth/host once, of what everybody may read", async () => {
      const [image, same] = await Promise.all([store.ensureHostImage(), store.ensureHostImage()]);
      expect(same.id).toBe(image.id);
      expect((await store.ensureHostImage()).id).toBe(image.id);
      expect(image).toMatchObject({
        repoTags: ["berth/host:latest"],
      });
      // What tells that it is outdated is for berth alone.
      expect(image.config.config?.Labels).toEqual({ "org.berth.host": "true" });
      expect(image.hostDirs).toContain("/usr");
      const dir = store.layers(image)[0]?.dir ?? "";
      for (const missing of ["shadow", "hostname", "hosts", "resolv.conf", "mtab", "machine-id"]) {
        expect(() => Deno.lstatSync(`${dir}/etc/${missing}`), missing).toThrow(Deno.errors.NotFound);
      }
      expect(Deno.readTextFileSync(`${dir}/etc/passwd`)).toBe(Deno.readTextFileSync("/etc/passwd"));
      expect((Deno.statSync(`${dir}/tmp`).mode ?? 0) & 0o7777).toBe(0o1777);
      expect((Deno.statSync(`${dir}/root`).mode ?? 0) & 0o7777).toBe(0o700);
      expect([...Deno.readDirSync(`${dir}/home`), ...Deno.readDirSync(`${dir}/root`)]).toEqual([]);
      const bin = Deno.lstatSync("/bin").isSymlink ? Deno.readLinkSync(`${dir}/bin`) : "usr/bin";
      expect(bin).toMatch(/usr\/bin$/);
      expectClean(1);
    });

    itWith(MACHINE_ROOT)(
      "gives containers their own copy of the system directories where owners are mapped",
      async () => {
        const image = await store.ensureHostImage();
        const mounts = store.hostMounts(image, `${root}/containers/c`);
        const usr = mounts.find(({ target }) => target === "/usr");
        expect(usr).toMatchObject({ type: "overlay", source: "/usr", overlay: { lower: ["/usr"] } });
        expect(Deno.statSync(usr?.overlay?.upper ?? "").isDirectory).toBe(true);
        await load(dockerArchive(two));
        expect(store.hostMounts(store.get("two"), `${root}/containers/d`)).toEqual([]);
      },
    );

    it("can be removed and comes again", async () => {
      const image = await store.ensureHostImage();
      remove("berth/host");
      await store.settled();
      expectClean(0);
      expect((await store.ensureHostImage()).hostDirs).toEqual(image.hostDirs);
    });
  });

  describe("hostEtc()", () => {
    it("passes over a directory that cannot be read, whatever its mode says", () => {
      const etc = `${root}/guarded`;
      for (const dir of ["a", "guarded", "z"]) {
        Deno.mkdirSync(`${etc}/${dir}`, { recursive: true });
        Deno.writeTextFileSync(`${etc}/${dir}/f`, "x");
      }
      const { readDirSync } = Deno;
      const spy = vi.spyOn(Deno, "readDirSync").mockImplementation((path) => {
        if (String(path) === `${etc}/guarded`) throw new Deno.errors.PermissionDenied("not for you");
        return readDirSync(path);
      });
      try {
        const names = [...hostEtc(etc)].map(({ entry }) => entry.name);
        expect(names).toEqual(["etc/a", "etc/a/f", "etc/guarded", "etc/z", "etc/z/f"]);
      } finally {
        spy.mockRestore();
      }
    });

    it("leaves out secrets, sockets and what others may not read", () => {
      const etc = `${root}/etc`;
      for (const dir of ["open", "closed", "ssh", "ssl/private"]) {
        Deno.mkdirSync(`${etc}/${dir}`, { recursive: true });
      }
      const put = (path: string, mode: number) => {
        Deno.writeTextFileSync(`${etc}/${path}`, path);
        Deno.chmodSync(`${etc}/${path}`, mode);
      };
      for (
        const path of ["open/yes", "passwd", "shadow", "ssh/ssh_host_rsa_key", "ssl/private/x", "closed/no"]
      ) put(path, 0o644);
      put("group-only", 0o640);
      put("suid", 0o4755);
      Deno.chmodSync(`${etc}/closed`, 0o750);
      Deno.symlinkSync("/proc/mounts", `${etc}/link`);
      Deno.listen({ transport: "unix", path: `${etc}/socket` }).close();
      const found = [];
      for (const { entry } of hostEtc(etc)) found.push(`${entry.name} ${entry.mode?.toString(8)}`);
      expect(found.filter((line) => !line.includes("link")).sort()).toEqual(
        ["etc/open 755", "etc/open/yes 644", "etc/passwd 644", "etc/ssh 755", "etc/ssl 755", "etc/suid 755"],
      );
      expect(found.some((line) => line.startsWith("etc/link"))).toBe(true);
    });
  });
});

describe.each(usersToTest().filter(({ uid }) => uid !== 0))(
  "ImageStore in the user namespace of $name",
  (user) => {
    const module = (path: string) => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);
    const script = `
    import { DatabaseSync } from "node:sqlite";
    import { probeGraphDriver } from ${module("fs/probe.ts")};
    import { ImageStore } from ${module("image/image_store.ts")};
    import { buildImage, dockerArchive, file, streamOf } from ${module("tests/support/image_archive.ts")};
    const [root, single] = Deno.args;
    const { driver } = await probeGraphDriver({ root });
    const db = new DatabaseSync(root + "/berth.db");
    const store = ImageStore.open({ db, root, driver, singleId: single === "single" });
    await store.sweep();
    const load = async (uid) => {
      const image = buildImage({ layers: [[file("f", "x", { uid, gid: uid })]], refs: ["x" + uid] });
      try {
        await store.load(streamOf(dockerArchive(image)));
        const info = Deno.statSync(store.layers(store.get("x" + uid))[0].dir + "/f");
        return [info.uid, info.gid];
      } catch (error) {
        return error.message;
      }
    };
    const host = await store.ensureHostImage();
    const mounts = store.hostMounts(host, root + "/containers/c").map(({ type }) => type);
    const passwd = Deno.readTextFileSync(store.layers(host)[0].dir + "/etc/passwd").length;
    console.log(JSON.stringify({ low: await load(1000), high: await load(70000), mounts: [...new Set(mounts)], passwd }));
    for (const { id } of store.list()) store.remove(id, { force: true, noPrune: false, inUse: () => [] });
    await store.settled();
    db.close();
  `;
    const config = new URL("../../deno.json", import.meta.url).pathname;

    it.each([["single", []], ["many", ["--map-auto"]]])(
      "with %s ids keeps the owners that it can",
      async (kind, more) => {
        const root = `${environmentOf(user)["HOME"]}/images-${kind}`;
        const deno = [
          Deno.execPath(),
          "run",
          "-A",
          `--config=${config}`,
          "--no-lock",
          "--quiet",
          "-",
          root,
          kind,
        ];
        const namespace = ["unshare", "--user", "--map-root-user", ...more, "--mount"];
        const run = await runAs(user, [...namespace, ...deno], { stdin: script });
        expect(run.stderr).toBe("");
        const answer = JSON.parse(run.stdout) as Record<string, unknown>;
        expect(answer["passwd"]).toBeGreaterThan(0);
        expect(answer["mounts"]).toEqual(["image-dir"]);
        if (kind === "single") expect(answer).toMatchObject({ low: [0, 0], high: [0, 0] });
        else {expect(answer).toMatchObject({
            low: [1000, 1000],
            high: expect.stringContaining("/etc/subuid"),
          });}
        await runAs(user, [...namespace, "rm", "-rf", root]);
      },
    );
  },
);
