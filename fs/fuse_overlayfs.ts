import { spawnBackground } from "../base/background.ts";
import { EngineError, messageOf } from "../base/errors.ts";
import { MNT_DETACH } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import type { RootfsSpec } from "../runtime/spec.ts";
import { type ContainerDirs, GraphRoot } from "./container_dirs.ts";
import type { GraphDriver, LayerRef } from "./graph_driver.ts";
import { mountedAt } from "./mount_table.ts";
import { identify, isAlive, type ProcessIdentity } from "../base/process_identity.ts";

/** How long fuse-overlayfs may take to mount, and to end. */
const DEADLINE_MS = 15_000;
const POLL_MS = 2;

/** What fuse-overlayfs's mounts are called in mountinfo. */
const FUSE_TYPE = "fuse.fuse-overlayfs";

/**
 * fuse-overlayfs: an overlay in user space, one process for each running container, mounted in the engine's mount
 * namespace. The processes live on when the engine ends, and the next one (which enters the same namespace) finds them by
 * `fuse.json`.
 */
export class FuseOverlayfsDriver implements GraphDriver {
  readonly name = "fuse-overlayfs";
  readonly whiteouts = "fuse-overlayfs";
  readonly reason: string;
  readonly status: readonly (readonly [string, string])[];
  readonly #graph: GraphRoot;
  readonly #sys: Pick<Syscalls, "umount2" | "kill">;
  readonly #program: string;

  constructor(
    root: string,
    options: { reason: string; backing: string; program: string; sys: Pick<Syscalls, "umount2" | "kill"> },
  ) {
    this.#graph = new GraphRoot(root);
    this.#sys = options.sys;
    this.#program = options.program;
    this.reason = options.reason;
    this.status = [["Backing Filesystem", options.backing], ["Program", options.program]];
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async create(containerId: string, layers: readonly LayerRef[]): Promise<void> {
    if (mountedAt(this.#graph.container(containerId).merged) !== undefined) return;
    this.#graph.createContainer(containerId, layers);
  }

  async acquire(containerId: string, layers: readonly LayerRef[]): Promise<RootfsSpec> {
    const dirs = this.#graph.container(containerId);
    const mounted = mountedAt(dirs.merged) !== undefined;
    const daemon = readDaemon(dirs);
    if (mounted && daemon && isAlive(daemon) && answers(dirs.merged)) {
      return { kind: "directory", path: dirs.merged };
    }
    // a mount without its process answers ENOTCONN to everything, so it goes before its directory is looked at
    if (mounted || daemon) await this.release(containerId);
    this.#graph.ensureContainer(containerId, layers);
    await this.#mount(dirs, layers);
    return { kind: "directory", path: dirs.merged };
  }

  async #mount(dirs: ContainerDirs, layers: readonly LayerRef[]): Promise<void> {
    const lower = this.#graph.lowerDirs(layers).map(escapeOption).join(":");
    const options = `lowerdir=${lower},upperdir=${escapeOption(dirs.upper)},workdir=${
      escapeOption(dirs.work)
    }`;
    const log = `${dirs.dir}/fuse.log`;
    const child = spawnBackground(this.#program, ["-f", "-o", options, dirs.merged], {
      path: log,
      append: false,
      streams: "stderr",
    });
    let ended = false;
    void child.status.then(() => ended = true);
    const identity = identify(child.pid);
    if (identity) writeWhole(`${dirs.dir}/fuse.json`, JSON.stringify(identity));
    const mounted = await poll(() => ended || mountedAt(dirs.merged) === FUSE_TYPE);
    if (mounted && !ended) return;
    if (identity) await this.#end(identity);
    const said = await Deno.readTextFile(log).catch(() => "");
    const reason = said.trim().split("\n").findLast((line) => !line.startsWith("unknown argument")) ?? "";
    throw new EngineError(
      "system",
      `error creating fuse-overlayfs mount to ${dirs.merged}: ${
        reason || (ended ? "it ended" : "timed out")
      }`,
    );
  }

  async release(containerId: string): Promise<void> {
    const dirs = this.#graph.container(containerId);
    while (mountedAt(dirs.merged) !== undefined) {
      try {
        this.#sys.umount2(dirs.merged, MNT_DETACH);
      } catch (error) {
        if (error instanceof SysError && error.is("EINVAL", "ENOENT")) break;
        throw error;
      }
    }
    const daemon = readDaemon(dirs);
    if (daemon) await this.#end(daemon);
    await Deno.remove(`${dirs.dir}/fuse.json`).catch(ignoreMissing);
  }

  /** Waits for the process to end by itself, as it does once nothing uses the mount; after the deadline it is made to. */
  async #end(daemon: ProcessIdentity): Promise<void> {
    const mounted = await poll(() => !isAlive(daemon), 2000);
    if (mounted) return;
    for (const signal of [15, 9]) {
      try {
        if (isAlive(daemon)) this.#sys.kill(daemon.pid, signal);
      } catch (error) {
        if (!(error instanceof SysError && error.is("ESRCH"))) throw error;
      }
      if (await poll(() => !isAlive(daemon), 2000)) return;
    }
  }

  async remove(containerId: string): Promise<void> {
    await this.release(containerId);
    await this.#graph.removeContainer(containerId);
  }

  async usage(containerId: string): Promise<number> {
    return await this.#graph.usage(containerId);
  }
}

function answers(mountPoint: string): boolean {
  try {
    Deno.statSync(mountPoint);
    return true;
  } catch {
    return false;
  }
}

/** Options are separated by commas, directories by colons; both and the backslash can be escaped. */
function escapeOption(path: string): string {
  return path.replace(/[\\:,]/g, (char) => `\\${char}`);
}

function readDaemon(dirs: ContainerDirs): ProcessIdentity | undefined {
  try {
    const value = JSON.parse(Deno.readTextFileSync(`${dirs.dir}/fuse.json`)) as
      | Partial<ProcessIdentity>
      | null;
    if (typeof value?.pid !== "number" || typeof value.startTime !== "string") return undefined;
    return { pid: value.pid, startTime: value.startTime };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw new EngineError("system", messageOf(error), { cause: error });
  }
}

function writeWhole(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  Deno.writeTextFileSync(temporary, text, { mode: 0o600 });
  Deno.renameSync(temporary, path);
}

/** Asks again and again until it is so; false after the deadline. */
async function poll(condition: () => boolean, deadlineMs: number = DEADLINE_MS): Promise<boolean> {
  const end = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return true;
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
