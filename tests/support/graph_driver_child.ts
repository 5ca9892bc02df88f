/**
 * The conformance suite of graph drivers, run in a mount namespace of its own:
 *
 *     graph_driver_child.ts DRIVER ROOT
 *
 * Prints one JSON object: the name of each check, and null or what went wrong. With LAYERS (JSON) behind it, it makes
 * and removes containers until it is killed.
 */
import { DatabaseSync } from "node:sqlite";
import { kernel } from "../../ffi/kernel.ts";
import { MNT_DETACH } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { GraphDriver, LayerRef } from "../../fs/graph_driver.ts";
import { mountedAt } from "../../fs/mount_table.ts";
import { SLOWNESS } from "./processes.ts";
import { identify } from "../../base/process_identity.ts";
import { mappedIds, probeGraphDriver } from "../../fs/probe.ts";
import { tarArchive, type TarEntryInput } from "../../fs/tar/mod.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { UnpackPool } from "../../fs/unpack.ts";
import { mountOverlay, openOverlay } from "../../runtime/init_overlay.ts";

const [name = "", root = "", crash] = Deno.args;
const text = (value: string) => new TextEncoder().encode(value);
type Item = TarEntryInput & { data?: Uint8Array };
const file = (path: string, content = path): Item => ({ name: path, data: text(content) });
const dir = (path: string, mode = 0o755): Item => ({ name: path, type: "directory", mode });

const { driver } = await probeGraphDriver({ root, forced: name });
if (crash !== undefined) await churn(JSON.parse(crash) as LayerRef[]);
using pool = new UnpackPool(2);
let counter = 0;

/** What an engine does all day, until somebody kills it. */
async function churn(layers: LayerRef[]): Promise<never> {
  console.log("ready");
  for (let i = 0;; i = (i + 1) % 4) {
    await driver.create(`k${i}`, layers);
    await driver.acquire(`k${i}`, layers);
    await driver.release(`k${i}`);
    await driver.remove(`k${(i + 1) % 4}`);
    // Lets what was removed go.
    await new Promise((resolve) => setTimeout(resolve));
  }
}

async function layer(items: Item[]): Promise<LayerRef> {
  const chainId = `sha256:${(++counter).toString(16).padStart(4, "0").padEnd(64, "f")}`;
  const path = `${root}/layers/${chainId.slice(7)}/diff`;
  Deno.mkdirSync(path, { recursive: true });
  Deno.chmodSync(path, 0o755);
  const bytes = tarArchive(items);
  const stream = (async function* () {
    yield bytes;
  })();
  await pool.unpack({ source: { stream }, dir: path, whiteouts: driver.whiteouts });
  return { chainId, dir: path };
}

/** Mounts as a container's init would. */
async function mounted(
  id: string,
  layers: LayerRef[],
  use: (path: string) => void | Promise<void>,
): Promise<void> {
  const spec = await driver.acquire(id, layers);
  let path = "";
  if (spec.kind === "directory") path = spec.path;
  else {
    path = `${root}/mnt-${id}`;
    Deno.mkdirSync(path, { recursive: true });
    mountOverlay(kernel, openOverlay(kernel, spec.overlay), path, 0);
  }
  try {
    await use(path);
  } finally {
    if (spec.kind === "overlay") kernel.umount2(path, MNT_DETACH);
    await driver.release(id);
  }
}

function equal(actual: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`got ${a}, wanted ${b}`);
}

function sh(cwd: string, script: string): string {
  const result = new Deno.Command("sh", {
    args: ["-ec", script],
    cwd,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  })
    .outputSync();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!result.success) throw new Error(`${script}: ${decode(result.stderr)}`);
  return decode(result.stdout);
}

const base = await layer([
  dir(".", 0o755),
  dir("d"),
  file("d/old"),
  dir("e", 0o1777),
  file("e/keep"),
  file("gone"),
  file("replaced", "below"),
  dir("tree"),
  dir("tree/sub"),
  file("tree/sub/leaf"),
  { name: "link", type: "symlink", linkName: "d/old" },
]);
const middle = await layer([
  file(".wh.gone", ""),
  dir("d"),
  file("d/.wh..wh..opq", ""),
  file("d/new"),
  file("replaced", "above"),
  file("tree/.wh.sub", ""),
  file("back", "x"),
]);
const top = await layer([dir("tree"), dir("tree/sub"), file("tree/sub/other")]);
const layers = [top, middle, base];
const find = "find . -mindepth 1 ! -type d | sort | tr '\\n' ' '";

