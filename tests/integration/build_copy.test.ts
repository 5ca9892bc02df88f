import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeEach, expect, it } from "vitest";
import { concat } from "../../base/concat.ts";
import { S_IFIFO } from "../../ffi/constants.ts";
import { kernel } from "../../ffi/kernel.ts";
import {
  copyFiles,
  type CopyOptions,
  type CopySource,
  digestFiles,
  makeDirectory,
} from "../../fs/build_copy.ts";
import type { FileSelection } from "../../fs/build_job.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { TAR_END, tarArchive, type TarEntryInput, tarHeader } from "../../fs/tar/mod.ts";
import type { ViewSpec } from "../../fs/tree_job.ts";
import { TreeThreads } from "../../fs/tree_threads.ts";
import { patched } from "../support/hostile_archives.ts";
import { describeWith, ROOT } from "../support/needs.ts";
import { testDir } from "../support/users.ts";

/** Content of a file, "/" for a directory, "-> target", or more of it. */
type Files = Readonly<Record<string, string>>;

const PLAIN: CopyOptions = { chown: undefined, chmod: undefined, epoch: undefined };

// mounts, chroot, and chown to anybody
describeWith(ROOT)("copyFiles() and digestFiles()", () => {
  const base = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-copy-" });
  const threads = new TreeThreads(2);
  let counter = 0;
  let here = "";
  let context = "";
  let root = "";

  beforeEach(() => {
    here = `${base}/${counter++}`;
    context = `${here}/context`;
    root = `${here}/root`;
    for (const path of [context, root, `${here}/outside`]) Deno.mkdirSync(path, { recursive: true });
    Deno.writeTextFileSync(`${here}/outside/secret`, "not yours");
  });

  afterAll(async () => {
    threads.close();
    await removeTree(base);
  });

  function put(directory: string, files: Files): void {
    for (const [name, content] of Object.entries(files)) {
      const path = `${directory}/${name}`;
      Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      if (content === "/") Deno.mkdirSync(path, { recursive: true });
      else if (content.startsWith("-> ")) Deno.symlinkSync(content.slice(3), path);
      else Deno.writeTextFileSync(path, content);
    }
  }

  /** All below a directory; see {@link Files}. */
  function tree(directory: string, prefix = ""): Record<string, string> {
    const found: Record<string, string> = {};
    for (const entry of [...Deno.readDirSync(directory)].sort((a, b) => a.name < b.name ? -1 : 1)) {
      const path = `${directory}/${entry.name}`;
      const name = prefix + entry.name;
      if (entry.isDirectory) Object.assign(found, { [name]: "/" }, tree(path, `${name}/`));
      else if (entry.isSymlink) found[name] = `-> ${Deno.readLinkSync(path)}`;
      else found[name] = entry.isFile ? Deno.readTextFileSync(path) : "special";
    }
    return found;
  }

  const select = (patterns: readonly string[], more: Partial<FileSelection> = {}): FileSelection => ({
    tree: { kind: "directory", path: context },
    patterns,
    wildcards: true,
    parents: false,
    exclude: [],
    ...more,
  });

  const view = (): ViewSpec => ({
    kind: "rootfs",
    at: root,
    rootfs: { kind: "directory", path: root },
    mounts: [],
    writable: true,
  });

  async function copy(
    dest: string,
    patterns: readonly string[],
    more: Partial<FileSelection> = {},
    options: Partial<CopyOptions> = {},
  ) {
    const source: CopySource = { kind: "files", unpack: "never", ...select(patterns, more) };
    return await copyFiles(threads, view(), dest, [source], { ...PLAIN, ...options });
  }

  const digest = (patterns: readonly string[], more: Partial<FileSelection> = {}) =>
    digestFiles(threads, select(patterns, more));

  const lstat = (path: string) => kernel.stat(`${root}/${path}`, false);
  const perms = (path: string) => (lstat(path).mode & 0o7777).toString(8);

  const EXAMPLE: Files = {
    "a.txt": "a",
    "b.txt": "b",
    "c.md": "c",
    "dir/x": "x",
    "dir/sub/y": "y",
    "dir/sub/deep/z.txt": "z",
    "empty": "/",
    "link": "-> dir/x",
    "dirlink": "-> dir",
  };

  it.each<[string, string, string[], Partial<FileSelection>, Files]>([
    ["a file to a new name", "/f", ["a.txt"], {}, { f: "a" }],
    ["a file to a directory that a slash names", "/d/", ["a.txt"], {}, { d: "/", "d/a.txt": "a" }],
    ["a file to new directories", "/p/q/f", ["a.txt"], {}, { p: "/", "p/q": "/", "p/q/f": "a" }],
    ["several files", "/d/", ["a.txt", "dir/x"], {}, { d: "/", "d/a.txt": "a", "d/x": "x" }],
    ["a directory's contents", "/d", ["dir/sub"], {}, {
      d: "/",
      "d/deep": "/",
      "d/deep/z.txt": "z",
      "d/y": "y",
    }],
    ["wildcards", "/d/", ["*.txt"], {}, { d: "/", "d/a.txt": "a", "d/b.txt": "b" }],
    ["wildcards on the way", "/d/", ["d?r/*/y"], {}, { d: "/", "d/y": "y" }],
    ["wildcards for directories", "/d/", ["d*r"], {}, {
      d: "/",
      "d/sub": "/",
      "d/sub/deep": "/",
      "d/sub/deep/z.txt": "z",
      "d/sub/y": "y",
      "d/x": "x",
    }],
    ["wildcards that match nothing", "/d/", ["*.none"], {}, {}],
    ["what is above the context", "/d/", ["../../a.txt"], {}, { d: "/", "d/a.txt": "a" }],
    ["what a link leads to", "/d/", ["link"], {}, { d: "/", "d/link": "x" }],
    ["the contents of what a link leads to", "/d/", ["dirlink/sub"], {}, {
      d: "/",
      "d/deep": "/",
      "d/deep/z.txt": "z",
      "d/y": "y",
    }],
    ["an empty directory", "/d", ["empty"], {}, { d: "/" }],
    ["without what is excluded", "/d/", ["."], { exclude: ["dir", "*.txt", "*link", "empty"] }, {
      d: "/",
      "d/c.md": "c",
    }],
    ["with what is not excluded after all", "/d/", ["dir"], { exclude: ["sub", "!sub/deep/z.txt"] }, {
      d: "/",
      "d/sub": "/",
      "d/sub/deep": "/",
      "d/sub/deep/z.txt": "z",
      "d/x": "x",
    }],
    ["named files unless they are excluded", "/d/", ["*.txt", "c.md"], { exclude: ["b*"] }, {
      d: "/",
      "d/a.txt": "a",
      "d/c.md": "c",
    }],
    ["with parents", "/d/", ["dir/sub/y", "a.txt"], { parents: true }, {
      d: "/",
      "d/a.txt": "a",
      "d/dir": "/",
      "d/dir/sub": "/",
      "d/dir/sub/y": "y",
    }],
    ["with parents from a pivot on", "/d/", ["dir/./sub/*/*.txt"], { parents: true }, {
      d: "/",
      "d/sub": "/",
      "d/sub/deep": "/",
      "d/sub/deep/z.txt": "z",
    }],
    ["with parents and any number of directories", "/d/", ["**/*.txt"], { parents: true }, {
      d: "/",
      "d/a.txt": "a",
      "d/b.txt": "b",
      "d/dir": "/",
      "d/dir/sub": "/",
      "d/dir/sub/deep": "/",
      "d/dir/sub/deep/z.txt": "z",
    }],
    ["names with wildcards in them", "/d/", ["*.txt"], { wildcards: false }, { d: "/", "d/*.txt": "star" }],
  ])("copies %s", async (_, dest, patterns, more, expected) => {
    put(context, EXAMPLE);
    if (more.wildcards === false) put(context, { "*.txt": "star" });
    await copy(dest, patterns, more);
    expect(tree(root)).toEqual(expected);
  });

  it("says what is not there in BuildKit's words", async () => {
    put(context, EXAMPLE);
    for (
      const [patterns, more] of [
        [["nope"], {}],
        [["../nope"], {}],
        [["a.txt", "nope"], {}],
        [["nope"], { parents: true }],
      ] as const
    ) {
      for (const act of [() => copy("/d/", patterns, more), () => digest(patterns, more)]) {
        await expect(act()).rejects.toMatchObject({ kind: "not-found", message: '"/nope": not found' });
      }
    }
    await expect(digest(["a.txt/x"])).rejects.toMatchObject({ message: '"/a.txt/x": not found' });
    await expect(digest(["[a"])).rejects.toMatchObject({ kind: "invalid" });
  });

  it("resolves links of the destination inside its root", async () => {
    put(context, { f: "new", "d/g": "g" });
    put(root, {
      "real/old": "old",
      "abs": "-> /real",
      "up": "-> ../../../real",
      "file": "-> /real/old",
      "dangling": "-> /made/later",
      "out": `-> ${here}/outside`,
    });
    await copy("/abs/", ["f"]);
    await copy("/up/g", ["f"]);
    await copy("/file", ["f"]);
    await copy("/dangling", ["d"]);
    await copy("/out/", ["f"]);
    expect(tree(root)).toMatchObject({
      "real/f": "new",
      "real/g": "new",
      "real/old": "new",
      "made/later/g": "g",
      "abs": "-> /real",
      [`${here.slice(1)}/outside/f`]: "new",
    });
    expect(tree(`${here}/outside`)).toEqual({ secret: "not yours" });
  });

  it("does not follow links of the destination below what is copied", async () => {
    put(context, { "d/sub/f": "new", "e/link": "file" });
    put(root, { "d/sub": `-> ${here}/outside`, "e/link": `-> ${here}/outside/secret` });
    await expect(copy("/d", ["d"])).rejects.toMatchObject({
      kind: "invalid",
      message: "cannot copy to non-directory: /d/sub",
    });
    await copy("/e", ["e"]);
    expect(tree(`${root}/e`)).toEqual({ link: "file" });
    expect(tree(`${here}/outside`)).toEqual({ secret: "not yours" });
  });

  it("refuses a file in the place of a directory, and the other way round", async () => {
    put(context, { "d/x": "file", "e/y/z": "z", "f": "f" });
    put(root, { "d/x/inside": "1", "e/y": "file", "f": "old" });
    await expect(copy("/d", ["d"])).rejects.toMatchObject({
      message: "cannot replace to directory /d/x with file",
    });
    await expect(copy("/e", ["e"])).rejects.toMatchObject({ message: "cannot copy to non-directory: /e/y" });
    await expect(copy("/f", ["e"])).rejects.toMatchObject({ message: "cannot copy to non-directory: /f" });
    await expect(copy("/f/", ["f"])).rejects.toMatchObject({ message: "mkdir /f: not a directory" });
    await copy("/f", ["f"]);
    expect(tree(root)["f"]).toBe("f");
  });

  it("never leaves the context", async () => {
    put(context, {
      "abs": `-> ${here}/outside/secret`,
      "up": "-> ../../../../../../etc/passwd",
      "d/dir": `-> ${here}/outside`,
      "loop": "-> loop",
      "a": "-> b",
      "b": "-> a",
    });
    for (const name of ["abs", "up", "d/dir/secret"]) {
      await expect(copy("/x", [name])).rejects.toMatchObject({ message: `"/${name}": not found` });
      await expect(digest([name])).rejects.toMatchObject({ message: `"/${name}": not found` });
    }
    for (const name of ["loop", "a"]) {
      await expect(copy("/x", [name])).rejects.toMatchObject({
        kind: "invalid",
        message: expect.stringContaining("too many levels of symbolic links"),
      });
    }
    await copy("/d", ["d"]);
    expect(tree(root)).toEqual({ d: "/", "d/dir": `-> ${here}/outside` });
  });

  it("takes names of any bytes, and FIFOs without waiting for them", async () => {
    const odd = "line\nbreak \udcff\udcfe \u{1f600}";
    kernel.mkdir(`${context}/d`, 0o755);
    kernel.close(kernel.open(`${context}/d/${odd}`, 0o101, 0o644));
    kernel.mknod(`${context}/d/fifo`, S_IFIFO | 0o640, 0n);
    const listener = kernel.unixListen(`${context}/d/socket`, 1, 0o600);
    kernel.close(listener);
    const before = await digest(["d"]);
    await copy("/d", ["d"]);
    const fd = kernel.open(`${root}/d`, 0o200000);
    expect(kernel.readDirectory(fd).sort()).toEqual(["fifo", odd].sort());
    kernel.close(fd);
    expect(lstat("d/fifo").mode).toBe(S_IFIFO | 0o640);
    kernel.rename(`${context}/d/${odd}`, `${context}/d/${odd.replace("\udcff", "\udcfd")}`);
    expect(await digest(["d"])).not.toBe(before);
  });

  it("never leaves a context that is swapped while it is read", async () => {
    put(context, { "d/secret": "mine", "d/sub/secret": "mine", "file": "mine", "links/x": "-> .." });
    // relative: the thread has another root, but its working directory is the context
    Deno.symlinkSync("../outside", `${context}/out`);
    Deno.symlinkSync("../outside/secret", `${context}/leak`);
    Deno.mkdirSync(`${here}/outside/sub`);
    Deno.writeTextFileSync(`${here}/outside/sub/secret`, "not yours");
    const swaps =
      "while :; do mv -T d t; mv -T out d; mv -T t out; mv -T file u; mv -T leak file; mv -T u leak; done";
    const swapping = new Deno.Command("sh", { args: ["-c", swaps], cwd: context, stderr: "null" }).spawn();
    try {
      let copied = 0;
      for (let n = 0; n < 100; n++) {
        for (const pattern of ["d", "file", "d/sub", "*"]) {
          await copy(`/${n}/`, [pattern]).then(
            () => copied++,
            (error) => expect(error).toBeInstanceOf(Error),
          );
        }
      }
      expect(copied).toBeGreaterThan(0);
    } finally {
      swapping.kill("SIGKILL");
      await swapping.status;
    }
    const content = (path: string) => Deno.lstatSync(path).isFile ? Deno.readTextFileSync(path) : "";
    const files = (dir: string): string[] =>
      [...Deno.readDirSync(dir)].flatMap(({ name, isDirectory }) =>
        isDirectory ? files(`${dir}/${name}`) : [content(`${dir}/${name}`)]
      );
    expect(files(root).filter((text) => text.includes("not yours"))).toEqual([]);
    expect(files(root)).toContain("mine");
  });

  it("keeps times and modes, and makes everything root's", async () => {
    put(context, { "d/sub/f": "f" });
    for (const path of ["d/sub/f", "d/sub", "d"]) kernel.lchown(`${context}/${path}`, 1000, 1000);
    kernel.chmod(`${context}/d/sub/f`, 0o4751);
    kernel.chmod(`${context}/d/sub`, 0o2700);
    kernel.lutimes(`${context}/d/sub/f`, [5, 0], [1_000_000_000, 123]);
    kernel.lutimes(`${context}/d/sub`, [5, 0], [1_000_000_001, 0]);
    put(root, { "there/old": "1" });
    kernel.lutimes(`${root}/there`, [5, 0], [7, 8]);
    await copy("/there/d/", ["d"]);
    await copy("/there/", ["d/sub/f"]);
    expect(lstat("there/d/sub/f")).toMatchObject({ uid: 0, gid: 0, mtimeSec: 1_000_000_000, mtimeNsec: 123 });
    expect(lstat("there/d/sub")).toMatchObject({ uid: 0, gid: 0, mtimeSec: 1_000_000_001 });
    expect([perms("there/d/sub/f"), perms("there/d/sub"), perms("there/d")]).toEqual(["4751", "2700", "755"]);
    // a directory that was there keeps its time
    expect(lstat("there")).toMatchObject({ mtimeSec: 7, mtimeNsec: 8 });
    await copy("/late/", ["d"], {}, { epoch: 1_000_000_000 });
    expect(lstat("late/sub").mtimeSec).toBe(1_000_000_000);
    expect(lstat("late").mtimeSec).toBe(1_000_000_000);
  });

  it("keeps owners of a stage's files, hard links, holes and attributes", async () => {
    const stage = `${here}/stage`;
    put(stage, { "d/f": "same", "d/capable": "c" });
    kernel.link(`${stage}/d/f`, `${stage}/d/g`);
    kernel.lchown(`${stage}/d/f`, 1000, 2000);
    kernel.lsetxattr(`${stage}/d/capable`, "user.note", new TextEncoder().encode("hello"));
    const sparse = Deno.openSync(`${stage}/d/sparse`, { create: true, write: true });
    sparse.writeSync(new TextEncoder().encode("begin"));
    sparse.seekSync(8 * 1024 * 1024, Deno.SeekMode.Start);
    sparse.writeSync(new TextEncoder().encode("end"));
    sparse.close();
    const from = {
      kind: "rootfs",
      at: here,
      rootfs: { kind: "directory", path: stage },
      mounts: [],
    } as const;
    await copy("/d", ["d"], { tree: from });
    expect(lstat("d/f")).toMatchObject({ uid: 1000, gid: 2000, nlink: 2 });
    expect(lstat("d/g").ino).toBe(lstat("d/f").ino);
    expect(kernel.lgetxattr(`${root}/d/capable`, "user.note")).toEqual(new TextEncoder().encode("hello"));
    const copied = Deno.readFileSync(`${root}/d/sparse`);
    expect(copied).toEqual(Deno.readFileSync(`${stage}/d/sparse`));
    expect(Deno.statSync(`${root}/d/sparse`).blocks).toBeLessThan(1000);
  });

  it("reads a stage through its layers", async () => {
    put(here, { "l1/etc/a": "1", "l1/etc/b": "1", "l2/etc/b": "2", "at": "/" });
    const lower = [`${here}/l2`, `${here}/l1`];
    const from = {
      kind: "rootfs",
      at: `${here}/at`,
      rootfs: { kind: "overlay", overlay: { lower, options: [] } },
      mounts: [],
    } as const;
    await copy("/", ["etc"], { tree: from });
    expect(tree(root)).toEqual({ a: "1", b: "2" });
    expect(await digest(["etc"], { tree: from })).not.toBe(await digest(["etc/a"], { tree: from }));
    expect(Deno.readTextFileSync("/proc/self/mounts")).not.toContain(`${here}/at`);
  });

  it.each<[string, number, number]>([
    ["app", 500, 501],
    ["app:staff", 500, 50],
    ["7", 7, 7],
    ["7:8", 7, 8],
    ["7:staff", 7, 50],
  ])("gives everything to --chown=%s", async (chown, uid, gid) => {
    put(context, { "d/f": "f", "d/link": "-> f" });
    put(root, { "etc/passwd": "app:x:500:501::/:/bin/sh\n", "etc/group": "staff:x:50:\n" });
    await copy("/new/d", ["d"], {}, { chown });
    for (const path of ["new", "new/d", "new/d/f", "new/d/link"]) {
      expect(lstat(path)).toMatchObject({ uid, gid });
    }
  });

  it("says whom it does not know", async () => {
    put(context, { f: "f" });
    await expect(copy("/f", ["f"], {}, { chown: "nobody-here" })).rejects.toMatchObject({
      kind: "invalid",
      message: "unable to find user nobody-here: no matching entries in passwd file",
    });
    kernel.mkdir(`${root}/etc`, 0o755);
    kernel.mknod(`${root}/etc/passwd`, S_IFIFO | 0o644, 0n);
    await expect(copy("/f", ["f"], {}, { chown: "x" })).rejects.toMatchObject({ kind: "invalid" });
  });

  it("sets modes, octal and symbolic", async () => {
    put(context, { "d/sub/run": "#!", "d/plain": "" });
    kernel.chmod(`${context}/d/sub/run`, 0o700);
    kernel.chmod(`${context}/d/plain`, 0o600);
    kernel.chmod(`${context}/d/sub`, 0o700);
    await copy("/a", ["d"], {}, { chmod: "640" });
    expect([perms("a"), perms("a/sub"), perms("a/sub/run"), perms("a/plain")]).toEqual([
      "755",
      "640",
      "640",
      "640",
    ]);
    await copy("/b", ["d"], {}, { chmod: "go=u,go-w" });
    expect([perms("b/sub"), perms("b/sub/run"), perms("b/plain")]).toEqual(["755", "755", "644"]);
    await expect(copy("/c", ["d"], {}, { chmod: "9" })).rejects.toMatchObject({ kind: "invalid" });
  });

  it("makes inline files and directories", async () => {
    const sources: CopySource[] = [
      { kind: "inline", name: "one", content: "1\n" },
      { kind: "inline", name: "two", content: "" },
    ];
    const result = await copyFiles(threads, view(), "/etc/d/", sources, PLAIN);
    expect(result).toEqual({ entries: 4, bytes: 2 });
    expect(tree(root)).toEqual({ etc: "/", "etc/d": "/", "etc/d/one": "1\n", "etc/d/two": "" });
    expect(perms("etc/d/one")).toBe("644");
    const made = () => makeDirectory(threads, view(), "/srv/app", { ...PLAIN, chown: "5:6" });
    expect(await made()).toEqual({ entries: 2, bytes: 0 });
    expect(await made()).toEqual({ entries: 0, bytes: 0 });
    expect(lstat("srv/app")).toMatchObject({ uid: 5, gid: 6 });
    put(root, { file: "f" });
    await expect(makeDirectory(threads, view(), "/file/x", PLAIN)).rejects.toMatchObject({ kind: "invalid" });
  });

  const archiveOf = (...items: (TarEntryInput & { data?: Uint8Array })[]) => tarArchive(items);
  const text = (value: string) => new TextEncoder().encode(value);

  async function add(dest: string, patterns: readonly string[], options: Partial<CopyOptions> = {}) {
    const source: CopySource = { kind: "files", ...select(patterns), unpack: "auto" };
    return await copyFiles(threads, view(), dest, [source], { ...PLAIN, ...options });
  }

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ["nothing", (bytes) => bytes],
    ["gzip", gzipSync],
    ["zstd", zstdCompressSync],
    ["bzip2", (bytes) => pack("bzip2", bytes)],
    ["xz", (bytes) => pack("xz", bytes)],
  ])("ADD unpacks archives compressed by %s", async (_, compress) => {
    const archive = archiveOf(
      { name: "./", type: "directory", mode: 0o700 },
      { name: "etc/", type: "directory", uid: 3, gid: 4 },
      { name: "etc/conf", uid: 3, gid: 4, mode: 0o4640, size: 2, mtime: [1000, 0], data: text("hi") },
      { name: ".wh.x", data: text("a name") },
    );
    put(context, { "a-first": "1", "z-last": "2" });
    Deno.writeFileSync(`${context}/m.tar`, compress(archive));
    put(root, { "dest/etc/old": "stays", "to": "-> dest" });
    await add("/to/", ["*"]);
    expect(tree(`${root}/dest`)).toEqual({
      ".wh.x": "a name",
      "a-first": "1",
      "etc": "/",
      "etc/conf": "hi",
      "etc/old": "stays",
      "z-last": "2",
    });
    expect(lstat("dest/etc/conf")).toMatchObject({ uid: 3, gid: 4, mtimeSec: 1000 });
    expect([perms("dest/etc/conf"), perms("dest")]).toEqual(["4640", "700"]);
  });

  it("ADD copies what only looks like an archive", async () => {
    const files: Record<string, Uint8Array> = {
      "text.gz": gzipSync(text("no archive\n".repeat(100))),
      "cut.gz": gzipSync(archiveOf({ name: "f" })).subarray(0, 30),
      "BZh": text("BZh is how this text begins"),
      "empty": new Uint8Array(0),
      "empty.tar": TAR_END,
      "zeros": new Uint8Array(100_000),
    };
    for (const [name, bytes] of Object.entries(files)) Deno.writeFileSync(`${context}/${name}`, bytes);
    await add("/d/", ["*"]);
    for (const [name, bytes] of Object.entries(files)) {
      expect(Deno.readFileSync(`${root}/d/${name}`).toHex()).toBe(new Uint8Array(bytes).toHex());
    }
  });

  it("ADD refuses an archive that grows out of all proportion", async () => {
    // a volume's name of 3 GiB, which is passed over: nothing of it comes to the disk
    const volume = patched(tarHeader({ name: "v", size: 3 * 1024 ** 3 }), [156, text("V")]);
    const zeros = gzipSync(new Uint8Array(64 * 1024 * 1024));
    const head = gzipSync(concat([tarHeader({ name: "f", size: 0 }), volume]));
    const pieces = Array.from({ length: 48 }, () => zeros);
    Deno.writeFileSync(`${context}/bomb.tgz`, concat([head, ...pieces, gzipSync(TAR_END)]));
    await expect(add("/d/", ["bomb.tgz"])).rejects.toThrow(/grows more than/);
  });

  it("ADD never unpacks outside of the destination", async () => {
    const victim = `${here}/outside/secret`;
    for (
      const [name, archive] of [
        ["up", archiveOf({ name: "../../outside/secret", data: text("x") })],
        [
          "link",
          archiveOf({ name: "l", type: "symlink", linkName: `${here}/outside` }, {
            name: "l/secret",
            data: text("x"),
          }),
        ],
        ["hard", archiveOf({ name: "h", type: "hardlink", linkName: victim })],
      ] as const
    ) {
      Deno.writeFileSync(`${context}/${name}.tar`, archive);
      await add(`/${name}/`, [`${name}.tar`]).catch((error) => expect(error).toBeInstanceOf(Error));
      expect(Deno.readTextFileSync(victim)).toBe("not yours");
    }
  });

  function pack(program: string, bytes: Uint8Array): Uint8Array {
    const path = `${here}/packed`;
    Deno.writeFileSync(path, bytes);
    const { success, stdout } = new Deno.Command(program, { args: ["-c", path], stdout: "piped" })
      .outputSync();
    expect(success).toBe(true);
    return stdout;
  }

  it("stops when it is told to", async () => {
    for (let n = 0; n < 50; n++) put(context, { [`d/${n}`]: "x" });
    const controller = new AbortController();
    const digesting = digestFiles(threads, select(["d"]), controller.signal);
    controller.abort();
    // it may have been quicker
    await digesting.catch((error) => expect(error).toMatchObject({ name: "AbortError" }));
    await expect(digestFiles(threads, select(["d"]), controller.signal)).rejects.toMatchObject({
      name: "AbortError",
    });
  });

  it.each<[string, boolean, () => void]>([
    ["touched", false, () => kernel.lutimes(`${context}/d/f`, [1, 0], [1, 0])],
    ["owned by somebody else", false, () => kernel.lchown(`${context}/d/f`, 1, 1)],
    ["written anew", true, () => Deno.writeTextFileSync(`${context}/d/f`, "other")],
    ["of another mode", true, () => kernel.chmod(`${context}/d/f`, 0o755)],
    ["renamed", true, () => Deno.renameSync(`${context}/d/f`, `${context}/d/g`)],
    ["gone", true, () => Deno.removeSync(`${context}/d/f`)],
    ["with a directory more", true, () => Deno.mkdirSync(`${context}/d/new`)],
    ["with a link that leads elsewhere", true, () => {
      Deno.removeSync(`${context}/d/l`);
      Deno.symlinkSync("elsewhere", `${context}/d/l`);
    }],
    [
      "with another attribute",
      true,
      () => kernel.lsetxattr(`${context}/d/f`, "user.x", new TextEncoder().encode("1")),
    ],
    ["beside another", false, () => put(context, { other: "1" })],
    ["of a directory with another mode", false, () => kernel.chmod(`${context}/d`, 0o700)],
  ])("digest of a directory %s: differs %j", async (_, differs, change) => {
    put(context, { "d/f": "content", "d/l": "-> f", "d/sub/x": "1" });
    const before = await digest(["d"]);
    expect(await digest(["d"])).toBe(before);
    change();
    const after = await digest(["d"]);
    expect(after !== before).toBe(differs);
  });

  it("digests owners of a stage's files", async () => {
    put(context, { f: "1" });
    const from = {
      kind: "rootfs",
      at: here,
      rootfs: { kind: "directory", path: context },
      mounts: [],
    } as const;
    const before = await digest(["f"], { tree: from });
    kernel.lchown(`${context}/f`, 1, 1);
    expect(await digest(["f"], { tree: from })).not.toBe(before);
  });
});
