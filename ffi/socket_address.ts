import { AF_INET, AF_INET6, AF_NETLINK, AF_PACKET } from "./constants.ts";

/** An end of an IPv4 socket. */
export interface InetAddress {
  readonly family: "inet";
  /** 4 bytes, as on the wire. */
  readonly address: Uint8Array;
  readonly port: number;
}

/** An end of an IPv6 socket. */
export interface Inet6Address {
  readonly family: "inet6";
  /** 16 bytes, as on the wire. */
  readonly address: Uint8Array;
  readonly port: number;
  /** Index of the interface that a link-local address belongs to; 0: none. */
  readonly scope?: number;
  readonly flowInfo?: number;
}

export interface NetlinkAddress {
  readonly family: "netlink";
  /** 0 is the kernel, or in bind(2) "choose one". */
  readonly port: number;
  readonly groups: number;
}

/** A link layer address (`struct sockaddr_ll`). */
export interface PacketAddress {
  readonly family: "packet";
  /** EtherType, 0x0800 for IPv4. */
  readonly protocol: number;
  /** Index of the interface. */
  readonly interface: number;
  /** PACKET_HOST and so on; only in addresses that were received. */
  readonly packetType?: number;
  /** Up to 8 bytes. */
  readonly hardware?: Uint8Array;
}

export type SocketAddress = InetAddress | Inet6Address | NetlinkAddress | PacketAddress;

/** Room for every address that {@link readSocketAddress} understands (`struct sockaddr_storage`). */
export const SOCKADDR_STORAGE = 128;

/** Sizes of `struct sockaddr_in`, `_in6`, `_nl`, `_ll`. */
export const SOCKADDR_SIZE = { inet: 16, inet6: 28, netlink: 12, packet: 20 } as const;

function requireLength(address: Uint8Array, length: number): void {
  if (address.length !== length) {
    throw new RangeError(`Address of ${address.length} bytes where ${length} are needed`);
  }
}

/** Port 70000 would silently become 4464. */
function requirePort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new RangeError(`Port ${port} out of range`);
}

/**
 * Writes `address` as a C struct to the beginning of `view`; answers the struct's size.
 *
 * @throws {RangeError} for an address or a port that is none.
 */
export function writeSocketAddress(view: DataView<ArrayBuffer>, address: SocketAddress): number {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  switch (address.family) {
    case "inet":
      requireLength(address.address, 4);
      requirePort(address.port);
      view.setUint16(0, AF_INET, true);
      view.setUint16(2, address.port);
      bytes.set(address.address, 4);
      break;
    case "inet6":
      requireLength(address.address, 16);
      requirePort(address.port);
      view.setUint16(0, AF_INET6, true);
      view.setUint16(2, address.port);
      view.setUint32(4, address.flowInfo ?? 0);
      bytes.set(address.address, 8);
      view.setUint32(24, address.scope ?? 0, true);
      break;
    case "netlink":
      view.setUint16(0, AF_NETLINK, true);
      view.setUint32(4, address.port, true);
      view.setUint32(8, address.groups, true);
      break;
    case "packet": {
      const hardware = address.hardware ?? new Uint8Array();
      if (hardware.length > 8) throw new RangeError("Hardware address is longer than 8 bytes");
      view.setUint16(0, AF_PACKET, true);
      view.setUint16(2, address.protocol);
      view.setInt32(4, address.interface, true);
      view.setUint8(10, address.packetType ?? 0);
      view.setUint8(11, hardware.length);
      bytes.set(hardware, 12);
      break;
    }
  }
  return SOCKADDR_SIZE[address.family];
}

/** The address in the first `length` bytes of `view`; undefined for none, for a cut one and for other families. */
export function readSocketAddress(view: DataView<ArrayBuffer>, length: number): SocketAddress | undefined {
  if (length < 2) return undefined;
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  switch (view.getUint16(0, true)) {
    case AF_INET:
      if (length < 8) return undefined;
      return { family: "inet", address: bytes.slice(4, 8), port: view.getUint16(2) };
    case AF_INET6:
      if (length < SOCKADDR_SIZE.inet6) return undefined;
      return {
        family: "inet6",
        address: bytes.slice(8, 24),
        port: view.getUint16(2),
        scope: view.getUint32(24, true),
        flowInfo: view.getUint32(4),
      };
    case AF_NETLINK:
      if (length < SOCKADDR_SIZE.netlink) return undefined;
      return { family: "netlink", port: view.getUint32(4, true), groups: view.getUint32(8, true) };
    case AF_PACKET:
      if (length < 12) return undefined;
      return {
        family: "packet",
        protocol: view.getUint16(2),
        interface: view.getInt32(4, true),
        packetType: view.getUint8(10),
        hardware: bytes.slice(12, 12 + Math.min(8, view.getUint8(11))),
      };
    default:
      return undefined;
  }
}
