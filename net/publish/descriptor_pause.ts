import { note } from "../../base/note.ts";
import { RLIMIT_NOFILE } from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";

/** Descriptors that clients cannot have: the engine's orders need some. */
const RESERVE = 256;
const PAUSE_MS = 100;
/** The log says it once in so long. */
const SILENCE_MS = 60_000;

/** Too many connections for the descriptors that a process may have: clients wait in the kernel's queue until others have gone. */
export class DescriptorPause {
  readonly #loop: EventLoop;
  /** Numbers of descriptors are given out lowest first: one above this says that there are about as many. */
  readonly #highest: number;
  #told = -Infinity;

  constructor(loop: EventLoop) {
    this.#loop = loop;
    const { soft } = kernel.getrlimit(RLIMIT_NOFILE);
    const limit = soft > 0x7fff_ffffn ? 0x7fff_ffff : Number(soft);
    this.#highest = Math.max(limit >> 1, limit - RESERVE);
  }

  /** Is this descriptor one of the last? */
  isLate(fd: number): boolean {
    return fd >= this.#highest;
  }

  /** Stops watching `fd`, an open one, until there are descriptors again. */
  pause(fd: number, isOpen: () => boolean, events: number): void {
    const now = performance.now();
    if (now - this.#told > SILENCE_MS) {
      this.#told = now;
      note(`all ${this.#highest} descriptors are in use: new connections to published ports wait`);
    }
    this.#loop.change(fd, undefined);
    this.#wait(fd, isOpen, events);
  }

  #wait(fd: number, isOpen: () => boolean, events: number): void {
    this.#loop.after(PAUSE_MS, () => {
      if (!isOpen()) return;
      if (this.#isFull(fd)) this.#wait(fd, isOpen, events);
      else this.#loop.change(fd, events);
    });
  }

  #isFull(fd: number): boolean {
    try {
      const next = kernel.dupCloexec(fd);
      kernel.close(next);
      return this.isLate(next);
    } catch (error) {
      if (!isOutOfDescriptors(error)) throw error;
      return true;
    }
  }
}

const OUT_OF_DESCRIPTORS: ReadonlySet<number> = new Set([
  ERRNO.EMFILE,
  ERRNO.ENFILE,
  ERRNO.ENOBUFS,
  ERRNO.ENOMEM,
]);

/** @param error what was thrown, or an errno */
export const isOutOfDescriptors = (error: unknown): boolean =>
  OUT_OF_DESCRIPTORS.has(error instanceof SysError ? error.errno : Number(error));
