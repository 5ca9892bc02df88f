import { EPOLLIN, EPOLLOUT } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import { type Syscalls, WOULD_BLOCK } from "../../ffi/syscalls.ts";
import { type Answer, parseAnswer, type Query, RCODE, withId } from "./message.ts";
import { DnsFormatError } from "./name.ts";
import type { Upstream } from "./resolver.ts";

export type Transport = "udp" | "tcp";

/** What the DNS server asks of the kernel. */
export interface DnsCalls {
  readonly kernel: Pick<Syscalls, "read" | "close">;
  readonly network: Pick<NetworkSyscalls, "connect" | "sendto" | "recvfrom" | "acceptFrom">;
}

/**
 * A new nonblocking socket of the family and kind, made where the upstream server is reached. A failure is
 * a SysError, and the next upstream is tried.
 */
export type UpstreamSocket = (
  family: Upstream["family"],
  transport: Transport,
  upstream: Upstream,
) => number;

export interface ForwarderOptions {
  /** For each upstream. Docker's: 4000. */
  readonly timeoutMs?: number;
  /** Queries under way at once, each with a socket of its own. */
  readonly maxInFlight?: number;
}

/** Docker asks no more than three (moby: resolver.go). */
const MAX_UPSTREAMS = 3;
const MAX_MESSAGE = 0xffff;

/** The answer, under the id of the query; undefined when no upstream has given one. */
export type Deliver = (answer: Uint8Array<ArrayBuffer> | undefined) => void;

/** A query under way. */
export interface Forwarded {
  /** Nothing is delivered any more. */
  cancel(): void;
}

interface Shared {
  readonly loop: EventLoop;
  readonly calls: DnsCalls;
  readonly socket: UpstreamSocket;
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** Called when a query waits for another server, from now on. */
  started(exchange: Exchange): void;
  ended(exchange: Exchange): void;
}

/**
 * Passes queries on. Each has an id and a socket of its own, connected to the server that is asked: an answer counts when it comes
 * from there to that port, with that id and that question, so a stranger must guess 30 bits.
 */
export class Forwarder implements Disposable {
  readonly #shared: Shared;
  readonly #timeoutMs: number;
  readonly #maxInFlight: number;
  /** When each is given up with its present server, the earliest first: the time is the same for all. */
  readonly #due = new Map<Exchange, number>();
  #timer: number | undefined;

