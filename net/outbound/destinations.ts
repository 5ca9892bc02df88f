/** What a container means by an address, and what may be reached from the host's network in its place. */
import { AF_INET, AF_INET6, SOCK_DGRAM } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import { listAddresses, Netlink, NETLINK_ROUTE } from "../netlink/mod.ts";
import {
  HOST_ADDRESS,
  HOST_ADDRESS6,
  OWN_PREFIXES,
  RESOLVER_ADDRESS,
  RESOLVER_ADDRESS6,
} from "../netd/rootless_host.ts";
import { hasPrefix, sameBytes, type Topology } from "../netd/topology.ts";

export type Destination =
  /** No answer at all. */
  | { readonly kind: "drop" }
  /** The host's resolvers. */
  | { readonly kind: "resolver" }
  /** The host, which cannot be reached by the outside: it has no address of the family. */
  | { readonly kind: "unreachable" }
  | { readonly kind: "reach"; readonly address: Uint8Array; readonly host: boolean };

const bytesOf = (text: string): Uint8Array => addressBytes(parseAddress(text));

/** An address of 4 or 16 bytes with a port, as sockets take it. */
export const socketAddress = (address: Uint8Array, port: number): SocketAddress =>
  address.length === 4 ? { family: "inet", address, port } : { family: "inet6", address, port };

export const domainOf = (address: Uint8Array): number => address.length === 4 ? AF_INET : AF_INET6;

/** The sender of errors that no other router has sent, in a packet for `address`. */
export const routerFor = (address: Uint8Array): Uint8Array => address.length === 4 ? HOST4 : HOST6;

const HOST4 = bytesOf(HOST_ADDRESS), HOST6 = bytesOf(HOST_ADDRESS6);
const RESOLVERS = [bytesOf(RESOLVER_ADDRESS), bytesOf(RESOLVER_ADDRESS6)];
const LOOPBACK4 = bytesOf("127.0.0.1"), LOOPBACK6 = bytesOf("::1");

const prefixOf = (text: string): { readonly address: Uint8Array; readonly length: number } => {
  const [address = "", length = ""] = text.split("/");
  return { address: bytesOf(address), length: Number(length) };
};

/** Prefixes that lead nowhere, to this host's loopback by another name, or to many hosts (RFC 6890). */
const DROPPED = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "224.0.0.0/3",
  // unspecified, loopback, and all that embed an IPv4 address, for which a socket of IPv6 would speak IPv4
  "::/96",
  "::ffff:0:0/96",
  "fe80::/10",
  "ff00::/8",
].map(prefixOf);

const OWN = OWN_PREFIXES.map(prefixOf);

/** How long the host's own address is believed in. Laptops change networks. */
const OWN_ADDRESS_MS = 3_000;

export class Destinations {
  readonly #topology: Topology;
  readonly #calls: NetworkSyscalls;
  readonly #own = new Map<4 | 16, { readonly address: Uint8Array | undefined; readonly until: number }>();
  /** Connections to the host may reach its 127.0.0.1. */
  hostLoopback: boolean;

  constructor(topology: Topology, calls: NetworkSyscalls, hostLoopback: boolean) {
    this.#topology = topology;
    this.#calls = calls;
    this.hostLoopback = hostLoopback;
  }

  /** Only containers with a way outside are listened to: others, and invented senders, are not. */
  isContainer(source: Uint8Array): boolean {
    const subnet = this.#topology.subnetOf(source);
    return subnet !== undefined && !subnet.internal &&
      (subnet.gateway === undefined || !sameBytes(subnet.gateway, source));
  }

  isResolver(destination: Uint8Array): boolean {
    return RESOLVERS.some((resolver) => sameBytes(resolver, destination));
  }

  of(destination: Uint8Array): Destination {
    if (sameBytes(destination, routerFor(destination)) || this.#topology.isGateway(destination)) {
      const address = this.hostLoopback
        ? destination.length === 4 ? LOOPBACK4 : LOOPBACK6
        : this.#ownAddress(destination.length === 4 ? 4 : 16);
      return address === undefined ? { kind: "unreachable" } : { kind: "reach", address, host: true };
    }
    if (this.isResolver(destination)) return { kind: "resolver" };
    const dropped = this.#topology.subnetOf(destination) !== undefined ||
      OWN.some(({ address, length }) => hasPrefix(destination, address, length)) ||
      DROPPED.some(({ address, length }) => hasPrefix(destination, address, length));
    return dropped ? { kind: "drop" } : { kind: "reach", address: destination, host: false };
  }

  /** The address that the host has for the rest of the world. */
  #ownAddress(length: 4 | 16): Uint8Array | undefined {
    const now = performance.now();
    const known = this.#own.get(length);
    if (known !== undefined && now < known.until) return known.address;
    const address = this.#findOwnAddress(length);
    this.#own.set(length, { address, until: now + OWN_ADDRESS_MS });
    return address;
  }

  #findOwnAddress(length: 4 | 16): Uint8Array | undefined {
    try {
      const fd = this.#calls.socket(length === 4 ? AF_INET : AF_INET6, SOCK_DGRAM);
      try {
        // nothing is sent: the kernel only chooses a route, and with it an address
        this.#calls.connect(fd, socketAddress(bytesOf(length === 4 ? "192.0.2.1" : "2001:db8::1"), 9));
        const name = this.#calls.getsockname(fd);
        if (name !== undefined && "port" in name && name.family !== "netlink") return name.address;
      } finally {
        kernel.close(fd);
      }
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
    // no default route: a host may have addresses all the same
    try {
      using route = Netlink.open(NETLINK_ROUTE, this.#calls);
      return listAddresses(route).find(({ address, scope }) =>
        address.length === length && scope === 0 &&
        !DROPPED.some((prefix) => hasPrefix(address, prefix.address, prefix.length))
      )?.address;
    } catch (error) {
      if (error instanceof SysError) return undefined;
      throw error;
    }
  }
}
