/** The way of containers to the outside, without any right on the host: every connection becomes one of the user's own. */
import { EPOLLIN } from "../../ffi/constants.ts";
import { note } from "../../base/note.ts";
import { SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP } from "../../ffi/network_constants.ts";
import { HostResolvers } from "../dns/host_resolvers.ts";
import type { ForwarderOptions } from "../dns/forwarder.ts";
import type { Upstream } from "../dns/resolver.ts";
import type { NetdSettings } from "../netd/protocol.ts";
import { type RootlessHost, TUN_NAME } from "../netd/rootless_host.ts";
import type { Topology } from "../netd/topology.ts";
import type { Relay } from "../relay/relay.ts";
import { DescriptorPause } from "../publish/descriptor_pause.ts";
import type { OutboundContext } from "./context.ts";
import { type DatagramLimits, DatagramOutbound } from "./datagrams.ts";
import { Destinations } from "./destinations.ts";
import { Reassembly } from "./fragments.ts";
import { HostResolver, type HostResolverLimits } from "./host_resolver.ts";
import { ICMP6_TOO_BIG, PacketMaker } from "./packet_maker.ts";
import { ICMP6_ECHO, ICMP_ECHO, Packet } from "./packet.ts";
import { type TcpLimits, TcpOutbound } from "./tcp.ts";
import { Tun } from "./tun.ts";

export interface OutboundDeps {
  readonly loop: EventLoop;
  readonly host: RootlessHost;
  readonly relay: Relay;
  /** Calls in the host's network. */
  readonly calls: NetworkSyscalls;
  readonly topology: Topology;
  readonly settings: Pick<NetdSettings, "hostLoopback">;
  /** Who answers what 10.0.2.3 is asked; by default whom the host's resolv.conf names. */
  readonly upstreams?: () => readonly Upstream[];
  readonly limits?: {
    readonly tcp?: TcpLimits;
    readonly datagrams?: DatagramLimits;
    readonly resolver?: Partial<HostResolverLimits> & ForwarderOptions;
  };
}

/** What is counted, for `network doctor` and for tests. */
export interface OutboundCounts {
  /** TCP connections that are being made, and flows of UDP and ping. */
  readonly connecting: number;
  readonly flows: number;
  /** Packets that were damaged, of no protocol that is known here, or not a container's. */
  readonly dropped: Readonly<Record<string, number>>;
}

/** Packets from containers before the others' turn. */
const BATCH = 64;
const SWEEP_MS = 1_000;

export class Outbound implements Disposable {
  readonly #loop: EventLoop;
  readonly #tun: Tun;
  readonly #destinations: Destinations;
  readonly #packet = new Packet();
  readonly #maker = new PacketMaker();
  readonly #reassembly = new Reassembly();
  readonly #tcp: TcpOutbound;
  readonly #datagrams: DatagramOutbound;
  readonly #resolver: HostResolver;
  readonly #dropped: Record<string, number> = {};
  #timer: number | undefined;

