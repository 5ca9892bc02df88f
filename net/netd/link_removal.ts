/**
 * Links that go while their containers or netd live on. The kernel waits for all processors when a link goes, 16 to 50 ms, and whoever asks for
 * it waits too; netd's thread carries everybody's bytes meanwhile. So another thread asks.
 */
import { note } from "../../base/note.ts";
import { EPOLLIN } from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import * as nl from "../netlink/mod.ts";
import { dispense } from "./ensure.ts";

export interface LinkRemoval {
  /** Takes away a link of the rootless host, which may be gone already. `owner`: for whom {@link settle} is called. */
  remove(link: nl.LinkRef, owner: string): void;
  /** Returns when nothing of this owner's is under way any more: its names are free. */
  settle(owner: string): void;
}

/** One that returns when the link is gone. */
export function removalAtOnce(route: nl.Netlink): LinkRemoval {
  return { remove: (link) => void dispense(() => nl.deleteLink(route, link)), settle: () => {} };
}

/** The kernel answers, or something is wrong with it. */
const LOST_MS = 10_000;
const GONE: readonly number[] = [0, ERRNO.ENODEV, ERRNO.ENOENT];

interface Removal {
  readonly link: nl.LinkRef;
  readonly owner: string;
  readonly timer: number;
}

export class BackgroundRemoval implements LinkRemoval, Disposable {
  readonly #loop: EventLoop;
  readonly #route: nl.Netlink;
  readonly #connection: nl.Netlink;
  /** Watches the connection while {@link settle} waits. */
  readonly #epoll: number;
  readonly #under = new Map<number, Removal>();
  /** Each is called when all that was under way when it came is done. */
  #waiting: { readonly until: Set<number>; readonly then: () => void }[] = [];

  /** How many removals have been begun. */
  begun = 0;

  /**
   * @param route netd's own connection of the rootless host
   * @param connection another one, for this alone; owned from here on
   */
  constructor(loop: EventLoop, route: nl.Netlink, connection: nl.Netlink) {
    this.#loop = loop;
    this.#route = route;
    this.#connection = connection;
    this.#epoll = kernel.epollCreate();
    kernel.epollAdd(this.#epoll, connection.fd, EPOLLIN);
    loop.add(connection.fd, EPOLLIN, () => this.#collect());
  }

  remove(link: nl.LinkRef, owner: string): void {
    // by number: another link may have the name by the time that the thread asks
    const index = typeof link === "number" ? link : nl.getLink(this.#route, link)?.index;
    if (index === undefined) return;
    this.begun++;
    const number = nl.postDeleteLink(this.#connection, index);
    const timer = this.#loop.after(LOST_MS, () => this.#done(new Map([[number, ERRNO.ETIMEDOUT]])));
    this.#under.set(number, { link, owner, timer });
  }

  settle(owner: string): void {
    const waits = (): boolean => [...this.#under.values()].some((one) => one.owner === owner);
    const deadline = performance.now() + LOST_MS;
    while (waits() && performance.now() < deadline) {
      kernel.epollWait(this.#epoll, LOST_MS);
      this.#collect();
    }
  }

  /** Calls `then` when all that is under way now is done. */
  afterwards(then: () => void): void {
    this.#waiting.push({ until: new Set(this.#under.keys()), then });
    this.#release();
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#under.values()) this.#loop.cancel(timer);
    this.#loop.remove(this.#connection.fd);
    kernel.close(this.#epoll);
    this.#connection.close();
  }

  #collect(): void {
    try {
      this.#done(this.#connection.outcomes());
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      note(`removal of links: ${error.message}`);
    }
  }

  #done(outcomes: ReadonlyMap<number, number>): void {
    for (const [number, errno] of outcomes) {
      const removal = this.#under.get(number);
      if (removal === undefined) continue;
      this.#under.delete(number);
      this.#loop.cancel(removal.timer);
      for (const { until } of this.#waiting) until.delete(number);
      if (!GONE.includes(errno)) note(new SysError(`delete link ${removal.link}`, errno).message);
    }
    this.#release();
  }

  #release(): void {
    const ready = this.#waiting.filter(({ until }) => until.size === 0);
    this.#waiting = this.#waiting.filter(({ until }) => until.size > 0);
    for (const { then } of ready) then();
  }
}
