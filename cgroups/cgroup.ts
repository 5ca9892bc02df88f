import { messageOf } from "../base/errors.ts";
import { ERRNO, SysError } from "../ffi/errno.ts";
import { kernel } from "../ffi/kernel.ts";
import { SIGKILL } from "../ffi/signals.ts";
import { flatKeyed, readControl, words, writeControl } from "./control_file.ts";
import type { CgroupWrite } from "./limits.ts";

/** Between two looks at something that takes the kernel or systemd a moment. */
const POLL_MS = 2;
const SLOWEST_POLL_MS = 50;
/** How long tasks may take to come to a place where they can be frozen: one in uninterruptible sleep takes its time. */
const FREEZE_DEADLINE_MS = 10_000;
/** How long killed processes may take to end. */
const EMPTY_DEADLINE_MS = 5_000;

/** Calls `done` until it is true; false when `deadlineMs` have passed. */
export async function poll(done: () => boolean, deadlineMs: number): Promise<boolean> {
  const end = performance.now() + deadlineMs;
  for (let wait = POLL_MS;; wait = Math.min(wait * 2, SLOWEST_POLL_MS)) {
    if (done()) return true;
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** One container's cgroup, whoever has made it. All paths are absolute. */
export class Cgroup {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get exists(): boolean {
    return readControl(`${this.path}/cgroup.events`) !== undefined;
  }

  /**
   * Writes limits. What is not delegated, and what the kernel does not have, is left out with a warning.
   *
   * @returns the warnings: whole sentences.
   * @throws {SysError} the kernel refuses a value: EINVAL, ERANGE, ENODEV, EBUSY.
   */
  apply(writes: readonly CgroupWrite[]): string[] {
    const warnings: string[] = [];
    for (const write of writes) this.#write(write, warnings);
    return warnings;
  }

  #write({ file, value, what, otherwise }: CgroupWrite, warnings: string[]): void {
    try {
      if (file.includes("/")) throw new SysError("open", ERRNO.ENOENT, file);
      writeControl(`${this.path}/${file}`, value);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (otherwise !== undefined && error.is("ENOENT", "EACCES", "EPERM", "EOPNOTSUPP")) {
        return this.#write(otherwise, warnings);
      }
      if (!error.is("ENOENT", "EACCES", "EPERM", "EROFS", "EOPNOTSUPP")) throw error;
      warnings.push(
        `The ${what} could not be set: ${file} ${
          error.is("ENOENT") ? "does not exist in this cgroup" : "may not be written"
        }. Limitation discarded.`,
      );
    }
  }

  /** Whether all tasks are frozen. */
  get frozen(): boolean {
    return this.#event("frozen") === 1;
  }

  /**
   * Stops all processes at once, or lets them go on. Resolves when it has happened.
   *
   * @throws {SysError}; {Error} when it takes too long: they go on then.
   */
  async freeze(on: boolean): Promise<void> {
    const file = `${this.path}/cgroup.freeze`;
    writeControl(file, on ? "1" : "0");
    if (!on || await poll(() => this.frozen || !this.exists, FREEZE_DEADLINE_MS)) return;
    writeControl(file, "0");
    throw new Error("the processes could not be frozen in time");
  }

  /** Pids of all processes, those of nested cgroups included. */
  processes(): number[] {
    const pids = words(readControl(`${this.path}/cgroup.procs`)).map(Number);
    for (const child of this.#children()) pids.push(...child.processes());
    return pids;
  }

  /** SIGKILL to every process, nested cgroups included; also to those that are frozen. Those that fork meanwhile do not escape. */
  kill(): void {
    try {
      return writeControl(`${this.path}/cgroup.kill`, "1");
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.is("ENODEV") || !this.exists) return;
      // Before Linux 5.14: the caller repeats it until nobody is left.
    }
    for (const pid of this.processes()) {
      try {
        kernel.kill(pid, SIGKILL);
      } catch (error) {
        if (!(error instanceof SysError && error.is("ESRCH"))) throw error;
      }
    }
  }

  /** Kills of the kernel for want of memory so far; 0 when nobody counts them. */
  get oomKills(): number {
    return flatKeyed(readControl(`${this.path}/memory.events`) ?? "")["oom_kill"] ?? 0;
  }

  /**
   * Ends what is in it and removes the directory with all that is nested in it. Nothing happens when it is gone already.
   *
   * @throws {Error} processes do not die, or the directory cannot be removed.
   */
  async remove(): Promise<void> {
    if (!this.exists) return;
    let last: unknown;
    const gone = await poll(() => {
      try {
        if (this.#event("populated") === 1) this.kill();
        this.#removeTree();
        return true;
      } catch (error) {
        last = error;
        return !this.exists;
      }
    }, EMPTY_DEADLINE_MS);
    if (!gone) throw new Error(`cannot remove the cgroup ${this.path}: ${messageOf(last)}`);
  }

  #removeTree(): void {
    for (const child of this.#children()) child.#removeTree();
    try {
      kernel.rmdir(this.path);
    } catch (error) {
      if (!(error instanceof SysError && error.is("ENOENT"))) throw error;
    }
  }

  #children(): Cgroup[] {
    try {
      return [...Deno.readDirSync(this.path)].filter((entry) => entry.isDirectory)
        .map((entry) => new Cgroup(`${this.path}/${entry.name}`));
    } catch {
      return [];
    }
  }

  #event(name: string): number | undefined {
    return flatKeyed(readControl(`${this.path}/cgroup.events`) ?? "")[name];
  }
}