  /** @throws {SysError} where tproxy or TUN are missing: see fallback.ts. */
  constructor({ loop, host, relay, calls, topology, settings, upstreams, limits }: OutboundDeps) {
    this.#loop = loop;
    using cleanup = new DisposableStack();
    this.#tun = cleanup.use(new Tun(host));
    this.#destinations = new Destinations(topology, calls, settings.hostLoopback);
    const descriptors = new DescriptorPause(loop);
    const context: OutboundContext = {
      loop,
      calls,
      tun: this.#tun,
      maker: this.#maker,
      destinations: this.#destinations,
      freeDescriptors: () => this.#datagrams.yieldOne() || this.#tcp.yieldOne(),
      isLate: (fd) => descriptors.isLate(fd),
    };
    const resolvers = new HostResolvers();
    this.#resolver = cleanup.use(
      new HostResolver(context, upstreams ?? (() => resolvers.upstreams()), limits?.resolver),
    );
    this.#datagrams = cleanup.use(new DatagramOutbound(context, limits?.datagrams));
    this.#tcp = cleanup.use(
      new TcpOutbound(
        context,
        host,
        relay,
        (fd, source) => this.#resolver.connection(fd, source),
        limits?.tcp,
      ),
    );
    loop.add(this.#tun.fd, EPOLLIN, () => this.#read());
    cleanup.move();
  }

  /** Settings that may change while everything goes on. */
  configure({ hostLoopback }: Pick<NetdSettings, "hostLoopback">): void {
    this.#destinations.hostLoopback = hostLoopback;
  }

  get counts(): OutboundCounts {
    return { connecting: this.#tcp.pending, flows: this.#datagrams.flows, dropped: { ...this.#dropped } };
  }

  [Symbol.dispose](): void {
    this.#loop.cancel(this.#timer);
    this.#loop.remove(this.#tun.fd);
    this.#tcp[Symbol.dispose]();
    this.#datagrams[Symbol.dispose]();
    this.#resolver[Symbol.dispose]();
    this.#tun[Symbol.dispose]();
  }

  #read(): void {
    const packet = this.#packet;
    const now = performance.now();
    for (let count = 0; count < BATCH; count++) {
      let length: number;
      try {
        length = this.#tun.read(packet);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        // somebody has deleted the device: a descriptor of it reports that without end
        this.#loop.change(this.#tun.fd, undefined);
        note(
          `${TUN_NAME} has been deleted (${error.message}), and with it the way of containers to the outside: ` +
            `end this process (kill -9 ${Deno.pid}), and the engine starts another, which makes it anew`,
        );
        return;
      }
      if (length === 0) return;
      const damage = packet.parse(length);
      if (damage !== undefined) this.#drop(damage);
      // the way of nearly all packets: no more is asked about a flow that goes on
      else if (
        packet.protocol === IPPROTO_UDP && !packet.isFragment && this.#datagrams.takeKnown(packet, now)
      ) continue;
      else if (!this.#destinations.isContainer(packet.source)) this.#drop("source");
      else if (!packet.isFragment || this.#reassembly.add(packet, now)) this.#take(packet, now);
      this.#arm();
    }
  }

  #drop(reason: string): void {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1;
  }

  #take(packet: Packet, now: number): void {
    switch (packet.protocol) {
      case IPPROTO_TCP:
        return this.#tcp.take(packet, now);
      case IPPROTO_UDP:
        return this.#destinations.isResolver(packet.destination)
          ? this.#resolver.datagram(packet)
          : this.#datagrams.take(packet, now);
      case IPPROTO_ICMP:
      case IPPROTO_ICMPV6:
        return this.#icmp(packet, now);
    }
  }

  #icmp(packet: Packet, now: number): void {
    const v4 = packet.family === 4;
    if (!v4 && packet.icmpType === ICMP6_TOO_BIG) return this.#datagrams.tooBig(packet);
    if (packet.icmpCode !== 0 || packet.icmpType !== (v4 ? ICMP_ECHO.request : ICMP6_ECHO.request)) return;
    const destination = this.#destinations.of(packet.destination);
    const isOurs = destination.kind === "resolver" || destination.kind === "unreachable" ||
      (destination.kind === "reach" && destination.host);
    if (isOurs) this.#echo(packet);
    else this.#datagrams.take(packet, now);
  }

  /** The host and its resolver answer by themselves: nobody else is asked. */
  #echo(packet: Packet): void {
    const ends = { source: packet.destination, destination: packet.source };
    const data = packet.bytes.subarray(packet.payload, packet.end);
    this.#maker.bytes.set(data, (packet.family === 4 ? 20 : 40) + 8);
    const sequence = packet.view.getUint16(packet.transport + 6);
    const end = this.#maker.echoReply(ends, packet.sourcePort, sequence, data.length);
    this.#tun.write(this.#maker.bytes.subarray(0, end));
  }

  /** The one timer of everything here; it rests when nothing is there that could grow old. */
  #arm(): void {
    this.#timer ??= this.#loop.after(SWEEP_MS, () => {
      this.#timer = undefined;
      const now = performance.now();
      this.#tcp.sweep(now);
      this.#datagrams.sweep(now);
      this.#reassembly.expire(now);
      if (this.#tcp.pending + this.#datagrams.flows + this.#reassembly.size > 0) this.#arm();
    });
  }
}
