import { note } from "../base/note.ts";
import { SysError } from "./errno.ts";
import type { Syscalls } from "./syscalls.ts";

/** Called with the EPOLL* events of a descriptor. Level-triggered: what is not taken now comes again. */
export type Handler = (events: number) => void;

interface Watch {
  readonly handler: Handler;
  /** undefined: not in the epoll set at all. */
  events: number | undefined;
  /** The turn in which it was added. */
  readonly since: number;
}

interface Timer {
  readonly due: number;
  readonly action: () => void;
}

/**
 * The one place where a shim, or the network process, sleeps: epoll_wait on its thread. Deno's own event loop never runs
 * meanwhile; in a shim it could not, because it would need threads, which a process that has left its PID namespace
 * cannot make.
 */
export class EventLoop implements Disposable {
  readonly #kernel: Syscalls;
  readonly #epoll: number;
  readonly #watches = new Map<number, Watch>();
  readonly #timers = new Map<number, Timer>();
  #nextTimer = 1;
  #stopped = false;
  #turns = 0;

  constructor(kernel: Syscalls) {
    this.#kernel = kernel;
    this.#epoll = kernel.epollCreate();
  }

  /** Watches a descriptor; `events` as in {@link change}. */
  add(fd: number, events: number | undefined, handler: Handler): void {
    if (events !== undefined) this.#kernel.epollAdd(this.#epoll, fd, events);
    this.#watches.set(fd, { handler, events, since: this.#turns });
  }

  /**
   * Changes what a descriptor is watched for. 0 still reports a hang-up; undefined reports nothing (a pipe whose other
   * end is closed would otherwise wake the loop again and again while nobody may read it).
   */
  change(fd: number, events: number | undefined): void {
    const watch = this.#watches.get(fd);
    if (watch === undefined || watch.events === events) return;
    if (events === undefined) this.#kernel.epollDelete(this.#epoll, fd);
    else if (watch.events === undefined) this.#kernel.epollAdd(this.#epoll, fd, events);
    else this.#kernel.epollModify(this.#epoll, fd, events);
    watch.events = events;
  }

  /** Must come before the descriptor is closed. */
  remove(fd: number): void {
    this.change(fd, undefined);
    this.#watches.delete(fd);
  }

  /** Runs `action` once after `ms` milliseconds. */
  after(ms: number, action: () => void): number {
    const id = this.#nextTimer++;
    this.#timers.set(id, { due: performance.now() + ms, action });
    return id;
  }

  cancel(id: number | undefined): void {
    if (id !== undefined) this.#timers.delete(id);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Closes everything that is still watched: each descriptor belongs to something that has lived in this loop. */
  [Symbol.dispose](): void {
    this.#timers.clear();
    for (const fd of this.#watches.keys()) this.#kernel.close(fd);
    this.#watches.clear();
    this.#kernel.close(this.#epoll);
  }

  /** Until {@link stop}. A handler that throws is reported and does not end the loop: containers depend on it. */
  run(): void {
    while (!this.#stopped) this.turn(this.#timeout());
  }

  /** Sleeps `timeoutMs` at most (-1: until something happens) and handles what is there. A handler may call this as well. */
  turn(timeoutMs: number): void {
    const turn = ++this.#turns;
    const ready = this.#kernel.epollWait(this.#epoll, timeoutMs);
    for (let index = 0; index < ready.length; index++) {
      const event = ready[index];
      if (event === undefined) continue;
      const watch = this.#watches.get(event.fd);
      // what was added in this turn has the number of a descriptor that was closed in it: the event is the other's
      if (watch?.events !== undefined && watch.since !== turn) guarded(() => watch.handler(event.events));
      // The list is the newer turn's now; what this one has not come to is reported again.
      if (turn !== this.#turns) break;
    }
    this.#runTimers();
  }

  #timeout(): number {
    let next = Infinity;
    for (const { due } of this.#timers.values()) next = Math.min(next, due);
    return next === Infinity ? -1 : Math.max(0, Math.ceil(next - performance.now()));
  }

  #runTimers(): void {
    if (this.#timers.size === 0) return;
    const now = performance.now();
    for (const [id, { due, action }] of [...this.#timers]) {
      if (due <= now && this.#timers.delete(id)) guarded(action);
    }
  }
}

function guarded(action: () => void): void {
  try {
    action();
  } catch (error) {
    note(
      error instanceof SysError
        ? error.message
        : error instanceof Error
        ? error.stack ?? error.message
        : String(error),
    );
  }
}
