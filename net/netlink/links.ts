/** Network interfaces by rtnetlink (RTM_*LINK). */
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { AF_BRIDGE } from "../../ffi/network_constants.ts";
import { Attributes, type NetlinkMessage, Payload } from "./codec.ts";
import type { Netlink, NetlinkRequest } from "./connection.ts";
import * as c from "./constants.ts";

/** A network namespace: a descriptor of it, or a process that is in it. */
export type NamespaceRef = { readonly fd: number } | { readonly pid: number };

/** An interface by its index or its name. */
export type LinkRef = number | string;

interface CommonLink {
  /** Up to 15 bytes. */
  readonly name: string;
  /** Of a bridge it is that of the smallest port all the same, until {@link setLink} sets it. */
  readonly mtu?: number;
  /** Bytes of IPv4 that TCP hands to the interface at a time (Linux 6.3; earlier kernels overlook it). Default 65,536. */
  readonly gsoMax4?: number;
  /** `02:42:ac:11:00:02` */
  readonly mac?: string;
  /** Index of the bridge that it becomes a port of. */
  readonly master?: number;
  readonly up?: boolean;
  /** Made there instead of here. */
  readonly namespace?: NamespaceRef;
}

export interface BridgeOptions {
  readonly stp?: boolean;
  /** Hundredths of a second, as in the kernel. */
  readonly forwardDelay?: number;
  /** Hundredths of a second. */
  readonly ageingTime?: number;
  readonly vlanFiltering?: boolean;
  readonly multicastSnooping?: boolean;
  readonly groupForwardMask?: number;
}

export type NewLink =
  & CommonLink
  & (
    | { readonly kind: "dummy" }
    | ({ readonly kind: "bridge" } & BridgeOptions)
    | {
      readonly kind: "veth";
      /**
       * The other end; in `namespace` when that is given, else where the first one is made. It cannot be up at once: it is made before the
       * two are connected.
       */
      readonly peer: Omit<CommonLink, "master" | "up">;
    }
    | {
      readonly kind: "macvlan";
      /** Index of the interface below. */
      readonly parent: number;
      readonly mode: "private" | "vepa" | "bridge" | "passthru";
    }
    | {
      readonly kind: "ipvlan";
      readonly parent: number;
      readonly mode: "l2" | "l3" | "l3s";
      readonly flag?: "bridge" | "private" | "vepa";
    }
    | {
      readonly kind: "vxlan";
      readonly id: number;
      readonly parent?: number;
      /** Own address of the tunnel: 4 or 16 bytes. */
      readonly local?: Uint8Array;
      /** The other end, or a multicast group. */
      readonly remote?: Uint8Array;
      /** UDP port; the kernel's own default, 8472, is not IANA's 4789. */
      readonly port?: number;
      readonly learning?: boolean;
      readonly proxy?: boolean;
      readonly l2miss?: boolean;
      readonly l3miss?: boolean;
      readonly ttl?: number;
    }
  );

export interface LinkChange {
  /** The new name. An interface that is up may refuse it (EBUSY): take it down first. */
  readonly name?: string;
  readonly up?: boolean;
  readonly mtu?: number;
  readonly gsoMax4?: number;
  readonly mac?: string;
  /** Index of a bridge; 0: none any more. */
  readonly master?: number;
  /** Moves it there. */
  readonly namespace?: NamespaceRef;
}

/** Options of a port of a bridge. */
export interface BridgePort {
  /** Isolated ports reach those that are not isolated only. */
  readonly isolated?: boolean;
  /** Frames may leave by the port that they came by. */
  readonly hairpin?: boolean;
  readonly learning?: boolean;
  readonly flood?: boolean;
  readonly guard?: boolean;
}

/** Counters since the interface was made. */
export interface LinkStats {
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly rxErrors: number;
  readonly txErrors: number;
  readonly rxDropped: number;
  readonly txDropped: number;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  /** `bridge`, `veth`, …; empty for lo and real devices. */
  readonly kind: string;
  /** IFF_UP: it is meant to work. */
  readonly up: boolean;
  /** IFF_RUNNING: it has a carrier. */
  readonly running: boolean;
  readonly mtu: number;
  /** Empty for interfaces without one (tun). */
  readonly mac: string;
  /** Index of the bridge that it is a port of; 0: none. */
  readonly master: number;
  /** Index of the interface below, or of a veth's other end, which is in another namespace if {@link parentNamespace} is there. */
  readonly parent: number;
  /** The id that this namespace has for that one. */
  readonly parentNamespace: number | undefined;
  readonly stats: LinkStats | undefined;
  /** Of ports of a bridge. */
  readonly port: Required<Pick<BridgePort, "isolated" | "hairpin" | "learning" | "flood">> | undefined;
}

