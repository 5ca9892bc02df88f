/** Contexts of which only the changes are sent: the client's walk and archive, the engine's comparison, the thread that unpacks. */
import { afterAll, beforeEach, expect, it } from "vitest";
import { listed, walkContext } from "../../cli/build/walk.ts";
import { packEntries } from "../../cli/build/pack.ts";
import { KeptContexts } from "../../engine/build/kept_contexts.ts";
import type { ContextFile } from "../../engine/build/types.ts";
import { updateContext } from "../../fs/build_context.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { TAR_END, tarHeader } from "../../fs/tar/mod.ts";
import { UnpackPool } from "../../fs/unpack.ts";
import { describeWith, ROOT } from "../support/needs.ts";
import { testDir } from "../support/users.ts";

/** Far enough from now that files count as settled. */
const LATER = 60_000;

// chroot
describeWith(ROOT)("KeptContexts", () => {
  const base = Deno.makeTempDirSync({ dir: testDir(), prefix: "kept-context-" });
  const pool = new UnpackPool(1);
  const { signal } = new AbortController();
  let counter = 0;
  let source = "";
  let contexts: KeptContexts;
  const directories = new Set<string>();

  beforeEach(() => {
    source = `${base}/${counter++}`;
    Deno.mkdirSync(source);
    directories.clear();
    contexts = new KeptContexts({
      newDirectory() {
        const path = `${base}/${counter++}`;
        Deno.mkdirSync(path);
        directories.add(path);
        return {
          path,
          dispose: () => {
            directories.delete(path);
            Deno.removeSync(path, { recursive: true });
          },
        };
      },
      unpack: (directory, remove, archive, signal) =>
        updateContext(pool, directory, remove, archive, { signal }),
    });
  });
  afterAll(async () => {
    pool.close();
    await removeTree(base);
  });

  /** One build: what was sent for it, the name of the content, the files that the engine has. */
  async function send(now = Date.now() + LATER, while_: (path: string) => void = () => {}) {
    const entries = [...walkContext(source, undefined)];
    const files = entries.map((entry) => listed(entry, now)).map(([path, state]) => ({ path, state }));
    using update = contexts.open("host:/src", files);
    while_(update.path);
    const wanted = update.wanted.flatMap((index) => entries[index] ?? []);
    const content = await update.receive(packEntries(source, wanted), signal);
    const tree = treeOf(update.path);
    nextMillisecond();
    return { sent: wanted.map(({ path }) => path), content, tree };
  }

  /** What is written from now on has times of its own, as files that have settled have: the file system's clock has gone on. */
  function nextMillisecond(): void {
    const probe = `${base}/clock`;
    const look = () => {
      Deno.writeTextFileSync(probe, "");
      return Deno.lstatSync(probe).mtime?.getTime() ?? 0;
    };
    for (const before = look(); look() <= before;);
  }

  /** Everything that a COPY would take, times included; those of links are their own. */
  function treeOf(root: string): string[] {
    return [...walkContext(root, undefined)].map(({ path, info, sameAs }) => {
      const { mode, mtime } = info;
      const seconds = Math.floor((mtime?.getTime() ?? 0) / 1000);
      const detail = info.isFile
        ? Deno.readFileSync(`${root}/${path}`).toHex()
        : info.isSymlink
        ? Deno.readLinkSync(`${root}/${path}`)
        : "";
      return [path, mode?.toString(8), seconds, sameAs ?? "", detail].join(" ");
    });
  }

  const write = (path: string, text: string) => Deno.writeTextFileSync(`${source}/${path}`, text);

  it("asks for what has changed, and for the directories around it", async () => {
    Deno.mkdirSync(`${source}/d`);
    for (const name of ["a", "b", "d/c", "d/e"]) write(name, name);
    const first = await send();
    expect(first.sent).toEqual(["a", "b", "d", "d/c", "d/e"]);
    expect(await send()).toEqual({ ...first, sent: [] });
    write("d/c", "other");
    const changed = await send();
    expect(changed.sent).toEqual(["d", "d/c"]);
    expect(changed.content).not.toBe(first.content);
    Deno.removeSync(`${source}/a`);
    expect((await send()).sent).toEqual([]);
    expect(directories.size).toBe(1);
  });

  it("names the same files the same, whatever their times and wherever they come from", async () => {
    write("a", "text");
    const first = await send();
    Deno.utimeSync(`${source}/a`, 1000, 1000);
    const touched = await send();
    expect(touched).toMatchObject({ sent: ["a"], content: first.content });
    write("a", "texT");
    expect((await send()).content).not.toBe(first.content);
    write("a", "text");
    Deno.chmodSync(`${source}/a`, 0o600);
    expect((await send()).content).not.toBe(first.content);
  });

  it("does not rely on the times of a file that has just been written", async () => {
    write("a", "one");
    await send(Date.now());
    expect((await send(Date.now())).sent).toEqual(["a"]);
    expect((await send()).sent).toEqual(["a"]);
    expect((await send()).sent).toEqual([]);
  });

  it("has what the client has after any changes", async () => {
    // a generator with a seed: a failure comes again
    let seed = 7;
    const random = (below: number) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % below;
    const names = ["a", "b", "c", "d", "a/x", "a/y", "b/x", "b/x/z", "d/link"];
    const change = (path: string) => {
      const absolute = `${source}/${path}`;
      const attempt = [
        () => Deno.writeTextFileSync(absolute, String(random(1000))),
        () => Deno.mkdirSync(absolute),
        () => Deno.removeSync(absolute, { recursive: true }),
        () => Deno.symlinkSync(`../${names[random(names.length)]}`, absolute),
        () => Deno.chmodSync(absolute, [0o600, 0o755, 0o4711][random(3)] ?? 0),
        () => Deno.linkSync(`${source}/${names[random(names.length)]}`, absolute),
        () => Deno.renameSync(absolute, `${source}/${names[random(names.length)]}`),
        () => Deno.utimeSync(absolute, random(10_000), random(10_000)),
      ][random(8)];
      try {
        attempt?.();
      } catch {
        // it does not exist, or does already
      }
    };
    const contents = new Map<string, string>();
    for (let round = 0; round < 150; round++) {
      for (let count = random(6); count >= 0; count--) change(names[random(names.length)] ?? "");
      const { content, tree } = await send();
      expect(tree, `round ${round}`).toEqual(treeOf(source));
      const withoutTimes = JSON.stringify(tree.map((line) => line.replace(/^(\S+ \S+) \S+/, "$1")));
      expect(contents.get(content) ?? withoutTimes).toBe(withoutTimes);
      contents.set(content, withoutTimes);
    }
    expect(contents.size).toBeGreaterThan(50);
    expect(directories.size).toBe(1);
  });

  it("never changes files that another build reads", async () => {
    write("a", "one");
    await send();
    const files = [...walkContext(source, undefined)].map((entry) => listed(entry, Date.now() + LATER));
    using reader = contexts.open("host:/src", files.map(([path, state]) => ({ path, state })));
    expect(reader.wanted).toEqual([]);
    const before = treeOf(reader.path);
    write("a", "two");
    expect((await send()).tree).not.toEqual(before);
    expect(treeOf(reader.path)).toEqual(before);
    expect(directories.size).toBe(2);
    reader[Symbol.dispose]();
    expect(directories.size).toBe(1);
  });

  it("keeps nothing of a change that fails", async () => {
    write("a", "one");
    await send();
    write("a", "two");
    const broken = async () => {
      using update = contexts.open("host:/src", [{ path: "a", state: "changed" }]);
      await update.receive(new Blob(["no archive".repeat(100)]).stream(), signal);
    };
    await expect(broken()).rejects.toThrow();
    expect(directories.size).toBe(0);
    expect((await send()).sent).toEqual(["a"]);
  });

  it("leaves out what has gone since it was listed", async () => {
    write("a", "one");
    write("b", "two");
    await send();
    write("a", "changed");
    const { tree } = await send(undefined, () => Deno.removeSync(`${source}/a`));
    expect(tree.map((line) => line.split(" ")[0])).toEqual(["b"]);
  });

  it.each<[string, readonly string[]]>([
    ["a path that leads out", ["../a"]],
    ["an absolute path", ["/a"]],
    ["a path that is not clean", ["a/./b"]],
    ["the root", ["."]],
    ["the same twice", ["a", "a"]],
    ["a file without its directory", ["a/b"]],
    ["an empty name", [""]],
  ])("refuses a list with %s", (_, paths) => {
    const files: ContextFile[] = paths.map((path) => ({ path, state: "1" }));
    expect(() => contexts.open("host:/src", files)).toThrow(/list of the build context's files|archive/);
    expect(directories.size).toBe(0);
  });

  it("refuses an archive of what was not asked for", async () => {
    const receive = async (name: string) => {
      using update = contexts.open("host:/src", [{ path: "a", state: name }]);
      const archive = [tarHeader({ name, size: 0 }), TAR_END];
      await update.receive(new Blob(archive.map((part) => Uint8Array.from(part))).stream(), signal);
    };
    await receive("a");
    await expect(receive("b")).rejects.toThrow('holds "/b", which was not asked for');
    expect(directories.size).toBeLessThan(2);
  });
});
