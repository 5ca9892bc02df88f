/**
 * Datagrams of containers: UDP, and echo requests of ICMP. Each flow has a connected socket in the host's network, so that the kernel tells
 * apart whose answers and errors come in; what comes is made a packet again and written to the TUN device.
 */
import { EPOLLIN, SOCK_DGRAM } from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import {
  IP_MTU,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_DO,
  IP_PMTUDISC_WANT,
  IP_TTL,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_UDP,
  IPV6_MTU_DISCOVER,
  IPV6_UNICAST_HOPS,
  SOL_IP,
  SOL_IPV6,
} from "../../ffi/network_constants.ts";
import { WOULD_BLOCK } from "../../ffi/syscalls.ts";
import { answerWithError, errorFor, hostSocket, type OutboundContext } from "./context.ts";
import { domainOf, routerFor, socketAddress } from "./destinations.ts";
import { type Flow, FlowKey, FlowTable } from "./flow_table.ts";
import { LEAST_MTU6, writeInParts } from "./fragments.ts";
import { ICMP6_TOO_BIG, ICMP_UNREACHABLE, type IcmpError, UNREACHABLE } from "./packet_maker.ts";
import { ICMP6_ECHO, ICMP_ECHO, type Packet } from "./packet.ts";
import { nextError, reportErrors, type SocketErrorReport } from "./socket_errors.ts";
import { sameBytes } from "../netd/topology.ts";

export interface DatagramLimits {
  /** Flows of one container, and of all. A new one takes the place of the one that has been idle for longest. */
  readonly perSource: number;
  readonly total: number;
}

export const DATAGRAM_LIMITS: DatagramLimits = { perSource: 1024, total: 4096 };

/** RFC 4787 (REQ-5) wants two minutes at least for a flow that goes both ways; conntrack has these numbers. */
const UNANSWERED_MS = 30_000, ANSWERED_MS = 180_000;
/** A resolver of a container uses a new port for each question. */
const DNS_MS = 10_000, DNS_ANSWERED_MS = 2_000;
const ECHO_MS = 20_000;
/** Answers of one flow before the others' turn. */
const BATCH = 16;
/** Packets with fewer hops left are meant to end on their way (traceroute); with more, the host's own number is right. */
const FEW_HOPS = 32;
const MANY_HOPS = 64;
/** Of containers with IPv6, until one of their links says otherwise. */
const MTU6 = 1500;

interface DatagramFlow extends Flow {
  readonly fd: number;
  readonly v4: boolean;
  /** Whom the socket is connected to, when that is another than the container thinks. */
  readonly target: Uint8Array;
  answered: boolean;
  hops: number;
  dontFragment: boolean;
  mtu: number;
}

export class DatagramOutbound implements Disposable {
  readonly #context: OutboundContext;
  readonly #limits: DatagramLimits;
  readonly #flows = new FlowTable<DatagramFlow>();
  /** Where answers are read to, behind the headers that they get. */
  readonly #room4: Uint8Array;
  readonly #room6: Uint8Array;
  #fragmentId = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;

  constructor(context: OutboundContext, limits: DatagramLimits = DATAGRAM_LIMITS) {
    this.#context = context;
    this.#limits = limits;
    this.#room4 = context.maker.bytes.subarray(20, 0xffff);
    this.#room6 = context.maker.bytes.subarray(40);
  }

  get flows(): number {
    return this.#flows.size;
  }

  /** Sends a datagram of a flow that is there already. False: it is not. */
  takeKnown(packet: Packet, now: number): boolean {
    const flow = this.#flows.of(packet);
    if (flow === undefined) return false;
    flow.used = now;
    this.#send(flow, packet, 2);
    return true;
  }

  /** A datagram of UDP, or an echo request. */
  take(packet: Packet, now: number): void {
    if (this.takeKnown(packet, now)) return;
    const flow = this.#open(packet, now);
    if (flow !== undefined) this.#send(flow, packet, 2);
  }

  /** The container's own link was too small for an answer over IPv6: `packet` is the error. */
  tooBig(packet: Packet): void {
    const { bytes, end, payload, view } = packet;
    // the answer's header, and its ports
    if (end < payload + 48 || bytes[payload + 6] !== IPPROTO_UDP) return;
    const addresses = new Uint8Array(32);
    addresses.set(bytes.subarray(payload + 24, payload + 40));
    addresses.set(bytes.subarray(payload + 8, payload + 24), 16);
    const ports = ((view.getUint16(payload + 42) << 16) | view.getUint16(payload + 40)) >>> 0;
    const flow = this.#flows.get(new FlowKey(IPPROTO_UDP, addresses, ports));
    if (flow !== undefined) flow.mtu = Math.max(LEAST_MTU6, Math.min(flow.mtu, view.getUint32(payload - 4)));
  }

