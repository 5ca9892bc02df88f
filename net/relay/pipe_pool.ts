import type { Syscalls } from "../../ffi/syscalls.ts";
import { O_NONBLOCK } from "../../ffi/constants.ts";

/** What lies between two sockets while it is spliced from the one to the other. */
export interface Pipe {
  readonly read: number;
  readonly write: number;
}

/** Pipes that are kept when nobody needs them. */
const MAX_IDLE = 32;

/**
 * Pipes to splice through, used again and again. Of the default size: larger ones count against a limit of the user
 * (/proc/sys/fs/pipe-user-pages-soft), and beyond that, at 1,024 pipes of 64 KiB, new ones have two pages only; both work here.
 */
export class PipePool implements Disposable {
  readonly #kernel: Pick<Syscalls, "pipe2" | "close">;
  readonly #limit: number;
  readonly #idle: Pipe[] = [];
  #made = 0;

  /** At most `limit` pipes, two descriptors each, are there at a time. */
  constructor(kernel: Pick<Syscalls, "pipe2" | "close">, limit: number) {
    this.#kernel = kernel;
    this.#limit = limit;
  }

  /** Pipes there are, used and unused. */
  get size(): number {
    return this.#made;
  }

  /** Whether {@link take} would answer one: makes it, if it can be made. */
  ready(): boolean {
    if (this.#idle.length > 0) return true;
    if (this.#made >= this.#limit) return false;
    try {
      const [read, write] = this.#kernel.pipe2(O_NONBLOCK);
      this.#idle.push({ read, write });
    } catch {
      // no more descriptors: as if the limit were reached
      return false;
    }
    this.#made++;
    return true;
  }

  /** An empty pipe, the caller's until it gives it back; undefined when there is none. */
  take(): Pipe | undefined {
    return this.ready() ? this.#idle.pop() : undefined;
  }

  /** Takes back an empty pipe. */
  give(pipe: Pipe): void {
    if (this.#idle.length < MAX_IDLE) this.#idle.push(pipe);
    else this.drop(pipe);
  }

  /** Takes back a pipe that may still hold bytes. */
  drop({ read, write }: Pipe): void {
    this.#made--;
    this.#kernel.close(read);
    this.#kernel.close(write);
  }

  [Symbol.dispose](): void {
    for (const pipe of this.#idle.splice(0)) this.drop(pipe);
  }
}
