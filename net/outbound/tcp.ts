/**
 * Connections of containers. A SYN comes out of the TUN device; the connection is made in the host's network first. When that has
 * worked, the very SYN is written back: a rule gives it to the listener here, the kernel finishes the handshake, and both sockets
 * are joined. So a container hears how its connection went before it has one: refused, unreachable, or nothing at all.
 */
import {
  EPOLLIN,
  EPOLLOUT,
  RLIMIT_NOFILE,
  SO_REUSEADDR,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import type { Accepted } from "../../ffi/kernel_network.ts";
import {
  IP_TRANSPARENT,
  IPPROTO_TCP,
  IPV6_TRANSPARENT,
  SO_KEEPALIVE,
  SO_LINGER,
  SOL_IP,
  SOL_IPV6,
  SOL_TCP,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
  TCP_NOTSENT_LOWAT,
} from "../../ffi/network_constants.ts";
import { note } from "../../base/note.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import { OUTSIDE_UNSENT } from "../local_tcp.ts";
import { type RootlessHost, TPROXY_ADDRESS, TPROXY_ADDRESS6, TPROXY_PORT } from "../netd/rootless_host.ts";
import type { Relay } from "../relay/relay.ts";
import {
  answerWithError,
  errorFor,
  hostSocket,
  isOutOfDescriptors,
  type OutboundContext,
} from "./context.ts";
import { domainOf, socketAddress } from "./destinations.ts";
import { type Flow, FlowKey, FlowTable } from "./flow_table.ts";
import { Packet, TCP_ACK, TCP_RST, TCP_SYN } from "./packet.ts";

export interface TcpLimits {
  /** Connections that are being made: of one container, and of all. Further SYNs are lost, and sent again by whoever means it. */
  readonly perSource: number;
  readonly total: number;
  /** Connections that one container has open. By default they take half of the descriptors. */
  readonly established?: number;
}

export const TCP_LIMITS: TcpLimits = { perSource: 1024, total: 4096 };

/** Each connection has two descriptors. */
const establishedLimit = (): number => Math.floor(Number(kernel.getrlimit(RLIMIT_NOFILE).soft) / 4);

/** After this a connection that is being made yields to a new one of the same container, when that has no more to spend. */
const YIELD_MS = 3_000;
/** A container has the SYN back: it answers within microseconds, or never. */
const HANDED_MS = 10_000;
const BACKLOG = 4096;
/** Connections taken from the listener before the others' turn. */
const BATCH = 64;
/** How long nothing is accepted when there is no descriptor for it. */
const OUT_OF_DESCRIPTORS_MS = 100;
const RESET_ON_CLOSE = new Uint8Array(new Int32Array([1, 0]).buffer);
/** Seconds: a container that is gone without a word is one whose kernel does not answer, on this very machine. */
const INSIDE_KEEPALIVE = { idle: 60, interval: 10, count: 6 };
const OUTSIDE_IDLE = 300;

/** A connection that is being made. */
interface Pending extends Flow {
  /** The latest SYN: its options hold the time. */
  syn: Uint8Array;
  /** In the host's network; -1 for the resolver, which is no other host. */
  fd: number;
  /** The SYN has been written back. */
  handed: boolean;
}

export class TcpOutbound implements Disposable {
  readonly #context: OutboundContext;
  readonly #relay: Relay;
  readonly #serveDns: (fd: number, source: Uint8Array) => void;
  readonly #limits: Required<TcpLimits>;
  /** Open connections, by their container's address. */
  readonly #established = new Map<string, number>();
  readonly #pending = new FlowTable<Pending>();
  readonly #listeners: number[] = [];
  /** For a SYN that is looked at again. */
  readonly #scratch = new Packet();

  /** @param serveDns takes over a connection to port 53 of the resolver. */
  constructor(
    context: OutboundContext,
    host: RootlessHost,
    relay: Relay,
    serveDns: (fd: number, source: Uint8Array) => void,
    limits: TcpLimits = TCP_LIMITS,
  ) {
    this.#context = context;
    this.#relay = relay;
    this.#serveDns = serveDns;
    this.#limits = { established: establishedLimit(), ...limits };
    prepareNamespace(host);
    this.#listen(host, TPROXY_ADDRESS);
    try {
      this.#listen(host, TPROXY_ADDRESS6);
    } catch (error) {
      // a kernel without IPv6
      if (!(error instanceof SysError)) throw error;
      note(`outbound connections over IPv6: ${error.message}`);
    }
  }

  /** Connections that are being made. */
  get pending(): number {
    return this.#pending.size;
  }

  /** A segment from a container. */
  take(packet: Packet, now: number): void {
    const { tcpFlags } = packet;
    if ((tcpFlags & TCP_RST) !== 0) return;
    if ((tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN) return this.#syn(packet, now);
    // of a connection that is not there any more: an earlier netd's
    if ((tcpFlags & TCP_ACK) === 0) return;
    if (this.#context.destinations.of(packet.destination).kind !== "drop") this.#reset(packet);
  }

  /** Gives up what has waited for too long. */
  sweep(now: number): void {
    for (const pending of this.#pending) {
      if (pending.handed && now - pending.used > HANDED_MS) this.#drop(pending);
    }
  }

  /** Gives up a connection for its descriptor. */
  yieldOne(): boolean {
    const idlest = this.#pending.idlest();
    if (idlest === undefined) return false;
    this.#drop(idlest);
    return true;
  }

  [Symbol.dispose](): void {
    for (const pending of this.#pending) this.#drop(pending);
    for (const fd of this.#listeners.splice(0)) {
      this.#context.loop.remove(fd);
      kernel.close(fd);
    }
  }

  #listen(host: RootlessHost, at: string): void {
    const address = addressBytes(parseAddress(at));
    const fd = host.make((calls) => {
      const socket = calls.socket(domainOf(address), SOCK_STREAM | SOCK_NONBLOCK);
      if (address.length === 4) calls.setsockopt(socket, SOL_IP, IP_TRANSPARENT, 1);
      else calls.setsockopt(socket, SOL_IPV6, IPV6_TRANSPARENT, 1);
      calls.setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, 1);
      // connections inherit all of these
      calls.setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
      calls.setsockopt(socket, SOL_TCP, TCP_KEEPIDLE, INSIDE_KEEPALIVE.idle);
      calls.setsockopt(socket, SOL_TCP, TCP_KEEPINTVL, INSIDE_KEEPALIVE.interval);
      calls.setsockopt(socket, SOL_TCP, TCP_KEEPCNT, INSIDE_KEEPALIVE.count);
      calls.setsockopt(socket, SOL_TCP, TCP_NODELAY, 1);
      calls.bind(socket, socketAddress(address, TPROXY_PORT));
      calls.listen(socket, BACKLOG);
      return socket;
    });
    this.#listeners.push(fd);
    this.#context.loop.add(fd, EPOLLIN, () => this.#accept(fd));
  }

  #syn(packet: Packet, now: number): void {
    const known = this.#pending.of(packet);
    if (known !== undefined) {
      known.syn = packet.bytes.slice(0, packet.end);
      // sent again although it was handed on: the kernel has dropped it, or the one before was reset
      if (known.handed) this.#context.tun.write(known.syn);
      return;
    }
    const { destinations } = this.#context;
    const destination = destinations.of(packet.destination);
    switch (destination.kind) {
      case "drop":
        return;
      case "unreachable":
        return this.#refuse(packet, ERRNO.EHOSTUNREACH);
      case "resolver":
        if (packet.destinationPort !== 53) return this.#reset(packet);
        if (this.#mayAdd(packet, now)) this.#hand(this.#add(packet, -1, now), now);
        return;
      case "reach":
        if (this.#mayAdd(packet, now)) this.#connect(packet, destination.address, now);
    }
  }

  #mayAdd(packet: Packet, now: number): boolean {
    const open = this.#established.get(String.fromCharCode(...packet.source)) ?? 0;
    if (open >= this.#limits.established) return false;
    if (this.#pending.countOf(packet) >= this.#limits.perSource) return this.#yield(packet, now);
    return this.#pending.size < this.#limits.total || this.#yield(undefined, now);
  }

  /** The idlest connection of the packet's source, or of the source with most of them, makes room when it is old enough. */
  #yield(packet: Packet | undefined, now: number): boolean {
    const idlest = this.#pending.idlest(packet);
    if (idlest === undefined || now - idlest.used < YIELD_MS) return false;
    this.#drop(idlest);
    return true;
  }

  #add(packet: Packet, fd: number, now: number): Pending {
    const pending: Pending = {
      key: FlowKey.of(packet),
      used: now,
      syn: packet.bytes.slice(0, packet.end),
      fd,
      handed: false,
    };
    this.#pending.add(pending);
    return pending;
  }

  #connect(packet: Packet, address: Uint8Array, now: number): void {
    const { calls, loop } = this.#context;
    let fd = -1;
    try {
      fd = hostSocket(this.#context, domainOf(address), SOCK_STREAM);
      calls.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
      calls.setsockopt(fd, SOL_TCP, TCP_KEEPIDLE, OUTSIDE_IDLE);
      calls.setsockopt(fd, SOL_TCP, TCP_NODELAY, 1);
      calls.setsockopt(fd, SOL_TCP, TCP_NOTSENT_LOWAT, OUTSIDE_UNSENT);
      const connected = calls.connect(fd, socketAddress(address, packet.destinationPort));
      const pending = this.#add(packet, fd, now);
      if (connected) this.#hand(pending, now);
      else loop.add(fd, EPOLLOUT, () => this.#connected(pending));
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (fd >= 0) kernel.close(fd);
      this.#refuse(packet, error.errno);
    }
  }

  /** The connection in the host's network is there, or has failed. */
  #connected(pending: Pending): void {
    const { calls, loop } = this.#context;
    const errno = calls.socketError(pending.fd);
    if (errno === 0) {
      // watched again by the relay
      loop.remove(pending.fd);
      this.#hand(pending, performance.now());
      return;
    }
    this.#drop(pending);
    this.#scratch.bytes.set(pending.syn);
    if (this.#scratch.parse(pending.syn.length) === undefined) this.#refuse(this.#scratch, errno);
  }

  #hand(pending: Pending, now: number): void {
    pending.handed = true;
    pending.used = now;
    this.#context.tun.write(pending.syn);
  }

  #refuse(packet: Packet, errno: number): void {
    if (errno === ERRNO.ECONNREFUSED || errno === ERRNO.ECONNRESET) return this.#reset(packet);
    const error = errorFor(errno, packet.family === 4);
    if (error !== undefined) answerWithError(this.#context, packet, error);
  }

  #reset(packet: Packet): void {
    const { maker, tun } = this.#context;
    tun.write(maker.bytes.subarray(0, maker.reset(packet)));
  }

  #drop(pending: Pending): void {
    this.#pending.delete(pending);
    if (pending.fd < 0) return;
    this.#context.loop.remove(pending.fd);
    kernel.close(pending.fd);
    pending.fd = -1;
  }

  #accept(listener: number): void {
    const { calls, loop, freeDescriptors } = this.#context;
    try {
      for (let count = 0; count < BATCH; count++) {
        const accepted = calls.acceptFrom(listener);
        if (accepted === undefined) return;
        this.#join(accepted);
      }
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (!isOutOfDescriptors(error)) note(`accepting outbound connections: ${error.message}`);
      else if (freeDescriptors()) return;
      // it stays in the queue, where the loop would find it again and again
      loop.change(listener, undefined);
      loop.after(OUT_OF_DESCRIPTORS_MS, () => {
        if (this.#listeners.includes(listener)) loop.change(listener, EPOLLIN);
      });
    }
  }

  #join({ fd, peer }: Accepted): void {
    const { calls } = this.#context;
    let pending: Pending | undefined;
    try {
      const local = calls.getsockname(fd);
      if (peer !== undefined && local !== undefined && isInternet(peer) && isInternet(local)) {
        const addresses = new Uint8Array([...peer.address, ...local.address]);
        pending = this.#pending.get(
          new FlowKey(IPPROTO_TCP, addresses, ((peer.port << 16) | local.port) >>> 0),
        );
      }
    } catch (error) {
      // reset in the meantime
      if (!(error instanceof SysError)) throw error;
    }
    if (pending === undefined || !pending.handed) {
      // nobody is there for it any more
      calls.setsockopt(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
      kernel.close(fd);
      return;
    }
    this.#pending.delete(pending);
    if (pending.fd < 0) this.#serveDns(fd, pending.key.source);
    else this.#establish(pending.fd, fd, pending.key.source);
  }

  #establish(outside: number, inside: number, source: Uint8Array): void {
    const name = String.fromCharCode(...source);
    this.#established.set(name, (this.#established.get(name) ?? 0) + 1);
    this.#relay.join(outside, inside, {
      onClose: () => {
        const left = (this.#established.get(name) ?? 1) - 1;
        if (left > 0) this.#established.set(name, left);
        else this.#established.delete(name);
      },
    });
  }
}

function prepareNamespace(host: RootlessHost): void {
  const settings = {
    // what comes back with a cookie would not find the listener; the limits here keep its queue short enough
    tcp_syncookies: 0,
    tcp_max_syn_backlog: 4 * BACKLOG,
    // early demultiplexing gives a container's SYN to the TIME_WAIT of our earlier connection with the same ports, and a packet that has
    // a socket is not forwarded: that port would be silent for a minute
    tcp_early_demux: 0,
  };
  for (const [name, value] of Object.entries(settings)) {
    try {
      host.sysctl(`ipv4.${name}`, String(value));
    } catch (error) {
      // some kernels keep TCP's settings for the machine's own namespace
      if (!(error instanceof SysError)) throw error;
    }
  }
}

const isInternet = <T extends { readonly family: string }>(
  address: T,
): address is Extract<T, { port: number; address: Uint8Array }> =>
  address.family === "inet" || address.family === "inet6";
