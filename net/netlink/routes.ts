/** Routes by rtnetlink (RTM_*ROUTE). */
import { AF_INET, AF_INET6 } from "../../ffi/constants.ts";
import { AF_UNSPEC } from "../../ffi/network_constants.ts";
import { familyOf, type Prefix, prefixText, requirePrefix } from "./addresses.ts";
import { Attributes, type NetlinkMessage, Payload } from "./codec.ts";
import type { Netlink } from "./connection.ts";
import * as c from "./constants.ts";
import { given, wordsOf } from "./fields.ts";

// deno-fmt-ignore
const TYPES = {
  unicast: c.RTN_UNICAST, local: c.RTN_LOCAL, broadcast: c.RTN_BROADCAST, anycast: c.RTN_ANYCAST, multicast: c.RTN_MULTICAST,
  blackhole: c.RTN_BLACKHOLE, unreachable: c.RTN_UNREACHABLE, prohibit: c.RTN_PROHIBIT, throw: c.RTN_THROW,
} as const;

export type RouteType = keyof typeof TYPES;

const TYPE_NAMES = wordsOf(TYPES);

export interface Route {
  /** Where to. The default route is the prefix of length 0 of its family: 4 or 16 zero bytes. */
  readonly destination: Prefix;
  readonly gateway?: Uint8Array;
  /** Index of the interface. */
  readonly link?: number;
  /** Source address of what is sent. */
  readonly source?: Uint8Array;
  /** 254, the main table, by default. */
  readonly table?: number;
  /** unicast by default */
  readonly type?: RouteType;
  readonly metric?: number;
  /** The gateway is reachable by the interface though no network of it contains its address. */
  readonly onlink?: boolean;
  readonly mtu?: number;
  /** RT_SCOPE_*; by default the one that `ip route` takes. */
  readonly scope?: number;
  /** RTPROT_*; RTPROT_BOOT by default, as of `ip route`. */
  readonly protocol?: number;
}

export interface ListedRoute extends Route {
  readonly table: number;
  readonly type: RouteType;
  readonly scope: number;
  readonly protocol: number;
}

/** `struct rtmsg` */
const RTMSG = 12;

function rtmsg(family: number, length: number, table: number, ...rest: number[]): Uint8Array<ArrayBuffer> {
  // a table beyond 255 stands in an attribute only
  return Uint8Array.of(family, length, 0, 0, table > 255 ? c.RT_TABLE_UNSPEC : table, ...rest, 0, 0, 0, 0);
}

/** As `ip route` chooses: what is on this host or on the link is not looked for any farther. */
function defaultScope(route: Route): number {
  if (route.type === "local") return c.RT_SCOPE_HOST;
  if (route.gateway !== undefined) return c.RT_SCOPE_UNIVERSE;
  const type = route.type ?? "unicast";
  return type === "unicast" || type === "multicast" || type === "broadcast"
    ? c.RT_SCOPE_LINK
    : c.RT_SCOPE_UNIVERSE;
}

/** The payload of {@link addRoute} and {@link deleteRoute}. */
export function routePayload(route: Route): Uint8Array {
  const { destination } = route;
  requirePrefix(destination);
  const family = familyOf(destination.address);
  // IPv6 has no scopes of routes
  const scope = route.scope ?? (family === AF_INET ? defaultScope(route) : c.RT_SCOPE_UNIVERSE);
  const table = route.table ?? c.RT_TABLE_MAIN;
  const header = rtmsg(
    family,
    destination.length,
    table,
    route.protocol ?? c.RTPROT_BOOT,
    scope,
    TYPES[route.type ?? "unicast"],
  );
  if (route.onlink === true) new DataView(header.buffer).setUint32(8, c.RTNH_F_ONLINK, true);
  const payload = new Payload(header);
  if (destination.length > 0) payload.attribute(c.RTA_DST, destination.address);
  if (table > 255) payload.u32(c.RTA_TABLE, table);
  if (route.gateway !== undefined) payload.attribute(c.RTA_GATEWAY, route.gateway);
  if (route.link !== undefined) payload.u32(c.RTA_OIF, route.link);
  if (route.source !== undefined) payload.attribute(c.RTA_PREFSRC, route.source);
  if (route.metric !== undefined) payload.u32(c.RTA_PRIORITY, route.metric);
  if (route.mtu !== undefined) {
    const { mtu } = route;
    payload.nested(c.RTA_METRICS, (metrics) => metrics.u32(c.RTAX_MTU, mtu));
  }
  return payload.bytes;
}

function describe(route: Route): string {
  const table = route.table === undefined || route.table === c.RT_TABLE_MAIN ? "" : ` table ${route.table}`;
  return `route ${prefixText(route.destination)}${table}`;
}

/** @throws {NetlinkError} EEXIST; ENETUNREACH when the gateway is not on the link; ENODEV, EINVAL */
export function addRoute(
  netlink: Netlink,
  route: Route,
  options: { readonly replace?: boolean } = {},
): void {
  netlink.request({
    type: c.RTM_NEWROUTE,
    flags: c.NLM_F_CREATE | (options.replace === true ? c.NLM_F_REPLACE : c.NLM_F_EXCL),
    payload: routePayload(route),
    what: `add ${describe(route)}`,
  });
}

/** The first one that agrees with what is given. @throws {NetlinkError} ESRCH when there is none. */
export function deleteRoute(netlink: Netlink, route: Route): void {
  netlink.request({
    type: c.RTM_DELROUTE,
    flags: 0,
    // nowhere and 0 mean "any"
    payload: routePayload({
      ...route,
      scope: route.scope ?? c.RT_SCOPE_NOWHERE,
      protocol: route.protocol ?? 0,
    }),
    what: `delete ${describe(route)}`,
  });
}

/** Routes of all tables and both families, or of one table. @throws {NetlinkError} */
export function listRoutes(netlink: Netlink, table?: number): ListedRoute[] {
  const payload = rtmsg(AF_UNSPEC, 0, 0, 0, 0, 0);
  return netlink.dump({ type: c.RTM_GETROUTE, flags: 0, payload, what: "list routes" })
    .filter(({ type }) => type === c.RTM_NEWROUTE)
    .flatMap((message) => readRoute(message) ?? [])
    .filter((route) => table === undefined || route.table === table);
}

/** Undefined for routes of other kinds than IP's. */
function readRoute({ payload }: NetlinkMessage): ListedRoute | undefined {
  const { header, attributes } = Attributes.behind(payload, RTMSG);
  const type = TYPE_NAMES.get(header.getUint8(7));
  const family = header.getUint8(0);
  const size = family === AF_INET ? 4 : 16;
  if (type === undefined || (family !== AF_INET && family !== AF_INET6)) return undefined;
  const bytes = (attribute: number): Uint8Array | undefined => attributes.bytes(attribute)?.slice();
  return {
    destination: { address: bytes(c.RTA_DST) ?? new Uint8Array(size), length: header.getUint8(1) },
    table: attributes.u32(c.RTA_TABLE) ?? header.getUint8(4),
    protocol: header.getUint8(5),
    scope: header.getUint8(6),
    type,
    ...given({
      onlink: (header.getUint32(8, true) & c.RTNH_F_ONLINK) !== 0 || undefined,
      gateway: bytes(c.RTA_GATEWAY),
      source: bytes(c.RTA_PREFSRC),
      link: attributes.u32(c.RTA_OIF),
      metric: attributes.u32(c.RTA_PRIORITY),
      mtu: attributes.nested(c.RTA_METRICS)?.u32(c.RTAX_MTU),
    }),
  };
}