  /** Closes flows that nothing was heard of for long. */
  sweep(now: number): void {
    for (const flow of this.#flows) {
      if (now - flow.used > patience(flow)) this.#close(flow);
    }
  }

  /** Gives up a flow for its descriptor. */
  yieldOne(): boolean {
    const idlest = this.#flows.idlest();
    if (idlest === undefined) return false;
    this.#close(idlest);
    return true;
  }

  [Symbol.dispose](): void {
    for (const flow of this.#flows) this.#close(flow);
  }

  #open(packet: Packet, now: number): DatagramFlow | undefined {
    const { calls, destinations, loop } = this.#context;
    const destination = destinations.of(packet.destination);
    if (destination.kind === "unreachable") this.#refuse(packet, ERRNO.EHOSTUNREACH);
    if (destination.kind !== "reach") return undefined;
    if (this.#flows.countOf(packet) >= this.#limits.perSource) {
      const idlest = this.#flows.idlest(packet);
      if (idlest !== undefined) this.#close(idlest);
    } else if (this.#flows.size >= this.#limits.total) this.yieldOne();
    const { address } = destination;
    const v4 = address.length === 4;
    const udp = packet.protocol === IPPROTO_UDP;
    const protocol = udp ? 0 : v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    let fd = -1;
    try {
      fd = hostSocket(this.#context, domainOf(address), SOCK_DGRAM, protocol);
      reportErrors(calls, fd, v4);
      calls.connect(fd, socketAddress(address, udp ? packet.destinationPort : 0));
      const flow: DatagramFlow = {
        key: FlowKey.of(packet),
        used: now,
        fd,
        v4,
        target: address,
        answered: false,
        hops: 0,
        dontFragment: false,
        mtu: MTU6,
      };
      loop.add(fd, EPOLLIN, () => this.#receive(flow));
      this.#flows.add(flow);
      return flow;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (fd >= 0) kernel.close(fd);
      // EACCES of socket(2) is the ping that the host does not permit: the container's ping says "filtered"
      this.#refuse(packet, error.errno);
      return undefined;
    }
  }

  #close(flow: DatagramFlow): void {
    this.#flows.delete(flow);
    this.#context.loop.remove(flow.fd);
    kernel.close(flow.fd);
  }

  /** @param attempts an error of an earlier datagram is reported instead of sending this one. */
  #send(flow: DatagramFlow, packet: Packet, attempts: number): void {
    const { calls } = this.#context;
    // an echo request with its header: the kernel puts in another identifier
    const start = packet.protocol === IPPROTO_UDP ? packet.payload : packet.transport;
    try {
      this.#prepare(flow, packet);
      const data = packet.bytes.subarray(start, packet.end);
      // write(2) of nothing is nothing; a datagram may be empty
      if (data.length > 0) kernel.write(flow.fd, data);
      else calls.sendto(flow.fd, data);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.errno === ERRNO.EMSGSIZE) return this.#tooLarge(flow, packet);
      const reported = this.#errors(flow);
      if (reported && attempts > 1) this.#send(flow, packet, attempts - 1);
      else if (!reported) this.#refuse(packet, error.errno);
    }
  }