// deno-fmt-ignore
const MACVLAN_MODES = {
  private: c.MACVLAN_MODE_PRIVATE, vepa: c.MACVLAN_MODE_VEPA, bridge: c.MACVLAN_MODE_BRIDGE, passthru: c.MACVLAN_MODE_PASSTHRU,
};
const IPVLAN_MODES = { l2: c.IPVLAN_MODE_L2, l3: c.IPVLAN_MODE_L3, l3s: c.IPVLAN_MODE_L3S };
const IPVLAN_FLAGS = { bridge: 0, private: c.IPVLAN_F_PRIVATE, vepa: c.IPVLAN_F_VEPA };

/** `struct ifinfomsg` */
const IFINFOMSG = 16;

function ifinfomsg(index: number, flags = 0, change = 0): Uint8Array {
  const header = new Uint8Array(IFINFOMSG);
  const view = new DataView(header.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, flags, true);
  view.setUint32(12, change, true);
  return header;
}

/** The 6 bytes of `02:42:ac:11:00:02`. @throws {RangeError} */
export function macBytes(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new RangeError(`Not a MAC address: ${text}`);
  return Uint8Array.from(text.split(":"), (byte) => parseInt(byte, 16));
}

export const macText = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");

/** A name that would be cut or taken for a pattern is refused before the kernel sees it. */
function requireName(name: string): string {
  const length = new TextEncoder().encode(name).length;
  if (length === 0 || length >= c.IFNAMSIZ || /[\s/:%]/.test(name) || name === "." || name === "..") {
    throw new RangeError(`Not a name for an interface: ${JSON.stringify(name)}`);
  }
  return name;
}

function writeNamespace(payload: Payload, namespace: NamespaceRef | undefined): void {
  if (namespace === undefined) return;
  if ("fd" in namespace) payload.u32(c.IFLA_NET_NS_FD, namespace.fd);
  else payload.u32(c.IFLA_NET_NS_PID, namespace.pid);
}

function writeCommon(payload: Payload, link: Omit<LinkChange, "up">): void {
  if (link.name !== undefined) payload.string(c.IFLA_IFNAME, requireName(link.name));
  if (link.mtu !== undefined) payload.u32(c.IFLA_MTU, link.mtu);
  if (link.gsoMax4 !== undefined) payload.u32(c.IFLA_GSO_IPV4_MAX_SIZE, link.gsoMax4);
  if (link.mac !== undefined) payload.attribute(c.IFLA_ADDRESS, macBytes(link.mac));
  if (link.master !== undefined) payload.u32(c.IFLA_MASTER, link.master);
  writeNamespace(payload, link.namespace);
}

const optional = <T>(value: T | undefined, write: (value: T) => void): void => {
  if (value !== undefined) write(value);
};

function writeBridge(data: Payload, options: BridgeOptions): void {
  optional(options.forwardDelay, (value) => data.u32(c.IFLA_BR_FORWARD_DELAY, value));
  optional(options.ageingTime, (value) => data.u32(c.IFLA_BR_AGEING_TIME, value));
  optional(options.stp, (value) => data.u32(c.IFLA_BR_STP_STATE, Number(value)));
  optional(options.vlanFiltering, (value) => data.u8(c.IFLA_BR_VLAN_FILTERING, Number(value)));
  optional(options.groupForwardMask, (value) => data.u16(c.IFLA_BR_GROUP_FWD_MASK, value));
  optional(options.multicastSnooping, (value) => data.u8(c.IFLA_BR_MCAST_SNOOPING, Number(value)));
}

function writeVxlan(data: Payload, link: Extract<NewLink, { kind: "vxlan" }>): void {
  const wide = (address: Uint8Array): boolean => address.length === 16;
  data.u32(c.IFLA_VXLAN_ID, link.id);
  optional(link.parent, (value) => data.u32(c.IFLA_VXLAN_LINK, value));
  optional(
    link.local,
    (value) => data.attribute(wide(value) ? c.IFLA_VXLAN_LOCAL6 : c.IFLA_VXLAN_LOCAL, value),
  );
  optional(
    link.remote,
    (value) => data.attribute(wide(value) ? c.IFLA_VXLAN_GROUP6 : c.IFLA_VXLAN_GROUP, value),
  );
  optional(link.ttl, (value) => data.u8(c.IFLA_VXLAN_TTL, value));
  optional(link.learning, (value) => data.u8(c.IFLA_VXLAN_LEARNING, Number(value)));
  optional(link.proxy, (value) => data.u8(c.IFLA_VXLAN_PROXY, Number(value)));
  optional(link.l2miss, (value) => data.u8(c.IFLA_VXLAN_L2MISS, Number(value)));
  optional(link.l3miss, (value) => data.u8(c.IFLA_VXLAN_L3MISS, Number(value)));
  optional(link.port, (value) => data.u16be(c.IFLA_VXLAN_PORT, value));
}

