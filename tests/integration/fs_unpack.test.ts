import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { decodePath } from "../../base/path_text.ts";
import { kernel } from "../../ffi/kernel.ts";
import { S_IFCHR, S_IFIFO, S_IFMT } from "../../ffi/constants.ts";
import type { WhiteoutFormat } from "../../fs/graph_driver.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { tarArchive, type TarEntryInput } from "../../fs/tar/mod.ts";
import { type UnpackOptions, UnpackPool } from "../../fs/unpack.ts";
import { describeWith, MACHINE_ROOT, ROOT } from "../support/needs.ts";
import { testDir } from "../support/users.ts";

type Item = TarEntryInput & { data?: Uint8Array };

const text = (value: string) => new TextEncoder().encode(value);
const file = (name: string, content = name, more: Partial<Item> = {}): Item => ({
  name,
  data: text(content),
  ...more,
});
const dir = (name: string, more: Partial<Item> = {}): Item => ({ name, type: "directory", ...more });
const symlink = (name: string, linkName: string): Item => ({ name, type: "symlink", linkName });
const hardlink = (name: string, linkName: string): Item => ({ name, type: "hardlink", linkName });

// chroot, and chown to anybody.
describeWith(ROOT)("UnpackPool.unpack()", () => {
  // Below testDir(): afterAll does not run where the suite is skipped.
  const base = Deno.makeTempDirSync({ dir: testDir(), prefix: "unpack-" });
  const pool = new UnpackPool(2);
  let out = "";
  let outside = "";
  let counter = 0;

  beforeEach(() => {
    const here = `${base}/${counter++}`;
    out = `${here}/layer`;
    outside = `${here}/outside`;
    Deno.mkdirSync(out, { recursive: true });
    Deno.mkdirSync(outside);
    Deno.writeTextFileSync(`${outside}/victim`, "untouched");
  });

  afterAll(async () => {
    pool.close();
    await removeTree(base);
  });

  async function* stream(bytes: Uint8Array) {
    for (let at = 0; at < bytes.length; at += 10_000) {
      await Promise.resolve();
      yield bytes.subarray(at, at + 10_000);
    }
  }

  function unpackBytes(bytes: Uint8Array, more: Partial<UnpackOptions> = {}) {
    return pool.unpack({
      source: { stream: stream(bytes) },
      dir: out,
      whiteouts: "overlay-userxattr",
      ...more,
    });
  }

  function unpack(items: Item[], more: Partial<UnpackOptions> = {}) {
    return unpackBytes(tarArchive(items), more);
  }

  it("makes every kind of file with its owner, mode, time and attributes", async () => {
    const result = await unpack([
      dir("d", { mode: 0o2750, uid: 1, gid: 2, mtime: [1_500_000_000, 0] }),
      file("d/f", "content", { mode: 0o4711, uid: 1000, gid: 1001, mtime: [1_600_000_000, 42] }),
      file("d/plain"),
      symlink("d/s", "../nowhere"),
      hardlink("d/h", "d/f"),
      { name: "d/p", type: "fifo", mode: 0o640 },
      { name: "d/null", type: "char", deviceMajor: 1, deviceMinor: 3 },
      file("caps", "x", {
        xattrs: new Map([
          // cap_net_raw=ep, version 2
          [
            "security.capability",
            new Uint8Array([1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
          ],
          ["user.note", text("hello")],
          ["user.overlay.opaque", text("y")],
        ]),
      }),
    ]);
    expect(result).toMatchObject({ entries: 8, skippedDevices: ["/d/null"], skippedXattrs: 1 });
    const stat = kernel.stat(`${out}/d/f`, false);
    expect(stat).toMatchObject({ uid: 1000, gid: 1001, nlink: 2, mtimeSec: 1_600_000_000, mtimeNsec: 42 });
    expect(stat.mode & 0o7777).toBe(0o4711);
    const directory = kernel.stat(`${out}/d`, false);
    expect(directory).toMatchObject({ uid: 1, gid: 2, mtimeSec: 1_500_000_000 });
    expect(directory.mode & 0o7777).toBe(0o2750);
    // not the group of the set-group-id directory
    expect(kernel.stat(`${out}/d/plain`, false).gid).toBe(0);
    expect(kernel.stat(`${out}/d/s`, false).gid).toBe(0);
    expect(Deno.readLinkSync(`${out}/d/s`)).toBe("../nowhere");
    const fifo = kernel.stat(`${out}/d/p`, false);
    expect([fifo.mode & S_IFMT, fifo.mode & 0o777]).toEqual([S_IFIFO, 0o640]);
    expect(kernel.lgetxattr(`${out}/caps`, "user.note")).toEqual(text("hello"));
    expect(kernel.lgetxattr(`${out}/caps`, "security.capability")?.length).toBeGreaterThanOrEqual(20);
    expect(kernel.lgetxattr(`${out}/caps`, "user.overlay.opaque")).toBeUndefined();
    expect(() => kernel.stat(`${out}/d/null`, false)).toThrow("no such file");
  });

  it.each([["plain", (b: Uint8Array) => b], ["gzip", gzipSync], ["zstd", zstdCompressSync]])(
    "answers digests and sizes of a %s archive, from a stream and from a part of a file",
    async (_name, compress) => {
      const plain = tarArchive([dir("d"), file("d/a", "a".repeat(100_000)), file("b", "bb")]);
      const bytes = new Uint8Array(compress(plain));
      const sha = (b: Uint8Array) => `sha256:${createHash("sha256").update(b).digest("hex")}`;
      const wanted = {
        digest: sha(bytes),
        diffId: sha(plain),
        archiveBytes: bytes.length,
        size: 100_002,
        entries: 3,
      };
      expect(await unpackBytes(bytes)).toMatchObject(wanted);
      const path = `${outside}/archive`;
      Deno.writeFileSync(path, new Uint8Array([...text("before"), ...bytes, ...text("after")]));
      const other = `${outside}/other`;
      Deno.mkdirSync(other);
      const source = { path, offset: 6, length: bytes.length };
      expect(await pool.unpack({ source, dir: other, whiteouts: "overlay-userxattr" })).toMatchObject(wanted);
      expect(Deno.readTextFileSync(`${other}/d/a`)).toBe("a".repeat(100_000));
    },
  );

  it("reads xz, for which it needs a program", async () => {
    Deno.writeFileSync(`${outside}/a.tar`, tarArchive([file("f")]));
    if (!new Deno.Command("xz", { args: [`${outside}/a.tar`] }).outputSync().success) {
      throw new Error("xz failed");
    }
    await pool.unpack({ source: { path: `${outside}/a.tar.xz` }, dir: out, whiteouts: "overlay-userxattr" });
    expect(Deno.readTextFileSync(`${out}/f`)).toBe("f");
  });

  it("lets later entries replace earlier ones", async () => {
    await unpack([
      file("a", "first"),
      file("a", "second"),
      dir("b"),
      file("b/inner"),
      file("b", "now a file"),
      file("c", "a file"),
      dir("c"),
      file("c/inner", "in a directory"),
      dir("e", { mode: 0o700 }),
      file("e/kept"),
      dir("e", { mode: 0o755, uid: 5 }),
    ]);
    expect(Deno.readTextFileSync(`${out}/a`)).toBe("second");
    expect(Deno.readTextFileSync(`${out}/b`)).toBe("now a file");
    expect(Deno.readTextFileSync(`${out}/c/inner`)).toBe("in a directory");
    expect(Deno.readTextFileSync(`${out}/e/kept`)).toBe("e/kept");
    expect(kernel.stat(`${out}/e`, false)).toMatchObject({ uid: 5 });
  });

  it("makes directories that the archive leaves out", async () => {
    await unpack([file("a/b/c/f"), symlink("x/y", "z"), hardlink("p/q", "a/b/c/f")]);
    expect(kernel.stat(`${out}/a/b`, false).mode & 0o777).toBe(0o755);
    expect(Deno.readTextFileSync(`${out}/p/q`)).toBe("a/b/c/f");
  });

  it("keeps the bytes of names that are no UTF-8", async () => {
    await unpack([file(decodePath(new Uint8Array([0x66, 0xff, 0xfe])), "x")]);
    const { stdout } = new Deno.Command("ls", { args: [out] }).outputSync();
    expect([...stdout]).toEqual([0x66, 0xff, 0xfe, 0x0a]);
  });

  describe("with a hostile archive", () => {
    const outsideIsIntact = () => {
      expect(Deno.readTextFileSync(`${outside}/victim`)).toBe("untouched");
      expect([...Deno.readDirSync(outside)].map(({ name }) => name)).toEqual(["victim"]);
    };

    it.each(["../outside/new", "d/../../outside/new", "/../outside/new", "../outside/victim"])(
      "refuses the name %s",
      async (name) => {
        await expect(unpack([dir("d"), file(name, "evil")])).rejects.toMatchObject({ kind: "invalid" });
        outsideIsIntact();
      },
    );

    it("takes an absolute name as one in the layer", async () => {
      await unpack([file(`${outside}/new`, "evil")]);
      expect(Deno.readTextFileSync(`${out}${outside}/new`)).toBe("evil");
      outsideIsIntact();
    });

    it.each(["absolute", "relative"])("contains writes through an %s symbolic link", async (kind) => {
      const target = kind === "absolute" ? outside : "../outside";
      await unpack([symlink("link", target), file("link/new", "evil")]).catch((error) => {
        expect(error).toMatchObject({ kind: "invalid" });
      });
      outsideIsIntact();
    });

    it("replaces a symbolic link instead of writing through it", async () => {
      await unpack([symlink("f", `${outside}/victim`), file("f", "evil", { mode: 0o777, uid: 99 })]);
      expect(Deno.lstatSync(`${out}/f`).isFile).toBe(true);
      outsideIsIntact();
      expect(kernel.stat(`${outside}/victim`, false).uid).toBe(0);
    });

    it("does not follow a link when it replaces a directory by one and removes below it", async () => {
      await unpack([
        dir("d"),
        symlink("d/l", outside),
        file("d", "x"),
        symlink("e", outside),
        dir("e"),
        file("e/n"),
      ]);
      expect(Deno.lstatSync(`${out}/e`).isDirectory).toBe(true);
      outsideIsIntact();
    });

    it("does not chmod, chown or date through a link", async () => {
      const before = kernel.stat(outside, false);
      await unpack([symlink("l", outside), dir("l", { mode: 0o777, uid: 7 }), symlink("m", outside)]);
      expect(kernel.stat(outside, false)).toEqual(before);
    });

    it.each(["../outside/victim", "/../outside/victim"])("refuses a hard link to %s", async (target) => {
      await expect(unpack([hardlink("h", target)])).rejects.toMatchObject({ kind: "invalid" });
    });

    it("resolves a hard link to an absolute name, or through a link, inside of the layer", async () => {
      await expect(unpack([hardlink("h", `${outside}/victim`)])).rejects.toMatchObject({ kind: "invalid" });
      await expect(unpack([symlink("l", outside), hardlink("h", "l/victim")])).rejects.toMatchObject({
        kind: "invalid",
      });
      expect(kernel.stat(`${outside}/victim`, false).nlink).toBe(1);
    });

    it("survives a hard link to itself and one over a directory", async () => {
      await unpack([file("f", "x"), hardlink("f", "f"), dir("d"), file("d/x"), hardlink("d", "f")]);
      expect(Deno.readTextFileSync(`${out}/f`)).toBe("x");
    });

    it("does not remove outside by a whiteout", async () => {
      await expect(unpack([file("../outside/.wh.victim", "")])).rejects.toMatchObject({ kind: "invalid" });
      await unpack([symlink("l", outside), file("l/.wh.victim", "")], { whiteouts: "apply" }).catch(() => {});
      await unpack([symlink("m", outside), file("m/.wh..wh..opq", "")]).catch(() => {});
      outsideIsIntact();
    });

    it.each([
      ["a name of 300 bytes", [file("n".repeat(300))]],
      ["a path of 5,000 bytes", [file("d/".repeat(2500) + "f")]],
      ["a loop of links", [symlink("a", "b"), symlink("b", "a"), file("a/f")]],
      ["a file as a directory", [file("a"), file("a/b")]],
    ])("refuses %s as invalid", async (_name, items) => {
      await expect(unpack(items)).rejects.toMatchObject({ kind: "invalid" });
    });

    it("refuses more files, bytes or growth than allowed", async () => {
      const many = Array.from({ length: 11 }, (_, i) => file(`f${i}`));
      await expect(unpack(many, { limits: { maxEntries: 10 } })).rejects.toThrow("more than 10 files");
      await expect(unpack(many, { limits: { maxBytes: 10 } })).rejects.toThrow("more than 10 bytes");
    });

    it("refuses archives that are empty, no archive, cut short, or damaged in the middle", async () => {
      const good = tarArchive([file("a", "x".repeat(5000)), file("b")]);
      const damaged = good.slice();
      damaged[5632 + 3] = 0xff;
      for (
        const bad of [new Uint8Array(0), text("no archive".repeat(100)), good.subarray(0, 3000), damaged]
      ) {
        await expect(unpackBytes(bad)).rejects.toMatchObject({ kind: "invalid" });
        await expect(unpackBytes(new Uint8Array(gzipSync(bad)))).rejects.toMatchObject({ kind: "invalid" });
      }
      await expect(unpackBytes(new Uint8Array(gzipSync(good)).subarray(0, 60))).rejects.toMatchObject({
        kind: "invalid",
        message: "truncated gzip stream: unexpected EOF",
      });
    });
  });

  describe("whiteouts", () => {
    const isWhiteout = (path: string) => {
      const { mode, rdev } = kernel.stat(`${out}/${path}`, false);
      return (mode & S_IFMT) === S_IFCHR && rdev === 0n;
    };
    const opaque = (path: string) => kernel.lgetxattr(`${out}/${path}`, "user.overlay.opaque") !== undefined;

    it("become devices and attributes for overlay", async () => {
      await unpack([
        file("d/.wh.gone", ""),
        dir("e"),
        file("e/.wh..wh..opq", ""),
        file("e/new"),
        file(".wh..wh.aufs", ""),
        file(".wh..wh.plnk/1.2", ""),
      ]);
      expect(isWhiteout("d/gone")).toBe(true);
      expect([opaque("d"), opaque("e")]).toEqual([false, true]);
      expect([...Deno.readDirSync(`${out}/e`)].map(({ name }) => name)).toEqual(["new"]);
      expect([...Deno.readDirSync(out)].map(({ name }) => name).sort()).toEqual(["d", "e"]);
    });

    it("hide lower layers only, whatever the order in the archive", async () => {
      await unpack([
        file("f", "new"),
        file(".wh.f", ""),
        file(".wh.g", ""),
        file("g", "new"),
        dir("h"),
        file("h/x"),
        file(".wh.h", ""),
        file(".wh.i", ""),
        dir("i"),
        file("i/x"),
        file(".wh.j", ""),
        file("j/x"),
      ]);
      expect(["f", "g"].map((name) => Deno.readTextFileSync(`${out}/${name}`))).toEqual(["new", "new"]);
      for (const name of ["h", "i", "j"]) {
        expect(opaque(name), name).toBe(true);
        expect(Deno.readTextFileSync(`${out}/${name}/x`)).toBe(`${name}/x`);
      }
    });

    it.for(["overlay-trusted", "fuse-overlayfs"] as WhiteoutFormat[])(
      "have the form of %s",
      async (whiteouts, { skip }) => {
        if (whiteouts === "overlay-trusted" && MACHINE_ROOT.missing !== "") skip(MACHINE_ROOT.missing);
        await unpack([dir("d"), file("d/.wh..wh..opq", ""), file("d/.wh.x", "")], { whiteouts });
        expect(isWhiteout("d/x")).toBe(true);
        const names = kernel.llistxattr(`${out}/d`);
        expect(names).toContain(
          whiteouts === "fuse-overlayfs" ? "user.fuseoverlayfs.opaque" : "trusted.overlay.opaque",
        );
        const sentinel = [...Deno.readDirSync(`${out}/d`)].some(({ name }) => name === ".wh..wh..opq");
        expect(sentinel).toBe(whiteouts === "fuse-overlayfs");
      },
    );

    it.each([".wh.", ".wh..", ".wh...", "d/.wh.", ".wh.a/b"])("of the name %s are invalid", async (name) => {
      await expect(unpack([file(name, "")])).rejects.toThrow("invalid whiteout");
    });
  });

  it("says that the disk is full", async () => {
    const mount = `${outside}/small`;
    Deno.mkdirSync(mount);
    kernel.mount("tmpfs", mount, "tmpfs", 0, "size=256k");
    try {
      const big = tarArchive([file("big", "x".repeat(1_000_000))]);
      const failed = pool.unpack({
        source: { stream: stream(big) },
        dir: mount,
        whiteouts: "overlay-userxattr",
      });
      await expect(failed).rejects.toMatchObject({
        kind: "system",
        message: "write /big: no space left on device",
      });
    } finally {
      kernel.umount2(mount, 0);
    }
  });

  it("ends by a signal, from a stream that is silent and from a file", async () => {
    const control = new AbortController();
    const silent = (async function* () {
      yield tarArchive([file("a")]).subarray(0, 700);
      control.abort();
      await Promise.resolve();
      yield new Uint8Array(500);
    })();
    const running = pool.unpack({
      source: { stream: silent },
      dir: out,
      whiteouts: "overlay-userxattr",
      signal: control.signal,
    });
    await expect(running).rejects.toMatchObject({ name: "AbortError" });
    await unpack([file("again")]);
    expect(Deno.readTextFileSync(`${out}/again`)).toBe("again");
  });

  it("does nothing that was called off while it waited for a thread", async () => {
    using narrow = new UnpackPool(1);
    const gate = Promise.withResolvers<void>();
    const slow = (async function* () {
      await gate.promise;
      yield tarArchive([file("first")]);
    })();
    const options = { dir: out, whiteouts: "overlay-userxattr" } as const;
    const first = narrow.unpack({ ...options, source: { stream: slow } });
    const give = new AbortController();
    const second = narrow.unpack({
      ...options,
      source: { stream: stream(tarArchive([file("second")])) },
      signal: give.signal,
    });
    give.abort(new Error("called off"));
    gate.resolve();
    await expect(second).rejects.toThrow("called off");
    await first;
    expect([...Deno.readDirSync(out)].map(({ name }) => name)).toEqual(["first"]);
  });

  it("hands on the error of its stream", async () => {
    const broken = (async function* () {
      yield tarArchive([file("a")]).subarray(0, 700);
      await Promise.resolve();
      throw new Error("connection reset");
    })();
    const failed = pool.unpack({ source: { stream: broken }, dir: out, whiteouts: "overlay-userxattr" });
    await expect(failed).rejects.toThrow("connection reset");
  });

  it("leaves no descriptor open", async () => {
    const count = () => [...Deno.readDirSync("/proc/self/fd")].length;
    const round = async (name: string) => {
      for (let i = 0; i < 10; i++) {
        await unpack([file(`${name}${i}`)]);
        await unpackBytes(text("bad".repeat(300))).catch(() => {});
      }
    };
    // The pool's threads have descriptors of their own, from the first time each is used.
    await round("warm");
    const before = count();
    await round("f");
    // A thread that was replaced may come and go meanwhile; one descriptor for each archive would be ten more.
    expect(count()).toBeLessThan(before + 5);
  });
});