  /** Hops and permission to fragment, where they are others than before. */
  #prepare(flow: DatagramFlow, packet: Packet): void {
    const { calls } = this.#context;
    const hops = packet.ttl < FEW_HOPS ? packet.ttl : 0;
    if (hops !== flow.hops) {
      const [level, name] = flow.v4 ? [SOL_IP, IP_TTL] : [SOL_IPV6, IPV6_UNICAST_HOPS];
      calls.setsockopt(flow.fd, level, name, hops === 0 ? MANY_HOPS : hops);
      flow.hops = hops;
    }
    if (flow.v4 && packet.dontFragment !== flow.dontFragment) {
      flow.dontFragment = packet.dontFragment;
      const mode = flow.dontFragment ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT;
      calls.setsockopt(flow.fd, SOL_IP, IP_MTU_DISCOVER, mode);
    }
  }

  #tooLarge(flow: DatagramFlow, packet: Packet): void {
    const { calls } = this.#context;
    while (nextError(calls, flow.fd) !== undefined);
    try {
      if (!flow.v4) {
        // the container has fragmented it already: so does the host
        calls.setsockopt(flow.fd, SOL_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_WANT);
        return;
      }
      const mtu = calls.getsockopt(flow.fd, SOL_IP, IP_MTU);
      if (mtu < packet.end) {
        const { fragmentationNeeded } = UNREACHABLE;
        answerWithError(this.#context, packet, {
          type: ICMP_UNREACHABLE,
          code: fragmentationNeeded,
          rest: mtu,
        });
      }
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  }

  #refuse(packet: Packet, errno: number): void {
    const error = errorFor(errno, packet.family === 4);
    if (error !== undefined) answerWithError(this.#context, packet, error);
  }

  #receive(flow: DatagramFlow): void {
    const room = flow.v4 ? this.#room4 : this.#room6;
    const udp = flow.key.protocol === IPPROTO_UDP;
    // UDP's header goes between; that of an echo comes with it
    const at = udp ? 8 : 0;
    const space = at === 0 ? room : room.subarray(at);
    for (let count = 0; count < BATCH; count++) {
      let length: number;
      try {
        length = kernel.read(flow.fd, space);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        // the error has a report, or the report has been read and this is what was left of it
        this.#errors(flow);
        continue;
      }
      if (length === WOULD_BLOCK) {
        // wakes the loop until it is taken, also without being an error of read(2)
        this.#errors(flow);
        return;
      }
      this.#answer(flow, room, length, udp);
    }
  }

  #answer(flow: DatagramFlow, room: Uint8Array, length: number, udp: boolean): void {
    const { maker } = this.#context;
    const { key, v4 } = flow;
    const ends = { source: key.destination, destination: key.source };
    let end: number;
    if (udp) end = maker.udp(ends, key.destinationPort, key.sourcePort, length);
    else {
      if (length < 8 || room[0] !== (v4 ? ICMP_ECHO.reply : ICMP6_ECHO.reply)) return;
      const sequence = ((room[6] ?? 0) << 8) | (room[7] ?? 0);
      end = maker.echoReply(ends, key.sourcePort, sequence, length - 8);
    }
    flow.used = performance.now();
    flow.answered = true;
    this.#write(flow, end);
  }

  #write(flow: DatagramFlow, end: number): void {
    const { maker, tun } = this.#context;
    const packet = maker.bytes.subarray(0, end);
    if (flow.v4 || end <= flow.mtu) tun.write(packet);
    else writeInParts(packet, flow.mtu, this.#fragmentId++, (part) => tun.write(part));
  }

  /** Tells the container what errors have come for a flow. False: there were none. */
  #errors(flow: DatagramFlow): boolean {
    const { calls } = this.#context;
    let any = false;
    for (let count = 0; count < BATCH; count++) {
      const report = nextError(calls, flow.fd);
      if (report === undefined) break;
      any = true;
      this.#tell(flow, report);
    }
    return any;
  }

  #tell(flow: DatagramFlow, { errno, icmp, info, data }: SocketErrorReport): void {
    const { maker, tun } = this.#context;
    const { key, v4, target } = flow;
    const error: IcmpError | undefined = icmp === undefined
      ? errorFor(errno, v4)
      : { type: icmp.type, code: icmp.code, rest: errno === ERRNO.EMSGSIZE ? info : 0 };
    if (error === undefined || (!v4 && error.type === ICMP6_TOO_BIG && info < LEAST_MTU6)) return;
    // from the host itself, by the name that the container has for it
    const from = icmp === undefined
      ? routerFor(target)
      : sameBytes(icmp.from, target)
      ? key.destination
      : icmp.from;
    // the datagram as the container has sent it, as far as an error needs it
    const asked = { source: key.source, destination: key.destination };
    const room = v4 ? this.#room4 : this.#room6;
    let end: number;
    if (key.protocol === IPPROTO_UDP) {
      room.set(data.subarray(0, 64), 8);
      end = maker.udp(asked, key.sourcePort, key.destinationPort, Math.min(data.length, 64));
    } else {
      const sequence = ((data[6] ?? 0) << 8) | (data[7] ?? 0);
      room.fill(0, 8, 64);
      end = maker.echoReply(asked, key.sourcePort, sequence, 56);
      // it was a request
      room[0] = v4 ? ICMP_ECHO.request : ICMP6_ECHO.request;
    }
    const quoted = maker.bytes.slice(0, end);
    const length = maker.error({ source: from, destination: key.source }, error, quoted);
    tun.write(maker.bytes.subarray(0, length));
  }
}

function patience({ answered, key }: DatagramFlow): number {
  if (key.protocol !== IPPROTO_UDP) return ECHO_MS;
  if (key.destinationPort === 53) return answered ? DNS_ANSWERED_MS : DNS_MS;
  return answered ? ANSWERED_MS : UNANSWERED_MS;
}