const checks: Record<string, () => Promise<void>> = {
  "merges layers, hides what whiteouts and opaque directories hide": () =>
    mounted("c1", layers, (path) => {
      equal(sh(path, find), "./back ./d/new ./e/keep ./link ./replaced ./tree/sub/other ");
      equal(Deno.readTextFileSync(`${path}/replaced`), "above");
      equal(kernel.stat(`${path}/e`, false).mode & 0o7777, 0o1777);
      equal(kernel.stat(path, false).mode & 0o7777, 0o755);
    }),

  "writes into the container's layer only, and keeps it between mounts": async () => {
    await mounted("c2", layers, (path) => {
      sh(
        path,
        "echo more >> replaced; rm e/keep; rmdir e; mkdir e; echo n > e/n; mv back moved; mv tree tree2; rm -r d",
      );
    });
    await mounted("c2", layers, (path) => {
      equal(sh(path, find), "./e/n ./link ./moved ./replaced ./tree2/sub/other ");
      equal(Deno.readTextFileSync(`${path}/replaced`), "abovemore\n");
    });
    equal(Deno.readTextFileSync(`${middle.dir}/replaced`), "above");
    equal(Deno.readTextFileSync(`${base.dir}/e/keep`), "e/keep");
  },

  "has hard links, extended attributes, modes, times and fifos": () =>
    mounted("c3", layers, (path) => {
      sh(path, "ln replaced hard; mkfifo p; chmod 4755 replaced; touch -d @1000000000 hard");
      equal(kernel.stat(`${path}/hard`, false).nlink, 2);
      equal(kernel.stat(`${path}/hard`, false).mtimeSec, 1_000_000_000);
      equal(kernel.stat(`${path}/replaced`, false).mode & 0o7777, 0o4755);
      kernel.lsetxattr(`${path}/d/new`, "user.note", text("hi"));
      equal([...kernel.lgetxattr(`${path}/d/new`, "user.note") ?? []], [...text("hi")]);
    }),

  "gives files to other users, also ones of a lower layer": () =>
    mounted("c4", layers, (path) => {
      if (mappedIds() < 2) return;
      kernel.lchown(`${path}/replaced`, 33, 44);
      equal([kernel.stat(`${path}/replaced`, false).uid, kernel.stat(`${path}/replaced`, false).gid], [
        33,
        44,
      ]);
      equal(kernel.stat(`${middle.dir}/replaced`, false).uid, 0);
    }),

  "renames files and directories of any layer, and keeps what was opened": () =>
    mounted("c10", layers, (path) => {
      using open = Deno.openSync(`${path}/replaced`);
      kernel.rename(`${path}/back`, `${path}/replaced`);
      const buffer = new Uint8Array(16);
      equal(new TextDecoder().decode(buffer.subarray(0, open.readSync(buffer) ?? 0)), "above");
      equal(Deno.readTextFileSync(`${path}/replaced`), "x");
      // rename(2) of a directory below is EXDEV on overlay, and mv copies
      sh(path, "mv d/new e/newer; mv tree d/tree; mv link e/; mkdir fresh; mv fresh e/fresh");
      equal(sh(path, find), "./d/tree/sub/other ./e/keep ./e/link ./e/newer ./replaced ");
      equal(kernel.readlink(`${path}/e/link`), "d/old");
    }),

  "maps files into memory, shared between processes": () =>
    mounted("c11", layers, (path) => {
      // SQLite's write-ahead log has an index that its users share by mmap
      const first = new DatabaseSync(`${path}/db`), second = new DatabaseSync(`${path}/db`);
      equal(first.prepare("PRAGMA journal_mode = WAL").get(), { journal_mode: "wal" });
      first.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
      equal(second.prepare("SELECT x FROM t").get(), { x: 1 });
      second.exec("UPDATE t SET x = 2");
      equal(first.prepare("SELECT x FROM t").get(), { x: 2 });
      equal(kernel.stat(`${path}/db-shm`, false).size > 0, true);
      first.close();
      second.close();
    }),

  "keeps holes, large files and names of any bytes": async () => {
    const names = ["a\nb", "emoji 🐢", "comma,colon:", "b\udcff\udc80"];
    const strange = await layer(names.map((item) => file(item)));
    const sparse = `${strange.dir}/sparse`;
    {
      using made = Deno.openSync(sparse, { write: true, createNew: true });
      made.seekSync(3_000_000_000, Deno.SeekMode.Start);
      made.writeSync(text("end"));
      made.truncateSync(4_000_000_000);
    }
    await mounted("c12", [strange, base], (path) => {
      for (const item of names) equal(kernel.stat(`${path}/${item}`, false).size > 0, true);
      equal(kernel.stat(`${path}/sparse`, false).size, 4_000_000_000);
      using copy = Deno.openSync(`${path}/sparse`);
      copy.seekSync(3_000_000_000, Deno.SeekMode.Start);
      const buffer = new Uint8Array(4);
      copy.readSync(buffer);
      equal([...buffer], [...text("end"), 0]);
      const blocks = Deno.lstatSync(`${path}/sparse`).blocks ?? 0;
      if (blocks > 1000) throw new Error(`the sparse file takes ${blocks} blocks`);
    });
    Deno.removeSync(sparse);
  },

  "keeps links, capabilities and attributes of a layer": async () => {
    const capability = new Uint8Array(20);
    capability.set([1, 0, 0, 2, 0, 4]);
    const linked = await layer([
      { ...file("one"), xattrs: new Map([["user.a", text("1")], ["security.capability", capability]]) },
      { name: "two", type: "hardlink", linkName: "one" },
      { ...dir("owned", 0o2750), ...(mappedIds() > 1 ? { uid: 7, gid: 8 } : {}), mtime: [1e9, 5] },
      file("owned/x"),
    ]);
    await mounted("c13", [linked, base], (path) => {
      const [one, two] = ["one", "two"].map((item) => kernel.stat(`${path}/${item}`, false));
      equal([one?.nlink, one?.ino === two?.ino], [2, true]);
      equal([...kernel.lgetxattr(`${path}/one`, "user.a") ?? []], [...text("1")]);
      // fuse-overlayfs answers it in a form of its own
      if (name !== "fuse-overlayfs") {
        equal(kernel.lgetxattr(`${path}/one`, "security.capability")?.[5], 4);
      }
      const owned = kernel.stat(`${path}/owned`, false);
      equal([owned.mode & 0o7777, owned.mtimeSec, owned.mtimeNsec], [0o2750, 1e9, 5]);
      if (mappedIds() > 1) equal([owned.uid, owned.gid], [7, 8]);
      equal(kernel.stat(`${path}/owned/x`, false).gid, 0);
      sh(path, "echo more >> two");
      equal(Deno.readTextFileSync(`${linked.dir}/one`), "one");
    });
  },

  "has 64 containers of one image at once, none of which sees another's files": async () => {
    const ids = Array.from({ length: 64 }, (_, i) => `m${i}`);
    await Promise.all(ids.map((id) => driver.create(id, layers)));
    const nest = async (rest: string[], paths: string[]): Promise<void> => {
      const [id, ...others] = rest;
      if (id !== undefined) return await mounted(id, layers, (path) => nest(others, [...paths, path]));
      for (const [i, path] of paths.entries()) Deno.writeTextFileSync(`${path}/replaced`, String(i));
      for (const [i, path] of paths.entries()) equal(Deno.readTextFileSync(`${path}/replaced`), String(i));
    };
    // 64 processes are too many for a quick test
    await nest(name === "fuse-overlayfs" ? ids.slice(0, 16) : ids, []);
    await Promise.all(ids.map((id) => driver.remove(id)));
    equal(Deno.readTextFileSync(`${middle.dir}/replaced`), "above");
  },

  "is whole after its process was killed at any moment": async () => {
    const args = ["run", "-A", "--quiet", "--no-lock", import.meta.filename ?? "", name, root];
    const config = Deno.env.get("BERTH_TEST_CONFIG");
    if (config) args.splice(2, 0, `--config=${config}`);
    for (let round = 0; round < 6; round++) {
      const child = new Deno.Command(Deno.execPath(), {
        args: [...args, JSON.stringify(layers)],
        stdin: "null",
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const reader = child.stdout.getReader();
      await reader.read();
      // as random as where it stands then; not a time that anything waits for
      const until = performance.now() + Math.random() * 40;
      while (performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 1));
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
      for (const id of ["k0", "k1", "k2", "k3"]) {
        await mounted(id, layers, (path) => {
          equal(sh(path, find), "./back ./d/new ./e/keep ./link ./replaced ./tree/sub/other ");
          equal(Deno.readTextFileSync(`${path}/tree/sub/other`), "tree/sub/other");
        });
        await driver.remove(id);
      }
    }
    // the image store does it at the engine's start
    for (const { name: left } of Deno.readDirSync(`${root}/trash`)) await removeTree(`${root}/trash/${left}`);
  },

  "mounts 120 layers": async () => {
    const many: LayerRef[] = [];
    for (let i = 0; i < 120; i++) many.unshift(await layer([file(`f${i}`), file("last", String(i))]));
    await mounted("c5", many, (path) => {
      equal([...Deno.readDirSync(path)].length, 121);
      equal(Deno.readTextFileSync(`${path}/last`), "119");
    });
  },

  "mounts no layer at all": () =>
    mounted("c6", [], (path) => {
      equal(sh(path, "ls"), "");
      Deno.writeTextFileSync(`${path}/f`, "x");
    }),

  "counts the bytes of the writable layer": async () => {
    await mounted("c7", layers, (path) => Deno.writeTextFileSync(`${path}/big`, "x".repeat(100_000)));
    const usage = await driver.usage("c7");
    if (usage < 100_000 || usage > 110_000) throw new Error(`usage is ${usage}`);
    equal(await driver.usage("unknown"), 0);
  },

  "acquires twice, releases twice, and after a crash of its process": async () => {
    await driver.create("c8", layers);
    await driver.create("c8", layers);
    await driver.release("c8");
    await driver.acquire("c8", layers);
    const fuse = readPid(`${root}/containers/c8/fuse.json`);
    if (fuse !== undefined) {
      kernel.kill(fuse, 9);
      const deadline = performance.now() + 5000 * SLOWNESS;
      while (identify(fuse) !== undefined && performance.now() < deadline) {
        await new Promise((r) => setTimeout(r, 5));
      }
    }
    await mounted("c8", layers, (path) => equal(Deno.readTextFileSync(`${path}/replaced`), "above"));
    await driver.release("c8");
  },

  "removes everything: deep trees, closed directories, what a container left behind": async () => {
    await mounted("c9", layers, (path) => {
      kernel.chdir(path);
      // deeper than a path can say, if the file system lets us (fuse-overlayfs does not)
      for (let i = 0; i < 600; i++) {
        try {
          kernel.mkdir("dddddddddd", 0o700);
          kernel.chdir("dddddddddd");
        } catch (error) {
          if (error instanceof SysError && error.is("ENAMETOOLONG")) break;
          throw error;
        }
      }
      kernel.chdir("/");
      sh(path, "mkdir closed; touch closed/f; chmod 000 closed; ln -s / rootlink");
    });
    await driver.remove("c9");
    await driver.remove("c9");
  },

  "leaves nothing behind": async () => {
    for (let i = 1; i <= 14; i++) {
      const pid = readPid(`${root}/containers/c${i}/fuse.json`);
      if (pid !== undefined) throw new Error(`process ${pid} of c${i} is left`);
      equal(mountedAt(`${root}/containers/c${i}/merged`), undefined);
      await driver.remove(`c${i}`);
    }
    equal([...Deno.readDirSync(`${root}/containers`)].length, 0);
    // What was removed last is on its way.
    const deadline = performance.now() + 20_000 * SLOWNESS;
    const trash = () => [...Deno.readDirSync(`${root}/trash`)].length;
    while (trash() > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    equal(trash(), 0);
    equal(Deno.readTextFileSync("/proc/self/mountinfo").includes(root), false);
  },
};

function readPid(path: string): number | undefined {
  try {
    return (JSON.parse(Deno.readTextFileSync(path)) as { pid: number }).pid;
  } catch {
    return undefined;
  }
}

const results: Record<string, string | null> = {};
for (const [title, check] of Object.entries(checks)) {
  try {
    await check();
    results[title] = null;
  } catch (error) {
    results[title] = error instanceof Error ? error.stack ?? error.message : String(error);
  }
}
console.log(JSON.stringify({ driver: (driver satisfies GraphDriver).name, results }));
