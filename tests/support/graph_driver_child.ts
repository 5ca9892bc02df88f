/**
 * The conformance suite of graph drivers, run in a mount namespace of its own:
 *
 *     graph_driver_child.ts DRIVER ROOT
 *
 * Prints one JSON object: the name of each check, and null or what went wrong.
 */
import { kernel } from "../../ffi/kernel.ts";
import { MNT_DETACH } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { GraphDriver, LayerRef } from "../../fs/graph_driver.ts";
import { mountedAt } from "../../fs/mount_table.ts";
import { identify } from "../../fs/process_identity.ts";
import { mappedIds, probeGraphDriver } from "../../fs/probe.ts";
import { tarArchive, type TarEntryInput } from "../../fs/tar/mod.ts";
import { UnpackPool } from "../../fs/unpack.ts";

const [name = "", root = ""] = Deno.args;
const text = (value: string) => new TextEncoder().encode(value);
type Item = TarEntryInput & { data?: Uint8Array };
const file = (path: string, content = path): Item => ({ name: path, data: text(content) });
const dir = (path: string, mode = 0o755): Item => ({ name: path, type: "directory", mode });

const { driver } = await probeGraphDriver({ root, forced: name });
using pool = new UnpackPool(2);
let counter = 0;

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
    const { lower, upper, work, options } = spec.overlay;
    const data = [`lowerdir=${lower.join(":")}`, `upperdir=${upper}`, `workdir=${work}`, ...options].join(
      ",",
    );
    kernel.mount("overlay", path, "overlay", 0, data);
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

  "mounts 60 layers": async () => {
    const many: LayerRef[] = [];
    for (let i = 0; i < 60; i++) many.unshift(await layer([file(`f${i}`), file("last", String(i))]));
    await mounted("c5", many, (path) => {
      equal([...Deno.readDirSync(path)].length, 61);
      equal(Deno.readTextFileSync(`${path}/last`), "59");
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
      const deadline = performance.now() + 5000;
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
    for (let i = 1; i <= 9; i++) {
      const pid = readPid(`${root}/containers/c${i}/fuse.json`);
      if (pid !== undefined) throw new Error(`process ${pid} of c${i} is left`);
      equal(mountedAt(`${root}/containers/c${i}/merged`), undefined);
      await driver.remove(`c${i}`);
    }
    equal([...Deno.readDirSync(`${root}/containers`)].length, 0);
    equal([...Deno.readDirSync(`${root}/trash`)].length, 0);
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