function writeKind(data: Payload, link: NewLink): void {
  switch (link.kind) {
    case "dummy":
      return;
    case "bridge":
      return writeBridge(data, link);
    case "veth":
      data.nested(c.VETH_INFO_PEER, (peer) => {
        // inside stands a struct of its own, then the peer's attributes
        const inner = new Payload(ifinfomsg(0));
        writeCommon(inner, link.peer);
        peer.raw(inner.bytes);
      });
      return;
    case "macvlan":
      data.u32(c.IFLA_MACVLAN_MODE, MACVLAN_MODES[link.mode]);
      return;
    case "ipvlan":
      data.u16(c.IFLA_IPVLAN_MODE, IPVLAN_MODES[link.mode]);
      optional(link.flag, (value) => data.u16(c.IFLA_IPVLAN_FLAGS, IPVLAN_FLAGS[value]));
      return;
    case "vxlan":
      return writeVxlan(data, link);
  }
}

/** The payload of {@link addLink}. */
export function newLinkPayload(link: NewLink): Uint8Array {
  const up = link.up === true ? c.IFF_UP : 0;
  const payload = new Payload(ifinfomsg(0, up, up));
  writeCommon(payload, link);
  if (link.kind === "macvlan" || link.kind === "ipvlan") payload.u32(c.IFLA_LINK, link.parent);
  payload.nested(c.IFLA_LINKINFO, (info) => {
    info.string(c.IFLA_INFO_KIND, link.kind);
    const data = new Payload();
    writeKind(data, link);
    if (data.bytes.length > 0) info.nested(c.IFLA_INFO_DATA, (inner) => inner.raw(data.bytes));
  });
  return payload.bytes;
}

/** Makes an interface. @throws {NetlinkError} EEXIST, EOPNOTSUPP when the kernel does not know the kind, EPERM, ENODEV (parent). */
export function addLink(netlink: Netlink, link: NewLink): void {
  netlink.request({
    type: c.RTM_NEWLINK,
    flags: c.NLM_F_CREATE | c.NLM_F_EXCL,
    payload: newLinkPayload(link),
    what: `add link ${link.name} type ${link.kind}`,
  });
}

function reference(link: LinkRef, flags = 0, change = 0): Payload {
  if (typeof link === "number") return new Payload(ifinfomsg(link, flags, change));
  return new Payload(ifinfomsg(0, flags, change)).string(c.IFLA_IFNAME, requireName(link));
}

const deletion = (link: LinkRef): NetlinkRequest => ({
  type: c.RTM_DELLINK,
  flags: 0,
  payload: reference(link).bytes,
  what: `delete link ${link}`,
});

/** Removes an interface, and with it a veth's other end, addresses and routes. @throws {NetlinkError} ENODEV */
export function deleteLink(netlink: Netlink, link: LinkRef): void {
  netlink.request(deletion(link));
}

/** The same by another thread: `Netlink.post`. */
export function postDeleteLink(netlink: Netlink, link: LinkRef): number {
  return netlink.post(deletion(link));
}

/** Changes an interface, all of it by one message. @throws {NetlinkError} */
export function setLink(netlink: Netlink, link: LinkRef, change: LinkChange): void {
  // the name attribute is the new name when there is an index
  const index = typeof link === "string" && change.name !== undefined ? linkIndex(netlink, link) : link;
  const mask = change.up === undefined ? 0 : c.IFF_UP;
  const payload = reference(index, change.up === true ? c.IFF_UP : 0, mask);
  writeCommon(payload, change);
  netlink.request({ type: c.RTM_NEWLINK, flags: 0, payload: payload.bytes, what: `set link ${link}` });
}

/** Changes options of a port of a bridge. @throws {NetlinkError} EINVAL when it is none. */
export function setBridgePort(netlink: Netlink, link: LinkRef, port: BridgePort): void {
  const payload = reference(link);
  payload.nested(c.IFLA_LINKINFO, (info) => {
    info.string(c.IFLA_INFO_SLAVE_KIND, "bridge");
    info.nested(c.IFLA_INFO_SLAVE_DATA, (data) => {
      optional(port.hairpin, (value) => data.u8(c.IFLA_BRPORT_MODE, Number(value)));
      optional(port.guard, (value) => data.u8(c.IFLA_BRPORT_GUARD, Number(value)));
      optional(port.learning, (value) => data.u8(c.IFLA_BRPORT_LEARNING, Number(value)));
      optional(port.flood, (value) => data.u8(c.IFLA_BRPORT_UNICAST_FLOOD, Number(value)));
      optional(port.isolated, (value) => data.u8(c.IFLA_BRPORT_ISOLATED, Number(value)));
    });
  });
  netlink.request({
    type: c.RTM_NEWLINK,
    flags: 0,
    payload: payload.bytes,
    what: `set bridge port ${link}`,
  });
}

