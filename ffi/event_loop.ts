import { note } from "../base/note.ts";
import { SysError } from "./errno.ts";
import type { EpollEvent, Syscalls } from "./syscalls.ts";

/**
 * Called with the EPOLL* events of a descriptor. Level-triggered unless it is watched with EPOLLET: what is not taken now comes
 * again.
 */
export type Handler = (events: number) => void;

interface Watch {
  readonly handler: Handler;
  /** undefined: not in the epoll set at all. */
  events: number | undefined;
  /** The list of events that was being handled when it was added. */
  readonly since: number;
}

/**
 * The one place where a shim, or the network process, sleeps: epoll_wait on its thread. Deno's own event loop never runs
 * meanwhile; in a shim it could not, because it would need threads, which a process that has left its PID namespace
 * cannot make. An event costs no allocation, and nothing here takes longer with more descriptors; timers cost the logarithm of
 * their number.
 */
export class EventLoop implements Disposable {
  readonly #kernel: Syscalls;
  readonly #epoll: number;
  readonly #watches = new Map<number, Watch>();
  readonly #timers = new Timers();
  /** What the last epoll_wait has answered, and how far that is handled: by a nested turn as well, so that no event is lost. */
  #ready: readonly EpollEvent[] = [];
  #next = 0;
  #list = 0;
  #soon: (() => void)[] = [];
  #stopped = false;

  constructor(kernel: Syscalls) {
    this.#kernel = kernel;
    this.#epoll = kernel.epollCreate();
  }

  /** Watches a descriptor; `events` as in {@link change}. */
  add(fd: number, events: number | undefined, handler: Handler): void {
    if (events !== undefined) this.#kernel.epollAdd(this.#epoll, fd, events);
    this.#watches.set(fd, { handler, events, since: this.#list });
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

  /**
   * Closes a watched descriptor that nobody else has a copy of: the kernel takes it out of the epoll set by itself then, and a call is
   * saved.
   */
  close(fd: number): void {
    this.#watches.delete(fd);
    this.#kernel.close(fd);
  }

  /** Runs `action` once after `ms` milliseconds. */
  after(ms: number, action: () => void): number {
    return this.#timers.add(performance.now() + ms, action);
  }

  cancel(id: number | undefined): void {
    if (id !== undefined) this.#timers.cancel(id);
  }

  /** Runs `action` once, when other descriptors have had their turn: for work that is too long for one. */
  soon(action: () => void): void {
    this.#soon.push(action);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Closes everything that is still watched: each descriptor belongs to something that has lived in this loop. */
  [Symbol.dispose](): void {
    this.#timers.clear();
    this.#soon = [];
    for (const fd of this.#watches.keys()) this.#kernel.close(fd);
    this.#watches.clear();
    this.#kernel.close(this.#epoll);
  }

  /** Until {@link stop}. A handler that throws is reported and does not end the loop: containers depend on it. */
  run(): void {
    while (!this.#stopped) this.turn(this.#timers.timeout());
  }

  /** Sleeps `timeoutMs` at most (-1: until something happens) and handles what is there. A handler may call this as well. */
  turn(timeoutMs: number): void {
    const soon = this.#soon;
    if (soon.length > 0) this.#soon = [];
    if (this.#next >= this.#ready.length) {
      this.#list++;
      this.#next = 0;
      this.#ready = [];
      this.#ready = this.#kernel.epollWait(this.#epoll, soon.length > 0 ? 0 : timeoutMs);
    }
    while (this.#next < this.#ready.length) {
      const event = this.#ready[this.#next++];
      if (event === undefined) continue;
      const watch = this.#watches.get(event.fd);
      // what was added since has the number of a descriptor that was closed since: the event is the other's
      if (watch?.events === undefined || watch.since === this.#list) continue;
      try {
        watch.handler(event.events);
      } catch (error) {
        report(error);
      }
    }
    for (const action of soon) guarded(action);
    if (!this.#timers.empty) this.#timers.run();
  }
}

function guarded(action: () => void): void {
  try {
    action();
  } catch (error) {
    report(error);
  }
}

function report(error: unknown): void {
  note(
    error instanceof SysError
      ? error.message
      : error instanceof Error
      ? error.stack ?? error.message
      : String(error),
  );
}

interface Timer {
  readonly id: number;
  readonly due: number;
  /** Undefined when it was cancelled. */
  action: (() => void) | undefined;
}

/** Timers, the next one first: a binary heap. Those that are cancelled stay in it until they are due or are the larger part. */
class Timers {
  #heap: Timer[] = [];
  readonly #byId = new Map<number, Timer>();
  #nextId = 1;

  get empty(): boolean {
    return this.#byId.size === 0;
  }

  add(due: number, action: () => void): number {
    const timer: Timer = { id: this.#nextId++, due, action };
    this.#byId.set(timer.id, timer);
    this.#push(timer);
    return timer.id;
  }

  cancel(id: number): void {
    const timer = this.#byId.get(id);
    if (timer === undefined) return;
    timer.action = undefined;
    this.#byId.delete(id);
    if (this.#heap.length > 64 + 2 * this.#byId.size) {
      this.#heap = [];
      for (const left of this.#byId.values()) this.#push(left);
    }
  }

  clear(): void {
    this.#heap = [];
    this.#byId.clear();
  }

  /** Milliseconds until the next one; -1: there is none. */
  timeout(): number {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (first.action !== undefined) return Math.max(0, Math.ceil(first.due - performance.now()));
      this.#pop();
    }
    return -1;
  }

  /** Runs what is due; what that adds waits for the next time. */
  run(): void {
    const now = performance.now();
    const end = this.#nextId;
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (first.action !== undefined && (first.due > now || first.id >= end)) return;
      this.#pop();
      if (first.action === undefined) continue;
      this.#byId.delete(first.id);
      guarded(first.action);
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !earlier(timer, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      if (below === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && earlier(right, below)) {
        child++;
        below = right;
      }
      if (!earlier(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

const earlier = (a: Timer, b: Timer): boolean => a.due !== b.due ? a.due < b.due : a.id < b.id;
