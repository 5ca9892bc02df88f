/**
 * The network namespace that bridges, veths and the TUN device live in, as netd's other parts reach it. netd's own thread stays in the
 * host's network namespace; what must be made in this one is made by a stub that lives there, and passed over.
 */
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import type { Netlink } from "../netlink/mod.ts";

export type SocketKind = "tcp4" | "tcp6" | "udp4" | "udp6";

export interface RootlessHost {
  /** A process in the namespace. */
  readonly pid: number;
  /** NETLINK_ROUTE and NETLINK_NETFILTER sockets of the namespace; used from netd's thread. */
  readonly route: Netlink;
  readonly filter: Netlink;
  /**
   * Runs `make` with calls that are made inside; answers the descriptor that it returned, passed over to netd. For listeners, the TUN
   * device and what else is made seldom.
   */
  make(make: (calls: NetworkSyscalls) => number): number;
  /**
   * A new socket of the namespace: nonblocking, close-on-exec, IP_TRANSPARENT and SO_REUSEADDR set. A few of each kind are kept ready, so this is
   * cheap on the path of a connection.
   */
  takeSocket(kind: SocketKind): number;
  /** Writes `/proc/sys/net/…` of the namespace: `ipv4.ip_forward`, "1". @throws {SysError} */
  sysctl(name: string, value: string): void;
}

/** All netd's sockets inside carry no mark; packets that come back for them, and accepted SYNs, get this one: "deliver locally". */
export const LOCAL_MARK = 1;
/** Routing table with `local default dev lo`, looked up for {@link LOCAL_MARK}. */
export const LOCAL_TABLE = 100;
/** `10.0.2.2`: the host, as in slirp. `10.0.2.3`: its resolver. `10.0.2.100`: the TUN device's own address. */
export const HOST_ADDRESS = "10.0.2.2";
export const RESOLVER_ADDRESS = "10.0.2.3";
export const TUN_ADDRESS = "10.0.2.100";
export const HOST_ADDRESS6 = "fd00:b0:2::2";
export const RESOLVER_ADDRESS6 = "fd00:b0:2::3";
export const TUN_ADDRESS6 = "fd00:b0:2::100";
export const TUN_NAME = "berth0";
/** The networks that these addresses are in: nobody else is there, and no network of a container's may be. */
export const OWN_PREFIXES = ["10.0.2.0/24", "fd00:b0:2::/64"] as const;

/**
 * Where the rule for SYNs that are written to the TUN leads (`iif berth0 tcp flags syn/(syn|ack|rst) → tproxy to 127.0.0.1:TPROXY_PORT, mark 1`,
 * for IPv6 to ::1). One address and not the wildcard: else a container's packets to this port of any address would find the listener by
 * themselves. The rule `socket transparent → mark 1` must not see a pure SYN: it would find the TIME_WAIT of an earlier connection with the same
 * ports, which only tproxy knows how to replace. `accept_local` of the TUN device is 1, since answers of gateways come in by it.
 */
export const TPROXY_PORT = 1;
export const TPROXY_ADDRESS = "127.0.0.1";
export const TPROXY_ADDRESS6 = "::1";
/** The table of nf_tables in the namespace; made anew, with its chains, whenever netd starts. */
export const NFT_TABLE = { family: "inet", name: "berth" } as const;
/**
 * A chain that prerouting jumps to for what comes by {@link TUN_NAME}: empty, to be filled by the outbound part (its tproxy rule). What it does not
 * accept is routed as usual.
 */
export const OUTBOUND_CHAIN = "outbound";
