import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeEach, expect, it } from "vitest";
import { S_IFIFO, S_IFMT } from "../../ffi/constants.ts";
import { kernel } from "../../ffi/kernel.ts";
import { unpackContext } from "../../fs/build_context.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { TAR_END, tarArchive, type TarEntryInput, tarHeader } from "../../fs/tar/mod.ts";
import { UnpackPool } from "../../fs/unpack.ts";
import { describeWith, ROOT } from "../support/needs.ts";
import { testDir } from "../support/users.ts";

const text = (value: string) => new TextEncoder().encode(value);
const file = (name: string, content = name, more: TarEntryInput = { name }) => ({
  ...more,
  name,
  data: text(content),
});

// chroot
describeWith(ROOT)("unpackContext()", () => {
  const base = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-context-" });
  const pool = new UnpackPool(1);
  let counter = 0;
  let context = "";
  let outside = "";

  beforeEach(() => {
    const here = `${base}/${counter++}`;
    context = `${here}/context`;
    outside = `${here}/outside`;
    for (const path of [context, outside]) Deno.mkdirSync(path, { recursive: true });
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

  const unpack = (bytes: Uint8Array, limits = {}) => unpackContext(pool, context, stream(bytes), { limits });
  const stat = (path: string) => kernel.stat(`${context}/${path}`, false);

  function pack(program: string, bytes: Uint8Array): Uint8Array {
    const path = `${context}/../packed`;
    Deno.writeFileSync(path, bytes);
    const { success, stdout } = new Deno.Command(program, { args: ["-c", path], stdout: "piped" })
      .outputSync();
    expect(success).toBe(true);
    return stdout;
  }

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ["nothing", (bytes) => bytes],
    ["gzip", gzipSync],
    ["zstd", zstdCompressSync],
    ["bzip2", (bytes) => pack("bzip2", bytes)],
    ["xz", (bytes) => pack("xz", bytes)],
  ])("takes archives compressed by %s", async (_, compress) => {
    const archive = tarArchive([
      file("Dockerfile", "FROM scratch\n"),
      file("src/main.c", "int x;\n".repeat(5000)),
    ]);
    await unpack(compress(archive));
    expect(Deno.readTextFileSync(`${context}/Dockerfile`)).toBe("FROM scratch\n");
    expect(Deno.readTextFileSync(`${context}/src/main.c`)).toHaveLength(35_000);
  });

  it("keeps modes and times, makes everything root's, and takes names of whiteouts as they are", async () => {
    const own = { uid: 1000, gid: 1000, mtime: [1_000_000_000, 5] as const };
    await unpack(tarArchive([
      { name: "bin", type: "directory", mode: 0o2750, ...own },
      file("bin/run", "#!", { name: "", mode: 0o4755, ...own }),
      { name: "bin/link", type: "symlink", linkName: "run", ...own },
      { name: "bin/again", type: "hardlink", linkName: "bin/run" },
      { name: "pipe", type: "fifo", mode: 0o600, ...own },
      { name: "zero", type: "char", deviceMajor: 1, deviceMinor: 5 },
      file(".wh.bin", "a name"),
      file(".wh..wh..opq", "another"),
    ]));
    expect(stat("bin")).toMatchObject({ uid: 0, gid: 0, mtimeSec: 1_000_000_000, mtimeNsec: 5 });
    expect(stat("bin/run")).toMatchObject({ uid: 0, gid: 0, nlink: 2, mtimeSec: 1_000_000_000 });
    expect((stat("bin/run").mode & 0o7777).toString(8)).toBe("4755");
    expect((stat("bin").mode & 0o7777).toString(8)).toBe("2750");
    expect(stat("bin/link")).toMatchObject({ uid: 0, gid: 0 });
    expect(stat("pipe").mode & S_IFMT).toBe(S_IFIFO);
    expect(() => stat("zero")).toThrow("no such file");
    expect(Deno.readTextFileSync(`${context}/.wh.bin`)).toBe("a name");
    expect(Deno.readTextFileSync(`${context}/.wh..wh..opq`)).toBe("another");
  });

  it.each<[string, () => Uint8Array, RegExp | undefined]>([
    ["a name above", () => tarArchive([file("../victim")]), /outside of the archive's root/],
    [
      "a name above in the middle",
      () => tarArchive([file("a/../../victim")]),
      /outside of the archive's root/,
    ],
    ["an absolute name", () => tarArchive([file(`/etc/victim`)]), undefined],
    [
      "a link that leads out, and a file behind it",
      () => tarArchive([{ name: "out", type: "symlink", linkName: outside }, file("out/victim")]),
      undefined,
    ],
    [
      "a link that leads up, and a file behind it",
      () => tarArchive([{ name: "up", type: "symlink", linkName: "../outside" }, file("up/victim")]),
      undefined,
    ],
    [
      "a hard link to outside",
      () => tarArchive([{ name: "hard", type: "hardlink", linkName: `${outside}/victim` }]),
      /./,
    ],
    [
      "a loop of links",
      () => tarArchive([{ name: "a", type: "symlink", linkName: "a" }, file("a/b")]),
      undefined,
    ],
    ["a cut archive", () => tarArchive([file("f", "x".repeat(5000))]).subarray(0, 1000), /unexpected EOF/],
    ["a cut stream of gzip", () => gzipSync(tarArchive([file("f")])).subarray(0, 40), /unexpected EOF/],
    ["no archive", () => text("FROM scratch\n".repeat(100)), /./],
    ["a claim of eight exabytes", () => tarHeader({ name: "f", size: 2 ** 53 - 1 }), /./],
  ])("contains %s", async (_, archive, error) => {
    const unpacking = unpack(archive());
    if (error !== undefined) {
      await expect(unpacking).rejects.toMatchObject({
        kind: "invalid",
        message: expect.stringMatching(error),
      });
    } else await unpacking.catch((problem) => expect(problem).toMatchObject({ kind: "invalid" }));
    expect([...Deno.readDirSync(outside)].map(({ name }) => name)).toEqual(["victim"]);
    expect(Deno.readTextFileSync(`${outside}/victim`)).toBe("untouched");
  });

  it("says which limit a context is beyond", async () => {
    const many = tarArchive(Array.from({ length: 20 }, (_, n) => file(`f${n}`)));
    await expect(unpack(many, { maxEntries: 10 })).rejects.toMatchObject({
      kind: "invalid",
      message: "archive holds more than 10 files",
    });
    const large = tarHeader({ name: "f", size: 10_000_000 });
    await expect(unpack(large, { maxBytes: 1_000_000 })).rejects.toMatchObject({
      kind: "invalid",
      message: "archive unpacks to more than 1000000 bytes",
    });
    const bomb = gzipSync(
      new Uint8Array([
        ...tarHeader({ name: "f", size: 2_000_000 }),
        ...new Uint8Array(2_000_128),
        ...TAR_END,
      ]),
    );
    await expect(unpack(bomb, { maxBytes: 1_000_000 })).rejects.toMatchObject({ kind: "invalid" });
  });

  it("stops when the client goes", async () => {
    const controller = new AbortController();
    async function* endless() {
      yield tarHeader({ name: "f", size: 1_000_000_000 });
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        yield new Uint8Array(10_000);
        controller.abort();
      }
    }
    await expect(unpackContext(pool, context, endless(), { signal: controller.signal })).rejects
      .toMatchObject({
        name: "AbortError",
      });
  });
});
