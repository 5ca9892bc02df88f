/** What all kinds of outbound traffic share. */
import { SOCK_NONBLOCK } from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import { type Destinations, routerFor } from "./destinations.ts";
import {
  type Ends,
  ICMP6_UNREACHABLE,
  ICMP_UNREACHABLE,
  type IcmpError,
  type PacketMaker,
  UNREACHABLE,
  UNREACHABLE6,
} from "./packet_maker.ts";
import type { Packet } from "./packet.ts";

/** Where packets for containers are written. */
export interface PacketWriter {
  /** What cannot be written is lost, as on any line. */
  write(packet: Uint8Array): void;
}

export interface OutboundContext {
  readonly loop: EventLoop;
  /** Calls in the host's network. */
  readonly calls: NetworkSyscalls;
  readonly tun: PacketWriter;
  readonly maker: PacketMaker;
  readonly destinations: Destinations;
  /** A socket could not be made for want of descriptors: gives some back; false when there is nothing to give. */
  freeDescriptors(): boolean;
  /** Is this one of the last descriptors, which containers cannot have? */
  isLate(fd: number): boolean;
}

const OUT_OF_DESCRIPTORS: readonly number[] = [ERRNO.EMFILE, ERRNO.ENFILE];

export const isOutOfDescriptors = ({ errno }: SysError): boolean => OUT_OF_DESCRIPTORS.includes(errno);

/** A socket in the host's network for which something idle gives way, if need be. @throws {SysError} */
export function hostSocket(context: OutboundContext, domain: number, type: number, protocol = 0): number {
  const make = (): number => {
    const fd = context.calls.socket(domain, type | SOCK_NONBLOCK, protocol);
    if (!context.isLate(fd)) return fd;
    kernel.close(fd);
    throw new SysError("socket", ERRNO.EMFILE);
  };
  try {
    return make();
  } catch (error) {
    if (!(error instanceof SysError && isOutOfDescriptors(error) && context.freeDescriptors())) throw error;
    return make();
  }
}

/** The error of a socket as a host or router on the way would have put it. Undefined: silence says it. */
export function errorFor(errno: number, v4: boolean): IcmpError | undefined {
  const unreachable = (code4: number, code6: number): IcmpError =>
    v4 ? { type: ICMP_UNREACHABLE, code: code4 } : { type: ICMP6_UNREACHABLE, code: code6 };
  switch (errno) {
    case ERRNO.ECONNREFUSED:
      return unreachable(UNREACHABLE.port, UNREACHABLE6.port);
    case ERRNO.ENETUNREACH:
    case ERRNO.ENETDOWN:
    case ERRNO.ENONET:
    // the host has no IPv6, or no address for it
    case ERRNO.EAFNOSUPPORT:
    case ERRNO.EADDRNOTAVAIL:
    case ERRNO.EINVAL:
      return unreachable(UNREACHABLE.network, UNREACHABLE6.noRoute);
    case ERRNO.EHOSTUNREACH:
    case ERRNO.EHOSTDOWN:
      return unreachable(UNREACHABLE.host, UNREACHABLE6.address);
    case ERRNO.EACCES:
    case ERRNO.EPERM:
      return unreachable(UNREACHABLE.prohibited, UNREACHABLE6.prohibited);
    default:
      return undefined;
  }
}

/** Answers a packet with an error, from the one whom that concerns: a closed port from the host that was asked, the rest from the router. */
export function answerWithError(context: OutboundContext, packet: Packet, error: IcmpError): void {
  const { maker, tun } = context;
  const isPort = packet.family === 4
    ? error.type === ICMP_UNREACHABLE && error.code === UNREACHABLE.port
    : error.type === ICMP6_UNREACHABLE && error.code === UNREACHABLE6.port;
  const { destination } = packet;
  const ends: Ends = { source: isPort ? destination : routerFor(destination), destination: packet.source };
  const length = maker.error(ends, error, packet.bytes.subarray(0, packet.end));
  tun.write(maker.bytes.subarray(0, length));
}
