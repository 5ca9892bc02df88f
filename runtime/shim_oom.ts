/** Kills for want of memory in a container's cgroup, seen as they happen. */
import { EPOLLPRI } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { EventLoop } from "../ffi/event_loop.ts";
import type { Syscalls } from "../ffi/syscalls.ts";

/** memory.events has less than ten short lines. */
const BUFFER_SIZE = 512;

/**
 * Watches memory.events: the kernel wakes whoever polls the file when a count in it changes. Without the file (no cgroup,
 * no memory controller) nothing is ever seen.
 *
 * systemd removes a cgroup as soon as its last process has ended, which may be before anybody has read why. The kernel counts a kill
 * in all cgroups above as well, and those stay: what has been counted there tells the reason of a SIGKILL that nobody has sent.
 */
export class OomWatch {
  readonly #kernel: Syscalls;
  readonly #loop: EventLoop;
  readonly #cgroup: string;
  readonly #onKill: () => void;
  #fd: number | undefined;
  /** There was such a file once: when it no longer is, its cgroup has been removed. */
  #found = false;
  #kills = 0;
  /** Kills in the cgroup above, this one's among them, when this one was last seen. */
  #above = 0;

  /**
   * @param cgroup the container's cgroup; undefined: it has none.
   * @param onKill called from the loop, once for each time that kills were seen
   */
  constructor(kernel: Syscalls, loop: EventLoop, cgroup: string | undefined, onKill: () => void) {
    this.#kernel = kernel;
    this.#loop = loop;
    this.#cgroup = cgroup ?? "";
    this.#onKill = onKill;
    if (cgroup !== undefined) this.#look();
  }

  /**
   * Ends the watch. Answers whether anything was killed since its beginning.
   *
   * @param unexplained the container, or what its first process has run, has ended by a SIGKILL that did not come from berth
   */
  finish(unexplained: boolean): boolean {
    if (this.#fd !== undefined) this.#look();
    const gone = this.#found && this.#fd === undefined;
    this.#close();
    if (gone && unexplained && this.#kills === 0 && this.#readAbove() > this.#above) {
      this.#kills = 1;
      this.#onKill();
    }
    return this.#kills > 0;
  }

  /** Reads the counts through a new descriptor: the kernel takes what that has seen as known, and wakes for what is new. */
  #look(): void {
    this.#close();
    try {
      const fd = this.#kernel.open(`${this.#cgroup}/memory.events`, 0);
      this.#fd = fd;
      this.#found = true;
      // Before the own count: what happens in between is seen as new.
      const above = this.#readAbove();
      const kills = this.#readKills(fd);
      this.#above = above;
      // No events asked for but this: a control file is always readable.
      this.#loop.add(fd, EPOLLPRI, () => this.#look());
      if (kills > this.#kills) {
        this.#kills = kills;
        this.#onKill();
      }
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      // The cgroup is gone, which wakes as well.
      this.#close();
    }
  }

  #readAbove(): number {
    const above = this.#cgroup.slice(0, this.#cgroup.lastIndexOf("/"));
    try {
      const fd = this.#kernel.open(`${above}/memory.events`, 0);
      try {
        return this.#readKills(fd);
      } finally {
        this.#kernel.close(fd);
      }
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return 0;
    }
  }

  #readKills(fd: number): number {
    const buffer = new Uint8Array(BUFFER_SIZE);
    const text = new TextDecoder().decode(buffer.subarray(0, this.#kernel.read(fd, buffer)));
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  #close(): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    this.#fd = undefined;
    this.#loop.remove(fd);
    this.#kernel.close(fd);
  }
}
