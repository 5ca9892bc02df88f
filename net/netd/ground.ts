/**
 * What lies below all networks in the rootless host: forwarding, the TUN device, the order of routing rules, the table of
 * nf_tables. docs/networking.md explains the whole.
 */
import { SysError } from "../../ffi/errno.ts";
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP } from "../../ffi/network_constants.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import { LOCAL_CONGESTION_CONTROL } from "../local_tcp.ts";
import * as nl from "../netlink/mod.ts";
import { RT_TABLE_LOCAL } from "../netlink/constants.ts";
import { dispense, ensure, unless } from "./ensure.ts";
import {
  LOCAL_MARK,
  LOCAL_TABLE,
  NFT_TABLE,
  OUTBOUND_CHAIN,
  TUN_ADDRESS,
  TUN_ADDRESS6,
  TUN_NAME,
} from "./rootless_host.ts";
import type { RootlessNamespace } from "./rootless_namespace.ts";
import type { Subnet } from "./topology.ts";

/** Priorities of rules, see docs/networking.md. */
export const RULE_MARKED = 1;
export const RULE_TRANSPORT = 5;
export const RULE_LOCAL = 10;
export const RULE_BRIDGE = 20;
/** What a bridge brings with a source that is not its network's ends here. */
export const RULE_STRANGER = 21;

/** Of IPv6, whose length field has 16 bits without the header; the device would take 15 more. */
const TUN_MTU = 65520;

/**
 * Of TCP between netd and the containers. That way is memory of this machine: nothing is far away, nothing is lost. Sockets in the host's network are left as
 * the host wants them.
 */
const TCP = {
  tcp_congestion_control: LOCAL_CONGESTION_CONTROL,
  // Least, first and most bytes of a connection. The kernel would let them grow to what a long way takes, 6 to 32 MB: what waits for a slow receiver
  // has left the processor's caches by then, and a container believes to have sent what is still here.
  tcp_rmem: "4096 131072 1048576",
  tcp_wmem: "4096 16384 1048576",
};

export interface Ground {
  readonly ipv6: boolean;
  /** Undefined, or why there is no TUN device. */
  readonly tunMissing: string | undefined;
  /** Undefined, or why the rules of nf_tables could not be loaded. */
  readonly rulesMissing: string | undefined;
}

export const anywhere = (family: 4 | 6): nl.Prefix => ({
  address: new Uint8Array(family === 4 ? 4 : 16),
  length: 0,
});

/** Makes it, or what is missing of it. @throws {SysError} where nothing works without. */
export function prepareGround(host: RootlessNamespace): Ground {
  host.sysctls({
    "ipv4.ip_forward": "1",
    "ipv4.conf.all.rp_filter": "0",
    "ipv4.conf.default.rp_filter": "0",
    "ipv4.conf.all.send_redirects": "0",
    "ipv4.conf.default.send_redirects": "0",
  });
  for (const [name, value] of Object.entries(TCP)) {
    // settings that an old kernel has for the machine's own namespace only
    unless(["ENOENT", "EACCES", "EPERM"], () => host.sysctl(`ipv4.${name}`, value));
  }
  // where the machine has br_netfilter loaded: what stays on a bridge is nobody's business
  for (const family of ["iptables", "ip6tables", "arptables"]) {
    unless(["ENOENT", "EACCES", "EPERM"], () => host.sysctl(`bridge/bridge-nf-call-${family}`, "0"));
  }
  const ipv6 = prepareIpv6(host);
  nl.setLink(host.route, "lo", { up: true });
  const tunMissing = prepareTun(host, ipv6);
  for (const family of ipv6 ? [4, 6] as const : [4] as const) prepareRules(host.route, family);
  return { ipv6, tunMissing, rulesMissing: prepareFilter(host.filter) };
}

/** Tries again what was missing: the machine's owner has loaded a module, perhaps, or opened the device. */
export function completeGround(host: RootlessNamespace, ground: Ground): Ground {
  const { ipv6, tunMissing, rulesMissing } = ground;
  return {
    ipv6,
    tunMissing: tunMissing === undefined ? undefined : prepareTun(host, ipv6),
    rulesMissing: rulesMissing === undefined ? undefined : prepareFilter(host.filter),
  };
}

/**
 * Links have no IPv6 until a network asks for it: each would take part in the multicasts of its link. False where the kernel has none.
 */
function prepareIpv6(host: RootlessNamespace): boolean {
  try {
    host.sysctls({
      "ipv6.conf.all.forwarding": "1",
      "ipv6.conf.default.forwarding": "1",
      "ipv6.conf.default.accept_ra": "0",
      "ipv6.conf.default.accept_dad": "0",
      "ipv6.conf.default.disable_ipv6": "1",
      "ipv6.conf.lo.disable_ipv6": "0",
    });
    return true;
  } catch (error) {
    if (error instanceof SysError && error.is("ENOENT")) return false;
    throw error;
  }
}