  constructor(loop: EventLoop, calls: DnsCalls, socket: UpstreamSocket, options: ForwarderOptions = {}) {
    this.#timeoutMs = options.timeoutMs ?? 4000;
    this.#maxInFlight = options.maxInFlight ?? 4096;
    this.#shared = {
      loop,
      calls,
      socket,
      buffer: new Uint8Array(MAX_MESSAGE),
      started: (exchange) => {
        this.#due.delete(exchange);
        this.#due.set(exchange, performance.now() + this.#timeoutMs);
        this.#arm();
      },
      ended: (exchange) => this.#due.delete(exchange),
    };
  }

  get inFlight(): number {
    return this.#due.size;
  }

  /**
   * Asks one server after the other until one answers with something else than its own failure.
   *
   * @param message the query as it came.
   * @returns undefined when too many are under way. The answer never comes before this returns.
   */
  forward(
    query: Query,
    message: Uint8Array,
    upstreams: readonly Upstream[],
    deliver: Deliver,
  ): Forwarded | undefined {
    if (this.#due.size >= this.#maxInFlight) return undefined;
    const exchange = new Exchange(this.#shared, query, message, upstreams.slice(0, MAX_UPSTREAMS), deliver);
    this.#shared.started(exchange);
    // not at once: when no server can be asked, the caller would hear of the end before the beginning
    this.#shared.loop.after(0, () => exchange.next());
    return exchange;
  }

  #arm(): void {
    if (this.#timer !== undefined) return;
    const first = this.#due.values().next().value;
    if (first === undefined) return;
    this.#timer = this.#shared.loop.after(Math.max(1, first - performance.now()), () => {
      this.#timer = undefined;
      const now = performance.now();
      for (const [exchange, due] of this.#due) {
        if (due > now) break;
        exchange.timedOut();
      }
      this.#arm();
    });
  }

  [Symbol.dispose](): void {
    for (const exchange of [...this.#due.keys()]) exchange.cancel();
    this.#shared.loop.cancel(this.#timer);
    this.#timer = undefined;
  }
}

/** One query on its way through the servers. */
class Exchange implements Forwarded {
  readonly #shared: Shared;
  readonly #query: Query;
  readonly #message: Uint8Array<ArrayBuffer>;
  readonly #upstreams: Upstream[];
  readonly #deliver: Deliver;
  #over = false;
  #upstream: Upstream | undefined;
  #fd: number | undefined;
  #id = 0;
  /** What is left if nothing better comes: a truncated answer, or a server's word that it failed. */
  #fallback: Uint8Array<ArrayBuffer> | undefined;
  #truncated = false;

  constructor(
    shared: Shared,
    query: Query,
    message: Uint8Array,
    upstreams: Upstream[],
    deliver: Deliver,
  ) {
    this.#shared = shared;
    this.#query = query;
    this.#message = message.slice();
    this.#upstreams = upstreams;
    this.#deliver = deliver;
  }

  cancel(): void {
    this.#over = true;
    this.#close();
    this.#shared.ended(this);
  }

  timedOut(): void {
    if (this.#truncated) this.#finish(this.#fallback);
    else this.next();
  }

  /** Asks the next server. */
  next(): void {
    if (this.#over) return;
    this.#close();
    this.#upstream = this.#upstreams.shift();
    if (this.#upstream === undefined) return this.#finish(this.#fallback);
    this.#shared.started(this);
    this.#attempt("udp");
  }

  #attempt(transport: Transport): void {
    const { loop, calls: { network }, socket } = this.#shared;
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#id = crypto.getRandomValues(new Uint16Array(1))[0] ?? 0;
    const message = withId(this.#message, this.#id);
    this.#guarded(() => {
      const fd = this.#fd = socket(upstream.family, transport, upstream);
      const tcp = transport === "tcp" ? new TcpExchange(this.#shared, fd, message) : undefined;
      // watched before it is used: from here on, closing means both
      loop.add(fd, tcp === undefined ? EPOLLIN : EPOLLOUT, () => {
        this.#guarded(() => tcp === undefined ? this.#datagram(fd) : this.#stream(fd, tcp));
      });
      network.connect(fd, upstream);
      if (tcp === undefined) network.sendto(fd, message);
    });
  }

  #datagram(fd: number): void {
    const { calls: { kernel }, buffer } = this.#shared;
    // answers that do not count may come in any number: the others' turn comes in between
    for (let turn = 0; turn < 16 && this.#fd === fd; turn++) {
      const length = kernel.read(fd, buffer);
      if (length === WOULD_BLOCK) return;
      this.#received(buffer.subarray(0, length), "udp");
    }
  }

  #stream(fd: number, tcp: TcpExchange): void {
    const message = tcp.step();
    if (message !== undefined && this.#fd === fd) this.#received(message, "tcp");
  }

  #received(bytes: Uint8Array<ArrayBuffer>, transport: Transport): void {
    const answer = this.#check(bytes);
    if (answer === undefined) {
      // on a connection there is nobody else who could still send the right one
      if (transport === "tcp") this.#failed();
      return;
    }
    const own = withId(bytes, this.#query.id);
    if (answer.rcode === RCODE.SERVFAIL || answer.rcode === RCODE.REFUSED || answer.question === undefined) {
      if (!this.#truncated) this.#fallback = own;
      return this.#failed();
    }
    if (answer.truncated && transport === "udp") {
      this.#truncated = true;
      this.#fallback = own;
      this.#close();
      return this.#attempt("tcp");
    }
    this.#finish(own);
  }

  /** undefined for what is no answer to this query: it may be a stranger's, and the right one still to come. */
  #check(bytes: Uint8Array): Answer | undefined {
    let answer: Answer;
    try {
      answer = parseAnswer(bytes);
    } catch (error) {
      if (error instanceof DnsFormatError) return undefined;
      throw error;
    }
    if (answer.id !== this.#id) return undefined;
    const { question } = answer;
    // servers that have not understood a query repeat nothing of it
    if (question === undefined) return answer.rcode === RCODE.NOERROR ? undefined : answer;
    const asked = this.#query.question;
    const same = question.name === asked.name && question.type === asked.type &&
      question.class === asked.class;
    return same ? answer : undefined;
  }

  /** This server will not answer: the next one, unless there is a truncated answer, which is worth more. */
  #failed(): void {
    if (this.#truncated) this.#finish(this.#fallback);
    else this.next();
  }

  #guarded(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#failed();
    }
  }

  #finish(answer: Uint8Array<ArrayBuffer> | undefined): void {
    if (this.#over) return;
    this.cancel();
    this.#deliver(answer);
  }

  #close(): void {
    if (this.#fd === undefined) return;
    this.#shared.loop.remove(this.#fd);
    this.#shared.calls.kernel.close(this.#fd);
    this.#fd = undefined;
  }
}

/** A query and its answer on a connection, each behind its length (RFC 1035, 4.2.2). */
class TcpExchange {
  readonly #shared: Shared;
  readonly #fd: number;
  #unsent: Uint8Array;
  #incoming = new Uint8Array(2);
  #filled = 0;
  #body = false;

  constructor(shared: Shared, fd: number, message: Uint8Array) {
    this.#shared = shared;
    this.#fd = fd;
    this.#unsent = new Uint8Array([message.length >> 8, message.length & 0xff, ...message]);
  }

  /**
   * What can be done now; the answer when it is there.
   *
   * @throws {SysError} when the connection fails.
   */
  step(): Uint8Array<ArrayBuffer> | undefined {
    const { loop, calls: { kernel, network } } = this.#shared;
    if (this.#unsent.length > 0) {
      const sent = network.sendto(this.#fd, this.#unsent);
      if (sent === WOULD_BLOCK) return undefined;
      this.#unsent = this.#unsent.subarray(sent);
      if (this.#unsent.length === 0) loop.change(this.#fd, EPOLLIN);
      return undefined;
    }
    for (;;) {
      const length = kernel.read(this.#fd, this.#incoming.subarray(this.#filled));
      if (length === WOULD_BLOCK) return undefined;
      if (length === 0) return new Uint8Array(); // ended too early, which is no answer
      this.#filled += length;
      if (this.#filled < this.#incoming.length) continue;
      if (this.#body) return this.#incoming;
      this.#body = true;
      this.#filled = 0;
      this.#incoming = new Uint8Array(((this.#incoming[0] ?? 0) << 8) | (this.#incoming[1] ?? 0));
      if (this.#incoming.length === 0) return this.#incoming;
    }
  }
}
