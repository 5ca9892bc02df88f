import { EngineError, messageOf } from "../base/errors.ts";
import { findProgram } from "../base/find_program.ts";
import { workerUrl } from "../base/self.ts";
import { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } from "../ffi/constants.ts";
import { kernel as realKernel } from "../ffi/kernel.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { treeCalls } from "../ffi/tree_calls.ts";
import { type Backing, backingOf } from "./backing.ts";
import { FuseOverlayfsDriver } from "./fuse_overlayfs.ts";
import type { GraphDriver, GraphDriverName } from "./graph_driver.ts";
import { OverlayDriver } from "./overlay.ts";
import type { OverlayProbe, OverlayVerdict } from "./probe_worker.ts";
import { removeTree } from "./remove_tree.ts";
import { VfsDriver } from "./vfs.ts";

export interface ProbeOptions {
  /** Absolute path of the data root; made when it is missing. */
  readonly root: string;
  /** `--storage-driver`; "overlay2" is Docker's name for "overlay". */
  readonly forced?: string | undefined;
  readonly kernel?: Syscalls;
}

const PROBED: readonly GraphDriverName[] = ["overlay", "fuse-overlayfs", "vfs"];
const ALIASES: Readonly<Record<string, GraphDriverName>> = {
  overlay: "overlay",
  overlay2: "overlay",
  "fuse-overlayfs": "fuse-overlayfs",
  vfs: "vfs",
};

const HINT: Readonly<Record<string, string>> = {
  overlay:
    "overlay needs Linux 5.11 or later in a user namespace, and a data root on ext4, xfs, btrfs or tmpfs",
  "fuse-overlayfs": "sudo apt-get install fuse-overlayfs; sudo modprobe fuse; ls -l /dev/fuse",
};

/** Recorded name of the driver that wrote a data root. */
const RECORD = "driver";

/**
 * Chooses how containers get their files: the driver that has written this data root, else the forced one, else the first
 * that works when tried. The choice is recorded in `<root>/driver`, because the layers of one driver are not readable
 * by another.
 *
 * @throws {EngineError} when none works (with every refusal), or the forced one is not the recorded one.
 */
export async function probeGraphDriver(options: ProbeOptions): Promise<{ driver: GraphDriver }> {
  const { root, forced } = options;
  const sys = options.kernel ?? realKernel;
  Deno.mkdirSync(root, { recursive: true, mode: 0o711 });
  const wanted = forced === undefined || forced === "" ? undefined : ALIASES[forced];
  if (forced && wanted === undefined) {
    throw new EngineError("invalid", `unknown storage driver: ${forced}`, {
      hint: `--storage-driver takes one of: ${PROBED.join(", ")}`,
    });
  }
  const backing = backingOf(root, sys);
  const prior = readRecord(root);
  if (prior !== undefined && wanted !== undefined && prior !== wanted && !isEmpty(root)) {
    throw new EngineError(
      "invalid",
      `error initializing graphdriver: prior storage driver ${prior} has written ${root}, which ${wanted} cannot read`,
      { hint: `use --storage-driver ${prior}, or another --data-root` },
    );
  }
  if (prior !== undefined && (wanted === undefined || wanted === prior)) {
    const refusal = prior === "fuse-overlayfs" ? fuseRefusal() : undefined;
    if (refusal === undefined) {
      return { driver: makeDriver(prior, root, "recorded in the data root", backing, sys) };
    }
    throw new EngineError(
      "unavailable",
      `error initializing graphdriver: prior storage driver ${prior} failed: ${refusal}`,
      {
        hint: HINT[prior],
      },
    );
  }
  if (!backing.fit && wanted === undefined) {
    throw new EngineError(
      "unavailable",
      `the data root ${root} is on ${backing.name}, which cannot hold containers`,
      {
        hint: "use --data-root with a directory on a local file system (ext4, xfs, btrfs, tmpfs)",
      },
    );
  }
  const refusals: string[] = [];
  for (const name of wanted === undefined ? PROBED : [wanted]) {
    const refusal = name === "overlay"
      ? await overlayRefusal(root)
      : name === "fuse-overlayfs"
      ? fuseRefusal()
      : undefined;
    if (refusal === undefined) {
      const reason = wanted !== undefined
        ? "chosen by --storage-driver"
        : refusals.length === 0
        ? "first choice, and it works here"
        : refusals.join("; ");
      writeRecord(root, name);
      return { driver: makeDriver(name, root, reason, backing, sys) };
    }
    refusals.push(`${name}: ${refusal}`);
  }
  throw new EngineError("unavailable", `no storage driver works here: ${refusals.join("; ")}`, {
    hint: (wanted === undefined ? PROBED : [wanted]).map((name) => HINT[name]).join("\n"),
  });
}