/**
 * Lets a port of a bridge pass nothing any more, and has the bridge forget whom it has seen there. Takes the kernel no time, unlike {@link deleteLink}.
 *
 * @param link its index
 * @throws {NetlinkError} ENODEV; ENETDOWN when it is down, EOPNOTSUPP when it is no port.
 */
export function closeBridgePort(netlink: Netlink, link: number): void {
  const header = ifinfomsg(link);
  // not as setBridgePort: that is followed by a look at the carrier, which opens the port again
  header[0] = AF_BRIDGE;
  const payload = new Payload(header).nested(
    c.IFLA_PROTINFO,
    (port) => port.u8(c.IFLA_BRPORT_STATE, c.BR_STATE_DISABLED).flag(c.IFLA_BRPORT_FLUSH),
  );
  netlink.request({
    type: c.RTM_SETLINK,
    flags: 0,
    payload: payload.bytes,
    what: `close bridge port ${link}`,
  });
}

/** All interfaces. @throws {NetlinkError} */
export function listLinks(netlink: Netlink): Link[] {
  // without the long tables of counters per protocol; an interface's own are always there
  const payload = new Payload(ifinfomsg(0)).u32(c.IFLA_EXT_MASK, c.RTEXT_FILTER_SKIP_STATS);
  return netlink.dump({ type: c.RTM_GETLINK, flags: 0, payload: payload.bytes, what: "list links" })
    .filter(({ type }) => type === c.RTM_NEWLINK).map(readLink);
}

/** One interface; undefined when there is none. @throws {NetlinkError} */
export function getLink(netlink: Netlink, link: LinkRef): Link | undefined {
  try {
    const answers = netlink.request({
      type: c.RTM_GETLINK,
      flags: 0,
      payload: reference(link).bytes,
      what: `get link ${link}`,
    });
    return answers.filter(({ type }) => type === c.RTM_NEWLINK).map(readLink)[0];
  } catch (error) {
    if (error instanceof SysError && error.is("ENODEV")) return undefined;
    throw error;
  }
}

/** @throws {SysError} ENODEV */
export function linkIndex(netlink: Netlink, name: string): number {
  const link = getLink(netlink, name);
  if (link === undefined) throw new SysError("link", ERRNO.ENODEV, name);
  return link.index;
}

function readStats(bytes: Uint8Array | undefined): LinkStats | undefined {
  // struct rtnl_link_stats64 only grows at its end
  if (bytes === undefined || bytes.length < 64) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = (index: number): number => Number(view.getBigUint64(8 * index, true));
  return {
    rxPackets: at(0),
    txPackets: at(1),
    rxBytes: at(2),
    txBytes: at(3),
    rxErrors: at(4),
    txErrors: at(5),
    rxDropped: at(6),
    txDropped: at(7),
  };
}

function readPort(info: Attributes | undefined): Link["port"] {
  const data = info?.string(c.IFLA_INFO_SLAVE_KIND) === "bridge"
    ? info.nested(c.IFLA_INFO_SLAVE_DATA)
    : undefined;
  if (data === undefined) return undefined;
  return {
    isolated: data.u8(c.IFLA_BRPORT_ISOLATED) === 1,
    hairpin: data.u8(c.IFLA_BRPORT_MODE) === 1,
    learning: data.u8(c.IFLA_BRPORT_LEARNING) === 1,
    flood: data.u8(c.IFLA_BRPORT_UNICAST_FLOOD) === 1,
  };
}

/** An RTM_NEWLINK message. @throws {NetlinkFormatError} */
export function readLink({ payload }: NetlinkMessage): Link {
  const { header, attributes } = Attributes.behind(payload, IFINFOMSG);
  const flags = header.getUint32(8, true);
  const info = attributes.nested(c.IFLA_LINKINFO);
  return {
    index: header.getInt32(4, true),
    name: attributes.string(c.IFLA_IFNAME) ?? "",
    kind: info?.string(c.IFLA_INFO_KIND) ?? "",
    up: (flags & c.IFF_UP) !== 0,
    running: (flags & c.IFF_RUNNING) !== 0,
    mtu: attributes.u32(c.IFLA_MTU) ?? 0,
    mac: macText(attributes.bytes(c.IFLA_ADDRESS) ?? new Uint8Array()),
    master: attributes.u32(c.IFLA_MASTER) ?? 0,
    parent: attributes.u32(c.IFLA_LINK) ?? 0,
    parentNamespace: attributes.i32(c.IFLA_LINK_NETNSID),
    stats: readStats(attributes.bytes(c.IFLA_STATS64)),
    port: readPort(info),
  };
}
