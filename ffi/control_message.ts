/** Ancillary data of network sockets (cmsg(3)). */
import { SIZEOF } from "./layout.ts";
import {
  IP_ORIGDSTADDR,
  IP_PKTINFO,
  IPV6_ORIGDSTADDR,
  IPV6_PKTINFO,
  SOL_IP,
  SOL_IPV6,
} from "./network_constants.ts";
import { readSocketAddress, type SocketAddress } from "./socket_address.ts";

/** One piece of ancillary data. */
export interface ControlMessage {
  /** SOL_IP, SOL_IPV6, … */
  readonly level: number;
  readonly type: number;
  readonly data: Uint8Array;
}

/** Through which interface and for which of our addresses a datagram came, or is to leave. */
export interface PacketInfo {
  /** Index of the interface; 0 in a message to send: by the routes. */
  readonly interface: number;
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
}

const align8 = (size: number): number => (size + 7) & ~7;

/** Bytes that `messages` take as ancillary data. */
export function controlSize(messages: readonly ControlMessage[]): number {
  return messages.reduce((sum, { data }) => sum + SIZEOF.cmsghdr + align8(data.length), 0);
}

/** Writes the messages one behind the other. */
export function writeControl(view: DataView<ArrayBuffer>, messages: readonly ControlMessage[]): void {
  let offset = 0;
  for (const { level, type, data } of messages) {
    view.setBigUint64(offset, BigInt(SIZEOF.cmsghdr + data.length), true);
    view.setInt32(offset + 8, level, true);
    view.setInt32(offset + 12, type, true);
    new Uint8Array(view.buffer, view.byteOffset + offset + SIZEOF.cmsghdr, data.length).set(data);
    offset += SIZEOF.cmsghdr + align8(data.length);
  }
}

/** What the first `length` bytes of `view` hold, copied. */
export function readControl(view: DataView<ArrayBuffer>, length: number): ControlMessage[] {
  const messages: ControlMessage[] = [];
  const end = Math.min(length, view.byteLength);
  for (let offset = 0; offset + SIZEOF.cmsghdr <= end;) {
    const size = Number(view.getBigUint64(offset, true));
    if (size < SIZEOF.cmsghdr || offset + size > end) break;
    messages.push({
      level: view.getInt32(offset + 8, true),
      type: view.getInt32(offset + 12, true),
      data: new Uint8Array(view.buffer, view.byteOffset + offset, size).slice(SIZEOF.cmsghdr),
    });
    offset += align8(size);
  }
  return messages;
}

/** IP_PKTINFO or IPV6_PKTINFO, by the length of the address: what a datagram that is sent has as its source. */
export function packetInfo(info: PacketInfo): ControlMessage {
  if (info.address.length === 4) {
    // struct in_pktinfo: interface, local address (the source of what is sent), destination of the header
    const data = new Uint8Array(12);
    new DataView(data.buffer).setInt32(0, info.interface, true);
    data.set(info.address, 4);
    return { level: SOL_IP, type: IP_PKTINFO, data };
  }
  if (info.address.length !== 16) throw new RangeError(`Address of ${info.address.length} bytes`);
  const data = new Uint8Array(20);
  data.set(info.address);
  new DataView(data.buffer).setUint32(16, info.interface, true);
  return { level: SOL_IPV6, type: IPV6_PKTINFO, data };
}

/** The interface that a datagram came by and the address that its header was for, when the socket has IP(V6)_(RECV)PKTINFO set. */
export function receivedPacketInfo(messages: readonly ControlMessage[]): PacketInfo | undefined {
  for (const { level, type, data } of messages) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (level === SOL_IP && type === IP_PKTINFO && data.length >= 12) {
      return { interface: view.getInt32(0, true), address: data.slice(8, 12) };
    }
    if (level === SOL_IPV6 && type === IPV6_PKTINFO && data.length >= 20) {
      return { interface: view.getUint32(16, true), address: data.slice(0, 16) };
    }
  }
  return undefined;
}

/** Where a datagram was addressed to before tproxy brought it here, when the socket has IP(V6)_RECVORIGDSTADDR set. */
export function originalDestination(messages: readonly ControlMessage[]): SocketAddress | undefined {
  for (const { level, type, data } of messages) {
    if (
      (level === SOL_IP && type === IP_ORIGDSTADDR) || (level === SOL_IPV6 && type === IPV6_ORIGDSTADDR)
    ) {
      const copy = data.slice();
      return readSocketAddress(new DataView(copy.buffer), copy.length);
    }
  }
  return undefined;
}
