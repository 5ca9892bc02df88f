/** Addresses and routes of a container's interfaces, made over a connection of its namespace. */
import { addressBytes, isLinkLocal, parseAddress } from "../../base/address.ts";
import { parsePrefix } from "../../base/address_prefix.ts";
import { RT_TABLE_MAIN } from "../netlink/constants.ts";
import * as nl from "../netlink/mod.ts";
import { broadcastOf } from "./bridge_driver.ts";
import { dispense, ensure } from "./ensure.ts";
import { anywhere } from "./ground.ts";
import type { EndpointState } from "./protocol.ts";
import { sameBytes } from "./topology.ts";

/** `/proc/sys/net` names of an interface with what is to be written there, before it is up. */
export function sysctlsOf(endpoint: EndpointState, ipv6: boolean): [string, string][] {
  const at = (key: string): string =>
    // a name that has dots is one part
    key.split(".").map((part) => part === "IFNAME" ? endpoint.interface : part).join("/");
  const wantsIpv6 = endpoint.ipv6 !== undefined ||
    endpoint.linkLocal.some((address) => address.includes(":"));
  const own: [string, string][] = !ipv6 ? [] : wantsIpv6
    // addresses are known to be free: nobody waits until the network has been asked
    ? [["net.ipv6.conf.IFNAME.disable_ipv6", "0"], ["net.ipv6.conf.IFNAME.accept_dad", "0"]]
    : [["net.ipv6.conf.IFNAME.disable_ipv6", "1"]];
  return [...own, ...Object.entries(endpoint.sysctls)].map(([key, value]) => [
    at(key).replace(/^net\//, ""),
    value,
  ]);
}

/** The interface's addresses: its own, then those of the link. */
export function addressesOf(endpoint: EndpointState): Omit<nl.LinkAddress, "link">[] {
  const own = [endpoint.ipv4, endpoint.ipv6].flatMap((text) => {
    if (text === undefined) return [];
    const { address, bits } = parsePrefix(text);
    const bytes = addressBytes(address);
    return { address: bytes, length: bits, ...broadcastOf(bytes, bits), noDad: true };
  });
  const further = endpoint.linkLocal.map((text) => {
    const address = parseAddress(text);
    // as Docker: the prefixes of RFC 3927 and RFC 4291
    const length = address.family === 4 ? (isLinkLocal(address) ? 16 : 32) : 64;
    return { address: addressBytes(address), length, noDad: true };
  });
  return [...own, ...further];
}

/** A new interface gets its addresses and comes up. */
export function bringUp(inside: nl.Netlink, endpoint: EndpointState): void {
  const link = nl.linkIndex(inside, endpoint.interface);
  for (const address of addressesOf(endpoint)) nl.addAddress(inside, { ...address, link });
  nl.setLink(inside, link, { up: true });
}

/** One that was there already gets what it lacks. */
export function complete(inside: nl.Netlink, endpoint: EndpointState): void {
  const link = nl.linkIndex(inside, endpoint.interface);
  const there = nl.listAddresses(inside, link);
  for (const address of addressesOf(endpoint)) {
    if (there.some((one) => sameBytes(one.address, address.address))) continue;
    ensure(() => nl.addAddress(inside, { ...address, link }));
  }
  nl.setLink(inside, link, { up: true });
}

/** Where the default routes of a container lead. */
export interface Gateways {
  readonly v4: { readonly interface: string; readonly gateway: string } | undefined;
  readonly v6: { readonly interface: string; readonly gateway: string } | undefined;
}

export function gatewaysOf(endpoints: readonly EndpointState[]): Gateways {
  const find = (key: "gateway4" | "gateway6") => {
    for (const endpoint of endpoints) {
      const gateway = endpoint[key];
      if (gateway !== undefined) return { interface: endpoint.interface, gateway };
    }
    return undefined;
  };
  return { v4: find("gateway4"), v6: find("gateway6") };
}

/**
 * Makes, moves or takes away the default routes. One that somebody in the container has put in their place stays: what a VPN is to carry
 * must not find another way.
 *
 * @param fresh there are none yet
 */
export function setDefaultRoutes(inside: nl.Netlink, gateways: Gateways, fresh: boolean): void {
  for (const [family, key] of [[4, "v4"], [6, "v6"]] as const) {
    const wanted = gateways[key];
    const destination = anywhere(family);
    const there = fresh ? [] : defaultRoutes(inside, destination);
    const ours = there.filter((route) => isOurs(inside, route));
    const remove = (): void => {
      for (const route of ours) dispense(() => nl.deleteRoute(inside, route));
    };
    if (wanted === undefined) {
      remove();
      continue;
    }
    if (there.length > 0 && ours.length === 0) continue;
    const gateway = addressBytes(parseAddress(wanted.gateway));
    const link = nl.linkIndex(inside, wanted.interface);
    // IPv6 keeps the other one beside it when the gateway is another
    if (family === 6) remove();
    nl.addRoute(inside, { destination, gateway, link }, { replace: !fresh });
  }
}

function defaultRoutes(inside: nl.Netlink, { address }: nl.Prefix): nl.ListedRoute[] {
  return nl.listRoutes(inside, RT_TABLE_MAIN).filter(({ destination, type }) =>
    type === "unicast" && destination.length === 0 && destination.address.length === address.length
  );
}

/** By an interface of a kind that networks have. */
function isOurs(inside: nl.Netlink, { link }: nl.ListedRoute): boolean {
  const kind = link === undefined ? undefined : nl.getLink(inside, link)?.kind;
  return kind === "veth" || kind === "macvlan" || kind === "ipvlan";
}
