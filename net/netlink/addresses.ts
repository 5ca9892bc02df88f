/** Addresses of interfaces by rtnetlink (RTM_*ADDR). */
import { AF_INET, AF_INET6 } from "../../ffi/constants.ts";
import { AF_UNSPEC } from "../../ffi/network_constants.ts";
import { Attributes, NetlinkFormatError, type NetlinkMessage, Payload } from "./codec.ts";
import type { Netlink } from "./connection.ts";
import * as c from "./constants.ts";

/** An address and the length of its network's prefix. */
export interface Prefix {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly length: number;
}

export interface LinkAddress extends Prefix {
  /** Index of the interface. */
  readonly link: number;
  readonly broadcast?: Uint8Array;
  /** RT_SCOPE_*; 0, the whole world, by default. */
  readonly scope?: number;
  /** IPv6: without looking whether somebody has it already; it can be used at once. */
  readonly noDad?: boolean;
  /** Without the route to its network that the kernel makes otherwise. */
  readonly noPrefixRoute?: boolean;
}

export interface ListedAddress extends LinkAddress {
  readonly broadcast?: Uint8Array;
  readonly scope: number;
  /** IFA_F_* */
  readonly flags: number;
}

/** AF_INET or AF_INET6. @throws {RangeError} */
export function familyOf(address: Uint8Array): number {
  if (address.length === 4) return AF_INET;
  if (address.length === 16) return AF_INET6;
  throw new RangeError(`Address of ${address.length} bytes`);
}

/** @throws {RangeError} */
export function requirePrefix({ address, length }: Prefix): void {
  if (!Number.isInteger(length) || length < 0 || length > 8 * address.length) {
    throw new RangeError(`Prefix of ${length} bits for an address of ${address.length} bytes`);
  }
}

/** For messages only: neither shortened nor checked. */
export function addressText(address: Uint8Array): string {
  if (address.length === 4) return address.join(".");
  return Array.from(
    { length: address.length / 2 },
    (_, index) => (((address[2 * index] ?? 0) << 8) | (address[2 * index + 1] ?? 0)).toString(16),
  ).join(":");
}

export const prefixText = (prefix: Prefix): string => `${addressText(prefix.address)}/${prefix.length}`;

/** `struct ifaddrmsg` */
const IFADDRMSG = 8;

function ifaddrmsg(family: number, length: number, scope: number, link: number, flags = 0): Uint8Array {
  const header = new Uint8Array(IFADDRMSG);
  header[0] = family;
  header[1] = length;
  header[2] = flags;
  header[3] = scope;
  new DataView(header.buffer).setUint32(4, link, true);
  return header;
}

/** The payload of {@link addAddress} and {@link deleteAddress}. */
export function addressPayload(address: LinkAddress): Uint8Array {
  requirePrefix(address);
  const family = familyOf(address.address);
  const flags = (address.noDad === true ? c.IFA_F_NODAD : 0) |
    (address.noPrefixRoute === true ? c.IFA_F_NOPREFIXROUTE : 0);
  // the struct has one byte for them
  const small = flags > 0xff ? 0 : flags;
  const payload = new Payload(ifaddrmsg(family, address.length, address.scope ?? 0, address.link, small));
  payload.attribute(c.IFA_LOCAL, address.address).attribute(c.IFA_ADDRESS, address.address);
  if (address.broadcast !== undefined) payload.attribute(c.IFA_BROADCAST, address.broadcast);
  if (flags !== small) payload.u32(c.IFA_FLAGS, flags);
  return payload.bytes;
}

/** @throws {NetlinkError} EEXIST, ENODEV, EPERM */
export function addAddress(netlink: Netlink, address: LinkAddress): void {
  netlink.request({
    type: c.RTM_NEWADDR,
    flags: c.NLM_F_CREATE | c.NLM_F_EXCL,
    payload: addressPayload(address),
    what: `add address ${prefixText(address)}`,
  });
}

/** @throws {NetlinkError} EADDRNOTAVAIL when it is not there. */
export function deleteAddress(netlink: Netlink, address: Prefix & { readonly link: number }): void {
  netlink.request({
    type: c.RTM_DELADDR,
    flags: 0,
    payload: addressPayload(address),
    what: `delete address ${prefixText(address)}`,
  });
}

/** The addresses of all interfaces or of one. @throws {NetlinkError} */
export function listAddresses(netlink: Netlink, link?: number): ListedAddress[] {
  const payload = ifaddrmsg(AF_UNSPEC, 0, 0, 0);
  return netlink.dump({ type: c.RTM_GETADDR, flags: 0, payload, what: "list addresses" })
    .filter(({ type }) => type === c.RTM_NEWADDR).map(readAddress)
    .filter((address) => link === undefined || address.link === link);
}

function readAddress({ payload }: NetlinkMessage): ListedAddress {
  const { header, attributes } = Attributes.behind(payload, IFADDRMSG);
  // of a point-to-point interface IFA_ADDRESS is the other end's
  const address = attributes.bytes(c.IFA_LOCAL) ?? attributes.bytes(c.IFA_ADDRESS);
  if (address === undefined) throw new NetlinkFormatError("Address message without an address");
  const broadcast = attributes.bytes(c.IFA_BROADCAST);
  const flags = attributes.u32(c.IFA_FLAGS) ?? header.getUint8(2);
  return {
    address: address.slice(),
    length: header.getUint8(1),
    link: header.getUint32(4, true),
    scope: header.getUint8(3),
    flags,
    noDad: (flags & c.IFA_F_NODAD) !== 0,
    noPrefixRoute: (flags & c.IFA_F_NOPREFIXROUTE) !== 0,
    ...(broadcast === undefined ? {} : { broadcast: broadcast.slice() }),
  };
}
