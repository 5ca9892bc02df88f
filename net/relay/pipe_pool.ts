import type { Syscalls } from "../../ffi/syscalls.ts";
import { O_NONBLOCK } from "../../ffi/constants.ts";
import { resizePipe } from "../../ffi/stream_calls.ts";

/** What lies between two sockets while it is spliced from the one to the other. */
export interface Pipe {
  readonly read: number;
  readonly write: number;
  /** Of {@link LARGE_PIPE} bytes. */
  readonly large: boolean;
}

/** What an ordinary user may have (/proc/sys/fs/pipe-max-size). A quarter of the processor time of 64 KiB, and fewer wake-ups. */
export const LARGE_PIPE = 1024 * 1024;
/**
 * Large pipes: they count against what a user may have in all (/proc/sys/fs/pipe-user-pages-soft, 64 MiB), and one is enough as long as
 * receivers take what they are given.
 */
const MAX_LARGE = 8;
/** Pipes of each size that are kept when nobody needs them. */
const MAX_IDLE = 32;

/**
 * Pipes to splice through, used again and again: a few large ones, and as many of the default size as are allowed. Beyond the user's
 * share of pipe memory the kernel gives new ones two pages only; they work, in smaller steps.
 */
export class PipePool implements Disposable {
  readonly #kernel: Pick<Syscalls, "pipe2" | "close">;
  readonly #limit: number;
  readonly #idle: Pipe[] = [];
  readonly #idleLarge: Pipe[] = [];
  #made = 0;
  #large = 0;

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
    if (this.#idle.length > 0 || this.#idleLarge.length > 0) return true;
    const pipe = this.#make(false);
    if (pipe !== undefined) this.#idle.push(pipe);
    return pipe !== undefined;
  }

  /** An empty pipe, the caller's until it gives it back; undefined when there is none. `large` is a wish. */
  take(large: boolean): Pipe | undefined {
    if (large) {
      const pipe = this.#idleLarge.pop() ?? (this.#large < MAX_LARGE ? this.#make(true) : undefined);
      if (pipe !== undefined) return pipe;
    }
    return this.#idle.pop() ?? this.#make(false) ?? this.#idleLarge.pop();
  }

  /** Takes back an empty pipe. */
  give(pipe: Pipe): void {
    if (pipe.large) this.#idleLarge.push(pipe);
    else if (this.#idle.length < MAX_IDLE) this.#idle.push(pipe);
    else this.drop(pipe);
  }

  /** Takes back a pipe that may still hold bytes. */
  drop({ read, write, large }: Pipe): void {
    this.#made--;
    if (large) this.#large--;
    this.#kernel.close(read);
    this.#kernel.close(write);
  }

  [Symbol.dispose](): void {
    for (const pipe of [...this.#idle.splice(0), ...this.#idleLarge.splice(0)]) this.drop(pipe);
  }

  #make(large: boolean): Pipe | undefined {
    if (this.#made >= this.#limit) return undefined;
    let pipe: Pipe;
    try {
      const [read, write] = this.#kernel.pipe2(O_NONBLOCK);
      pipe = { read, write, large: large && resizePipe(write, LARGE_PIPE) >= LARGE_PIPE };
    } catch {
      // no more descriptors: as if the limit were reached
      return undefined;
    }
    this.#made++;
    if (large) this.#large++;
    // the user has no more to give: it is an ordinary one, and no other is asked for
    if (large && !pipe.large) {
      this.#large = MAX_LARGE;
      this.#idle.push(pipe);
      return undefined;
    }
    return pipe;
  }
}
