import { EPOLLIN } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { WOULD_BLOCK } from "../../ffi/syscalls.ts";
import {
  type DnsCalls,
  type Forwarded,
  Forwarder,
  type ForwarderOptions,
  type Transport,
  type UpstreamSocket,
} from "./forwarder.ts";
import { encodeAnswer, encodeBadQuery, parseQuery, RCODE, sizeLimit, truncateAnswer } from "./message.ts";
import { resolveLocally, type View } from "./resolver.ts";
import { TcpClient } from "./tcp_client.ts";

/**
 * Descriptors of one container's sandbox, made in its network namespace, where they stay: a bound UDP socket and a listening TCP
 * one, both nonblocking. They are the server's from then on.
 */
export interface SandboxSockets {
  readonly udp: number;
  readonly tcp: number;
}

export interface DnsServerOptions extends ForwarderOptions {
  /** Queries of one container that are passed on at a time; more get SERVFAIL at once (moby: 1024). */
  readonly maxPerSandbox?: number;
  /** Connections of one container. */
  readonly maxClients?: number;
  /** A connection without a whole query, or with an answer that nobody reads, ends after this. */
  readonly idleMs?: number;
}

/** Datagrams and connections taken from one socket before the others' turn. */
const BATCH = 32;
/** How long no connection is accepted when there is no descriptor for it. */
const OUT_OF_DESCRIPTORS_MS = 1000;

/**
 * The DNS server of all sandboxes, in one event loop. A container's names are answered from memory, everything else is
 * passed on through sockets of the host's side.
 */
export class DnsServer implements Disposable {
  readonly #shared: Shared;
  readonly #sandboxes = new Map<string, Sandbox>();

  constructor(loop: EventLoop, calls: DnsCalls, socket: UpstreamSocket, options: DnsServerOptions = {}) {
    this.#shared = {
      loop,
      calls,
      forwarder: new Forwarder(loop, calls, socket, options),
      buffer: new Uint8Array(0xffff),
      maxPerSandbox: options.maxPerSandbox ?? 1024,
      maxClients: options.maxClients ?? 64,
      idleMs: options.idleMs ?? 10_000,
    };
  }

  /** Serves a sandbox, in place of the one that has had this id. */
  open(id: string, sockets: SandboxSockets, view: View): void {
    this.close(id);
    this.#sandboxes.set(id, new Sandbox(this.#shared, sockets, view));
  }

  /** What the container sees from its next query on. */
  change(id: string, view: View): void {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox !== undefined) sandbox.view = view;
  }

  /** Ends connections and closes the sandbox's sockets. */
  close(id: string): void {
    this.#sandboxes.get(id)?.[Symbol.dispose]();
    this.#sandboxes.delete(id);
  }

  [Symbol.dispose](): void {
    for (const id of [...this.#sandboxes.keys()]) this.close(id);
    this.#shared.forwarder[Symbol.dispose]();
  }
}

interface Shared {
  readonly loop: EventLoop;
  readonly calls: DnsCalls;
  readonly forwarder: Forwarder;
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly maxPerSandbox: number;
  readonly maxClients: number;
  readonly idleMs: number;
}

class Sandbox implements Disposable {
  view: View;
  readonly #shared: Shared;
  readonly #sockets: SandboxSockets;
  readonly #forwarded = new Set<Forwarded>();
  readonly #clients = new Set<TcpClient>();
  #pause: number | undefined;

  constructor(shared: Shared, sockets: SandboxSockets, view: View) {
    this.#shared = shared;
    this.#sockets = sockets;
    this.view = view;
    shared.loop.add(sockets.udp, EPOLLIN, () => this.#datagrams());
    shared.loop.add(sockets.tcp, EPOLLIN, () => this.#connections());
  }

  [Symbol.dispose](): void {
    const { loop, calls } = this.#shared;
    loop.cancel(this.#pause);
    for (const forwarded of this.#forwarded) forwarded.cancel();
    this.#forwarded.clear();
    for (const client of [...this.#clients]) client.close();
    for (const fd of [this.#sockets.udp, this.#sockets.tcp]) {
      loop.remove(fd);
      calls.kernel.close(fd);
    }
  }

  #datagrams(): void {
    const { calls: { network }, buffer } = this.#shared;
    const { udp } = this.#sockets;
    for (let turn = 0; turn < BATCH; turn++) {
      const { length, from } = network.recvfrom(udp, buffer);
      if (length === WOULD_BLOCK) return;
      if (from === undefined) continue;
      this.#serve(buffer.subarray(0, length), "udp", (answer) => {
        try {
          network.sendto(udp, answer, from);
        } catch (error) {
          // an address that nothing can be sent to, port 0 for instance; a full buffer drops the answer just as well
          if (!(error instanceof SysError)) throw error;
        }
      });
    }
  }

  #connections(): void {
    const { loop, calls, maxClients, idleMs } = this.#shared;
    const { tcp } = this.#sockets;
    try {
      for (let turn = 0; turn < BATCH; turn++) {
        const accepted = calls.network.acceptFrom(tcp);
        if (accepted === undefined) return;
        if (this.#clients.size >= maxClients) {
          calls.kernel.close(accepted.fd);
          continue;
        }
        const client = new TcpClient(loop, calls, accepted.fd, idleMs, {
          query: (message, reply) => this.#serve(message, "tcp", reply),
          closed: () => this.#clients.delete(client),
        });
        this.#clients.add(client);
      }
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      // EMFILE and the like: the connection stays in the queue, and the loop would find it there without end
      loop.change(tcp, undefined);
      this.#pause = loop.after(OUT_OF_DESCRIPTORS_MS, () => loop.change(tcp, EPOLLIN));
    }
  }

  /**
   * @param reply called once, now or later, except after the sandbox is closed.
   * @returns false for what must not be answered.
   */
  #serve(
    message: Uint8Array,
    transport: Transport,
    reply: (answer: Uint8Array<ArrayBuffer>) => void,
  ): boolean {
    const { forwarder, maxPerSandbox } = this.#shared;
    const query = parseQuery(message);
    if (query === undefined) return false;
    const answerNow = (answer: Uint8Array<ArrayBuffer>): true => {
      reply(answer);
      return true;
    };
    if ("rcode" in query) return answerNow(encodeBadQuery(query));
    const limit = sizeLimit(query, transport);
    const failure = (rcode: number) => encodeAnswer(query, rcode, [], [], limit);
    if ((query.edns?.version ?? 0) > 0) return answerNow(failure(RCODE.BADVERS));
    const local = resolveLocally(this.view, query.question);
    if (local !== undefined) {
      return answerNow(encodeAnswer(query, RCODE.NOERROR, local.answers, local.additional, limit));
    }
    const { upstreams } = this.view;
    const busy = upstreams.length === 0 || this.#forwarded.size >= maxPerSandbox;
    const forwarded = busy ? undefined : forwarder.forward(query, message, upstreams, (answer) => {
      if (forwarded !== undefined) this.#forwarded.delete(forwarded);
      reply(answer === undefined ? failure(RCODE.SERVFAIL) : truncateAnswer(answer, limit));
    });
    if (forwarded === undefined) return answerNow(failure(RCODE.SERVFAIL));
    this.#forwarded.add(forwarded);
    return true;
  }
}
