import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { WOULD_BLOCK } from "../../ffi/syscalls.ts";
import type { DnsCalls } from "./forwarder.ts";

export interface TcpClientEvents {
  /** A whole message. False: it gets no answer. */
  query(message: Uint8Array, reply: (answer: Uint8Array<ArrayBuffer>) => void): boolean;
  closed(): void;
}

/** No query is longer, and what a client makes us keep is bounded. */
const MAX_QUERY = 8192;
/** Until answers have been sent, nothing more is read. */
const MAX_PENDING = 16;
/** Reads before the others' turn: two for each message. */
const BATCH = 32;

/** A connection of a client: queries behind their length, any number of them, answered as the answers come (RFC 7766, 6.2.1.1). */
export class TcpClient {
  readonly #loop: EventLoop;
  readonly #calls: DnsCalls;
  readonly #fd: number;
  readonly #idleMs: number;
  readonly #events: TcpClientEvents;
  #incoming = new Uint8Array(2);
  #filled = 0;
  #body = false;
  readonly #outgoing: Uint8Array[] = [];
  /** Queries that are not answered yet. */
  #pending = 0;
  /** The client sends no more, but may still read. */
  #ended = false;
  #closed = false;
  #idle: number | undefined;

  constructor(loop: EventLoop, calls: DnsCalls, fd: number, idleMs: number, events: TcpClientEvents) {
    this.#loop = loop;
    this.#calls = calls;
    this.#fd = fd;
    this.#idleMs = idleMs;
    this.#events = events;
    loop.add(fd, EPOLLIN, (ready) => this.#ready(ready));
    this.#active();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#loop.cancel(this.#idle);
    this.#loop.remove(this.#fd);
    this.#calls.kernel.close(this.#fd);
    this.#events.closed();
  }

  /** A query has come whole, or all answers are sent: single bytes keep no connection open. */
  #active(): void {
    this.#loop.cancel(this.#idle);
    this.#idle = this.#loop.after(this.#idleMs, () => {
      if (this.#pending > 0 && this.#outgoing.length === 0) this.#active();
      else this.close();
    });
  }

  #ready(events: number): void {
    if ((events & (EPOLLHUP | EPOLLERR)) !== 0) return this.close();
    try {
      if ((events & EPOLLOUT) !== 0) this.#send();
      if ((events & EPOLLIN) !== 0) this.#receive();
      this.#watch();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.close();
    }
  }

  #watch(): void {
    if (this.#closed) return;
    if (this.#ended && this.#pending === 0 && this.#outgoing.length === 0) return this.close();
    const read = this.#mayRead() ? EPOLLIN : 0;
    this.#loop.change(this.#fd, read | (this.#outgoing.length > 0 ? EPOLLOUT : 0));
  }

  #mayRead(): boolean {
    return !this.#ended && !this.#closed && this.#pending + this.#outgoing.length < MAX_PENDING;
  }

  #receive(): void {
    for (let turn = 0; turn < BATCH && this.#mayRead(); turn++) {
      const length = this.#calls.kernel.read(this.#fd, this.#incoming.subarray(this.#filled));
      if (length === WOULD_BLOCK) return;
      if (length === 0) {
        this.#ended = true;
        return;
      }
      this.#filled += length;
      if (this.#filled < this.#incoming.length) continue;
      const complete = this.#incoming;
      const next = this.#body ? 2 : ((complete[0] ?? 0) << 8) | (complete[1] ?? 0);
      if (next === 0 || next > MAX_QUERY) return this.close();
      const message = this.#body ? complete : undefined;
      this.#incoming = new Uint8Array(next);
      this.#filled = 0;
      this.#body = !this.#body;
      if (message !== undefined) this.#query(message);
    }
  }

  #query(message: Uint8Array): void {
    this.#active();
    this.#pending++;
    const answered = this.#events.query(message, (answer) => {
      this.#pending--;
      this.#answer(answer);
    });
    // somebody who does not speak DNS
    if (!answered) this.close();
  }

  #answer(answer: Uint8Array<ArrayBuffer>): void {
    if (this.#closed) return;
    const framed = new Uint8Array(2 + answer.length);
    framed[0] = answer.length >> 8;
    framed[1] = answer.length & 0xff;
    framed.set(answer, 2);
    this.#outgoing.push(framed);
    try {
      this.#send();
      this.#watch();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.close();
    }
  }

  #send(): void {
    for (let first; (first = this.#outgoing[0]) !== undefined;) {
      const sent = this.#calls.network.sendto(this.#fd, first);
      if (sent === WOULD_BLOCK) return;
      if (sent < first.length) this.#outgoing[0] = first.subarray(sent);
      else this.#outgoing.shift();
    }
    this.#active();
  }
}