/** The device stays when netd is killed, and with it the routes: the next one takes hold of it again. */
function prepareTun(host: RootlessNamespace, ipv6: boolean): string | undefined {
  const { route } = host;
  if (nl.getLink(route, TUN_NAME) === undefined) {
    try {
      const fd = host.make((calls) => {
        const tun = calls.openTun({ name: TUN_NAME, kind: "tun" });
        calls.setTunPersistent(tun.fd, true);
        return tun.fd;
      });
      host.closeDescriptor(fd);
    } catch (error) {
      if (error instanceof SysError) return error.message;
      throw error;
    }
  }
  const link = nl.linkIndex(route, TUN_NAME);
  nl.setLink(route, link, { mtu: TUN_MTU, up: true });
  ensure(() => nl.addAddress(route, { link, address: bytes(TUN_ADDRESS), length: 24 }));
  if (ipv6) {
    host.sysctl(`ipv6.conf.${TUN_NAME}.disable_ipv6`, "0");
    ensure(() => nl.addAddress(route, { link, address: bytes(TUN_ADDRESS6), length: 64, noDad: true }));
  }
  return undefined;
}

export const bytes = (text: string): Uint8Array => addressBytes(parseAddress(text));

/** The local table comes first by default; here what is marked, and what bridges bring, is looked at before. */
function prepareRules(route: nl.Netlink, family: 4 | 6): void {
  const kind = family === 4 ? "inet" : "inet6";
  const lo = nl.linkIndex(route, "lo");
  ensure(() =>
    nl.addRoute(route, { destination: anywhere(family), type: "local", link: lo, table: LOCAL_TABLE })
  );
  const mark = { value: LOCAL_MARK };
  ensure(() => nl.addRule(route, { family: kind, priority: RULE_MARKED, mark, table: LOCAL_TABLE }));
  ensure(() => nl.addRule(route, { family: kind, priority: RULE_LOCAL, table: RT_TABLE_LOCAL }));
  dispense(() => nl.deleteRule(route, { family: kind, priority: 0, table: RT_TABLE_LOCAL }));
}

/** Drops packets of IPv6 with a source that their bridge does not have. IPv4 has rp_filter for that. */
const SOURCES_CHAIN = "sources6";
/** A host that looks for a free address has none yet; and each link has addresses of its own. */
const LINK_SOURCES: readonly nl.Prefix[] = [
  { address: new Uint8Array(16), length: 128 },
  { address: Uint8Array.of(0xfe, 0x80, ...new Uint8Array(14)), length: 10 },
];

/** Says anew which sources of IPv6 each bridge may have. @throws {SysError} */
export function guardSources(filter: nl.Netlink, subnets: readonly Subnet[]): void {
  const bridges = Map.groupBy(subnets.filter(({ address }) => address.length === 16), ({ link }) => link);
  nl.commit(filter, [
    nl.flushChain(NFT_TABLE, SOURCES_CHAIN),
    ...[...bridges].map(([link, own]) =>
      nl.newRule(
        NFT_TABLE,
        SOURCES_CHAIN,
        nl.inputIs(link),
        ...[...own, ...LINK_SOURCES].map((prefix) => nl.sourceIs(prefix, { not: true })),
        nl.verdict("drop"),
      )
    ),
  ]);
}

const SYN = 2, RST = 4, ACK = 16;

/**
 * - prerouting: packets for a transparent socket of netd's (answers of containers to netd's connections, errors that ICMP tells of them, and
 *   containers' own connections that netd has accepted) are marked, so that they are delivered here though the address is somebody else's. Not a bare SYN: a listener matches any
 *   address, and a container that knew its port would get at it.
 * - sources6: see {@link guardSources}.
 * - input: no container reaches anything else of this host than ping.
 */
function prepareFilter(filter: nl.Netlink): string | undefined {
  const table = NFT_TABLE;
  const marked = [nl.setMark(LOCAL_MARK), nl.verdict("accept")];
  const accept = nl.verdict("accept");
  try {
    nl.commit(filter, [
      nl.newTable(table),
      nl.deleteTable(table),
      nl.newTable(table),
      nl.newChain({ table, name: OUTBOUND_CHAIN }),
      nl.newChain({ table, name: SOURCES_CHAIN }),
      nl.newChain({ table, name: "prerouting", hook: { at: "prerouting", priority: -150 } }),
      nl.newRule(table, "prerouting", nl.inputIs(TUN_NAME), nl.verdict({ jump: OUTBOUND_CHAIN })),
      nl.newRule(table, "prerouting", nl.familyIs("ip6"), nl.verdict({ jump: SOURCES_CHAIN })),
      nl.newRule(table, "prerouting", nl.tcpFlagsAre(SYN, SYN | ACK | RST), nl.verdict("return")),
      ...[IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6].map((protocol) =>
        nl.newRule(table, "prerouting", nl.protocolIs(protocol), nl.socketIsTransparent(), ...marked)
      ),
      nl.newChain({ table, name: "input", hook: { at: "input", priority: 0, policy: "drop" } }),
      nl.newRule(table, "input", nl.inputIs("lo"), accept),
      nl.newRule(table, "input", nl.markIs(LOCAL_MARK), accept),
      nl.newRule(table, "input", nl.protocolIs(IPPROTO_ICMP), accept),
      nl.newRule(table, "input", nl.protocolIs(IPPROTO_ICMPV6), accept),
    ]);
    return undefined;
  } catch (error) {
    if (error instanceof SysError) return error.message;
    throw error;
  }
}
