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
 */
export class OomWatch {
  readonly #kernel: Syscalls;
  readonly #loop: EventLoop;
  readonly #file: string;
  readonly #onKill: () => void;
  #fd: number | undefined;
  #kills = 0;

  /**
   * @param cgroup the container's cgroup; undefined: it has none.
   * @param onKill called from the loop, once for each time that kills were seen
   */
  constructor(kernel: Syscalls, loop: EventLoop, cgroup: string | undefined, onKill: () => void) {
    this.#kernel = kernel;
    this.#loop = loop;
    this.#file = `${cgroup}/memory.events`;
    this.#onKill = onKill;
    if (cgroup !== undefined) this.#look();
  }

  /** Ends the watch. Answers whether anything was killed since its beginning. */
  finish(): boolean {
    if (this.#fd !== undefined) this.#look();
    this.#close();
    return this.#kills > 0;
  }

  /** Reads the counts through a new descriptor: the kernel takes what that has seen as known, and wakes for what is new. */
  #look(): void {
    this.#close();
    const kernel = this.#kernel;
    try {
      const fd = kernel.open(this.#file, 0);
      this.#fd = fd;
      const buffer = new Uint8Array(BUFFER_SIZE);
      const text = new TextDecoder().decode(buffer.subarray(0, kernel.read(fd, buffer)));
      const kills = Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
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

  #close(): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    this.#fd = undefined;
    this.#loop.remove(fd);
    this.#kernel.close(fd);
  }
}
