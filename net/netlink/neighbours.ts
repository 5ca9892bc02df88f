/** Which hardware address an IP address has (RTM_*NEIGH), and behind which address of a tunnel a hardware address is. */
import { AF_INET, AF_INET6 } from "../../ffi/constants.ts";
import { AF_BRIDGE, AF_UNSPEC } from "../../ffi/network_constants.ts";
import { addressText, familyOf } from "./addresses.ts";
import { Attributes, type NetlinkMessage, Payload } from "./codec.ts";
import type { Netlink } from "./connection.ts";
import * as c from "./constants.ts";
import { macBytes, macText } from "./links.ts";

export interface Neighbour {
  /** Index of the interface. */
  readonly link: number;
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly mac: string;
  /** NUD_*; NUD_PERMANENT by default. */
  readonly state?: number;
}

export interface ListedNeighbour extends Omit<Neighbour, "mac"> {
  /** Empty while it is looked for, and when nobody has answered. */
  readonly mac: string;
  readonly state: number;
}

/** A row of a VXLAN's forwarding table: frames for `mac` go to `remote`. */
export interface Forwarding {
  readonly link: number;
  readonly mac: string;
  readonly remote: Uint8Array;
}

/** `struct ndmsg` */
const NDMSG = 12;

function ndmsg(family: number, link: number, state: number, flags = 0): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(NDMSG);
  const view = new DataView(header.buffer);
  header[0] = family;
  view.setInt32(4, link, true);
  view.setUint16(8, state, true);
  header[10] = flags;
  return header;
}

/** Adds it, or changes the one that is there. @throws {NetlinkError} */
export function setNeighbour(netlink: Netlink, neighbour: Neighbour): void {
  const { address, link, mac, state = c.NUD_PERMANENT } = neighbour;
  netlink.request({
    type: c.RTM_NEWNEIGH,
    flags: c.NLM_F_CREATE | c.NLM_F_REPLACE,
    payload: new Payload(ndmsg(familyOf(address), link, state)).attribute(c.NDA_DST, address)
      .attribute(c.NDA_LLADDR, macBytes(mac)).bytes,
    what: `set neighbour ${addressText(address)}`,
  });
}

/** @throws {NetlinkError} ENOENT */
export function deleteNeighbour(netlink: Netlink, { address, link }: Omit<Neighbour, "mac">): void {
  netlink.request({
    type: c.RTM_DELNEIGH,
    flags: 0,
    payload: new Payload(ndmsg(familyOf(address), link, 0)).attribute(c.NDA_DST, address).bytes,
    what: `delete neighbour ${addressText(address)}`,
  });
}

/** Those of both families that the kernel knows. @throws {NetlinkError} */
export function listNeighbours(netlink: Netlink, link?: number): ListedNeighbour[] {
  return netlink.dump({
    type: c.RTM_GETNEIGH,
    flags: 0,
    payload: ndmsg(AF_UNSPEC, 0, 0),
    what: "list neighbours",
  }).filter(({ type }) => type === c.RTM_NEWNEIGH).flatMap((message) => readNeighbour(message) ?? [])
    .filter((neighbour) => link === undefined || neighbour.link === link);
}

function readNeighbour({ payload }: NetlinkMessage): ListedNeighbour | undefined {
  const { header, attributes } = Attributes.behind(payload, NDMSG);
  const family = header.getUint8(0);
  const address = attributes.bytes(c.NDA_DST)?.slice();
  if (address === undefined || (family !== AF_INET && family !== AF_INET6)) return undefined;
  return {
    link: header.getInt32(4, true),
    state: header.getUint16(8, true),
    address,
    mac: macText(attributes.bytes(c.NDA_LLADDR) ?? new Uint8Array()),
  };
}

function forwardingPayload({ link, mac, remote }: Forwarding): Uint8Array {
  return new Payload(ndmsg(AF_BRIDGE, link, c.NUD_PERMANENT | c.NUD_NOARP, c.NTF_SELF))
    .attribute(c.NDA_LLADDR, macBytes(mac)).attribute(c.NDA_DST, remote).bytes;
}

/** One more place for frames to `mac`; for 00:00:00:00:00:00 (all that is not known) there may be several. @throws {NetlinkError} */
export function addForwarding(netlink: Netlink, row: Forwarding): void {
  netlink.request({
    type: c.RTM_NEWNEIGH,
    flags: c.NLM_F_CREATE | c.NLM_F_APPEND,
    payload: forwardingPayload(row),
    what: `add forwarding ${row.mac} ${addressText(row.remote)}`,
  });
}

/** @throws {NetlinkError} ENOENT */
export function deleteForwarding(netlink: Netlink, row: Forwarding): void {
  netlink.request({
    type: c.RTM_DELNEIGH,
    flags: 0,
    payload: forwardingPayload(row),
    what: `delete forwarding ${row.mac} ${addressText(row.remote)}`,
  });
}