function makeDriver(
  name: GraphDriverName,
  root: string,
  reason: string,
  backing: Backing,
  sys: Syscalls,
): GraphDriver {
  if (name === "fuse-overlayfs") {
    const program = findProgram("fuse-overlayfs") ?? "fuse-overlayfs";
    return new FuseOverlayfsDriver(root, { reason, backing: backing.name, program, sys });
  }
  if (name === "vfs") return new VfsDriver(root, reason, backing.name, sharesBlocks(root));
  return new OverlayDriver(root, reason, backing.name);
}

/** Whether files below `root` can share blocks. */
function sharesBlocks(root: string): boolean {
  const paths = [1, 2].map((n) => `${root}/probe-${crypto.randomUUID()}-${n}`);
  const [source = "", target = ""] = paths;
  try {
    Deno.writeTextFileSync(source, "x".repeat(4096));
    using from = openFd(source, O_RDONLY);
    using to = openFd(target, O_WRONLY | O_CREAT | O_EXCL);
    treeCalls.cloneFile(from.fd, to.fd);
    return true;
  } catch {
    return false;
  } finally {
    for (const path of paths) removeIfThere(path);
  }
}

function openFd(path: string, flags: number): Disposable & { readonly fd: number } {
  const fd = realKernel.open(path, flags, 0o600);
  return { fd, [Symbol.dispose]: () => realKernel.close(fd) };
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Why overlay does not work below `root`; undefined when it does. */
async function overlayRefusal(root: string): Promise<string | undefined> {
  const dir = `${root}/probe-${crypto.randomUUID()}`;
  Deno.mkdirSync(dir, { mode: 0o700 });
  const worker = new Worker(workerUrl("fs/probe_worker.ts"), { type: "module", name: "probe" });
  try {
    const verdict = await new Promise<OverlayVerdict>((resolve) => {
      worker.onmessage = ({ data }: MessageEvent<OverlayVerdict>) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        resolve({ refusal: event.message });
      };
      const job: OverlayProbe = { dir, otherId: mappedIds() > 1 ? 1 : undefined };
      worker.postMessage(job);
    });
    return verdict.refusal;
  } catch (error) {
    return messageOf(error);
  } finally {
    worker.terminate();
    await removeTree(dir);
  }
}

function fuseRefusal(): string | undefined {
  if (findProgram("fuse-overlayfs") === undefined) return "the program fuse-overlayfs is not installed";
  try {
    Deno.openSync("/dev/fuse", { read: true, write: true }).close();
    return undefined;
  } catch (error) {
    return `/dev/fuse: ${messageOf(error)}`;
  }
}

/** How many user ids this user namespace maps. */
export function mappedIds(): number {
  const lines = Deno.readTextFileSync("/proc/self/uid_map").trim().split("\n");
  return lines.reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[2] ?? 0), 0);
}

function readRecord(root: string): GraphDriverName | undefined {
  try {
    const name = Deno.readTextFileSync(`${root}/${RECORD}`).trim();
    if (name in ALIASES) return ALIASES[name];
    throw new EngineError(
      "system",
      `error initializing graphdriver: ${root} was written by ${name}, unknown to this version`,
    );
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function writeRecord(root: string, name: GraphDriverName): void {
  const temporary = `${root}/${RECORD}.tmp`;
  Deno.writeTextFileSync(temporary, `${name}\n`);
  Deno.renameSync(temporary, `${root}/${RECORD}`);
}

/** Nothing was stored yet: another driver may take over. */
function isEmpty(root: string): boolean {
  return ["layers", "containers"].every((name) => {
    try {
      return [...Deno.readDirSync(`${root}/${name}`)].length === 0;
    } catch {
      return true;
    }
  });
}
