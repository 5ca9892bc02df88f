/** The resolver at 10.0.2.3: what it is asked is passed on to the host's own, by UDP and by TCP. */
import { SOCK_DGRAM, SOCK_STREAM } from "../../ffi/constants.ts";
import { AF_INET, AF_INET6 } from "../../ffi/constants.ts";
import { kernel } from "../../ffi/kernel.ts";
import { type DnsCalls, Forwarder, type ForwarderOptions } from "../dns/forwarder.ts";
import {
  encodeAnswer,
  encodeBadQuery,
  parseQuery,
  RCODE,
  sizeLimit,
  truncateAnswer,
} from "../dns/message.ts";
import type { Upstream } from "../dns/resolver.ts";
import { TcpClient } from "../dns/tcp_client.ts";
import { answerWithError, errorFor, hostSocket, type OutboundContext } from "./context.ts";
import { ERRNO } from "../../ffi/errno.ts";
import { LEAST_MTU6, writeInParts } from "./fragments.ts";
import { headerLength } from "./packet_maker.ts";
import type { Packet } from "./packet.ts";

const DNS_PORT = 53;

export interface HostResolverLimits {
  /** Questions of one container that wait for their answers. Others get SERVFAIL. */
  readonly questions: number;
  /** Connections of one container, and of all. */
  readonly connections: number;
  readonly totalConnections: number;
  /** A connection without a question ends after this. */
  readonly idleMs: number;
}

const LIMITS: HostResolverLimits = { questions: 256, connections: 32, totalConnections: 512, idleMs: 10_000 };

/** What each container has. */
class Counter {
  readonly #counts = new Map<string, number>();
  total = 0;

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  change(key: string, by: 1 | -1): void {
    const count = this.of(key) + by;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
    this.total += by;
  }
}

export class HostResolver implements Disposable {
  readonly #context: OutboundContext;
  readonly #calls: DnsCalls;
  readonly #forwarder: Forwarder;
  readonly #upstreams: () => readonly Upstream[];
  readonly #limits: HostResolverLimits;
  readonly #questions = new Counter();
  readonly #connections = new Counter();
  readonly #clients = new Set<TcpClient>();
  #fragmentId = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;

  constructor(
    context: OutboundContext,
    upstreams: () => readonly Upstream[],
    limits: Partial<HostResolverLimits> & ForwarderOptions = {},
  ) {
    this.#context = context;
    this.#calls = { kernel, network: context.calls };
    this.#upstreams = upstreams;
    this.#limits = { ...LIMITS, ...limits };
    this.#forwarder = new Forwarder(
      context.loop,
      this.#calls,
      (family, transport) =>
        hostSocket(
          context,
          family === "inet" ? AF_INET : AF_INET6,
          transport === "udp" ? SOCK_DGRAM : SOCK_STREAM,
        ),
      limits,
    );
  }

  /** A datagram to the resolver. */
  datagram(packet: Packet): void {
    if (packet.destinationPort !== DNS_PORT) {
      const error = errorFor(ERRNO.ECONNREFUSED, packet.family === 4);
      if (error !== undefined) answerWithError(this.#context, packet, error);
      return;
    }
    const { destination, source, sourcePort } = packet;
    const { maker, tun } = this.#context;
    this.#serve(packet.bytes.subarray(packet.payload, packet.end), "udp", source, (answer) => {
      const ends = { source: destination, destination: source };
      maker.bytes.set(answer, headerLength(ends) + 8);
      const made = maker.bytes.subarray(0, maker.udp(ends, DNS_PORT, sourcePort, answer.length));
      if (packet.family === 4) tun.write(made);
      // nobody on the way divides it, nor do we hear of a link that is too small for it
      else writeInParts(made, LEAST_MTU6, this.#fragmentId++, (part) => tun.write(part));
    });
  }

  /** Takes over a connection to the resolver. */
  connection(fd: number, source: Uint8Array): void {
    const key = String.fromCharCode(...source);
    const { connections, totalConnections, idleMs } = this.#limits;
    if (this.#connections.of(key) >= connections || this.#connections.total >= totalConnections) {
      kernel.close(fd);
      return;
    }
    this.#connections.change(key, 1);
    const client: TcpClient = new TcpClient(this.#context.loop, this.#calls, fd, idleMs, {
      query: (message, reply) => this.#serve(message, "tcp", source, reply),
      closed: () => {
        this.#connections.change(key, -1);
        this.#clients.delete(client);
      },
    });
    this.#clients.add(client);
  }

  [Symbol.dispose](): void {
    for (const client of [...this.#clients]) client.close();
    this.#forwarder[Symbol.dispose]();
  }

  /** False: the message must not be answered. */
  #serve(
    message: Uint8Array,
    transport: "udp" | "tcp",
    source: Uint8Array,
    reply: (answer: Uint8Array<ArrayBuffer>) => void,
  ): boolean {
    const query = parseQuery(message);
    if (query === undefined) return false;
    if ("rcode" in query) {
      reply(encodeBadQuery(query));
      return true;
    }
    const limit = sizeLimit(query, transport);
    const failure = () => encodeAnswer(query, RCODE.SERVFAIL, [], [], limit);
    const key = String.fromCharCode(...source);
    const upstreams = this.#upstreams();
    const busy = upstreams.length === 0 || this.#questions.of(key) >= this.#limits.questions;
    const forwarded = busy ? undefined : this.#forwarder.forward(query, message, upstreams, (answer) => {
      this.#questions.change(key, -1);
      reply(answer === undefined ? failure() : truncateAnswer(answer, limit));
    });
    if (forwarded === undefined) reply(failure());
    else this.#questions.change(key, 1);
    return true;
  }
}
