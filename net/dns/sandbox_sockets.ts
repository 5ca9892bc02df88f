/** The DNS server's sockets inside of a container's network namespace, and the rules that lead port 53 to them. */
import {
  AF_INET,
  AF_NETLINK,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOCK_STREAM,
} from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import { IPPROTO_TCP, IPPROTO_UDP } from "../../ffi/network_constants.ts";
import type { Syscalls } from "../../ffi/syscalls.ts";
import { Netlink, type NetlinkCalls, type NetlinkRequest } from "../netlink/connection.ts";
import { NETLINK_NETFILTER } from "../netlink/constants.ts";
import {
  destinationPortIs,
  headerIs,
  type NfExpressions,
  protocolIs,
  setPort,
  sourcePortIs,
  verdict,
} from "../netlink/nf_expressions.ts";
import {
  commit,
  deleteTable,
  listTables,
  newChain,
  newRule,
  newTable,
  type NfTable,
} from "../netlink/nf_tables.ts";
import type { SandboxSockets } from "./server.ts";

/** A container's network namespace, as far as sockets are made there. */
export interface InsideSandbox {
  /** A new socket of the namespace, close-on-exec; the caller's from then on. `type` takes SOCK_NONBLOCK as well. @throws {SysError} */
  socket(domain: number, type: number, protocol?: number): number;
}

/** What is done with those sockets from outside: by netd's own thread. */
export interface SandboxSocketCalls {
  readonly kernel: Pick<Syscalls, "close">;
  readonly network: NetlinkCalls & Pick<NetworkSyscalls, "listen">;
}

const SERVER = Uint8Array.of(127, 0, 0, 11);
const DNS_PORT = 53;
const BACKLOG = 64;
/** Of `struct iphdr`. */
const IP_SOURCE = 12, IP_DESTINATION = 16;

/** The ports stand in the table's name: whoever comes after a netd that was killed takes the same ones and has nothing to change. */
const tableOf = (ports: Ports): NfTable => ({ family: "ip", name: `berth-dns-${ports.udp}-${ports.tcp}` });
const TABLE_NAME = /^berth-dns-(\d{1,5})-(\d{1,5})$/;

interface Ports {
  readonly udp: number;
  readonly tcp: number;
}

/**
 * Sockets at 127.0.0.11, which answer on port 53 without holding it: a container may run a DNS server of its own on 0.0.0.0:53, as with
 * Docker. They have any ports, and nf_tables writes those into what is sent to 127.0.0.11:53, and 53 into what comes back. No connection is
 * tracked for that (Docker's NAT does), so the container's other traffic costs two comparisons a packet. Where the kernel has no
 * nf_tables, the sockets hold port 53.
 *
 * @throws {SysError} Then nothing is left.
 */
export function openSandboxSockets(inside: InsideSandbox, calls: SandboxSocketCalls): SandboxSockets {
  const filter = filterOf(inside, calls);
  if (filter === undefined) return bound(inside, calls, { udp: DNS_PORT, tcp: DNS_PORT });
  using netlink = filter;
  const earlier = listTables(netlink).filter(({ family, name }) => family === "ip" && TABLE_NAME.test(name));
  return again(earlier, inside, calls) ?? translated(netlink, earlier, inside, calls);
}

/** The sockets that the rules of an earlier server lead to. undefined: there are none, or another program has such a port by now. */
function again(
  earlier: readonly NfTable[],
  inside: InsideSandbox,
  calls: SandboxSocketCalls,
): SandboxSockets | undefined {
  const [, udp, tcp] = TABLE_NAME.exec(earlier[0]?.name ?? "") ?? [];
  if (earlier.length !== 1 || udp === undefined || tcp === undefined) return undefined;
  try {
    return bound(inside, calls, { udp: Number(udp), tcp: Number(tcp) });
  } catch (error) {
    if (error instanceof SysError && error.is("EADDRINUSE")) return undefined;
    throw error;
  }
}

function translated(
  netlink: Netlink,
  earlier: readonly NfTable[],
  inside: InsideSandbox,
  calls: SandboxSocketCalls,
): SandboxSockets {
  const sockets = bound(inside, calls, { udp: 0, tcp: 0 });
  try {
    const ports = { udp: portOf(sockets.udp, calls), tcp: portOf(sockets.tcp, calls) };
    // all in one change, so that no query falls between
    commit(netlink, [...earlier.map(deleteTable), ...rulesFor(ports)]);
    return sockets;
  } catch (error) {
    calls.kernel.close(sockets.udp);
    calls.kernel.close(sockets.tcp);
    if (!(error instanceof SysError)) throw error;
    return bound(inside, calls, { udp: DNS_PORT, tcp: DNS_PORT });
  }
}

/** undefined where the kernel does not speak of netfilter. */
function filterOf(inside: InsideSandbox, { network, kernel }: SandboxSocketCalls): Netlink | undefined {
  const close = (fd: number) => kernel.close(fd);
  let fd: number | undefined;
  try {
    fd = inside.socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
    return new Netlink(fd, network, close);
  } catch (error) {
    if (fd !== undefined) close(fd);
    if (!(error instanceof SysError)) throw error;
    return undefined;
  }
}

function bound(inside: InsideSandbox, { network, kernel }: SandboxSocketCalls, ports: Ports): SandboxSockets {
  const opened: number[] = [];
  const open = (type: number, port: number): number => {
    const fd = inside.socket(AF_INET, type | SOCK_NONBLOCK);
    opened.push(fd);
    network.bind(fd, { family: "inet", address: SERVER, port });
    return fd;
  };
  try {
    const [udp, tcp] = [open(SOCK_DGRAM, ports.udp), open(SOCK_STREAM, ports.tcp)];
    network.listen(tcp, BACKLOG);
    return { udp, tcp };
  } catch (error) {
    for (const fd of opened) kernel.close(fd);
    throw error;
  }
}

function portOf(fd: number, { network }: SandboxSocketCalls): number {
  const name = network.getsockname(fd);
  return name?.family === "inet" ? name.port : 0;
}

/**
 * Both chains are called for what the container sends. Should it track connections itself (priority -200), queries are changed after
 * that and answers before it, so that both belong to one connection with port 53.
 */
function rulesFor(ports: Ports): NetlinkRequest[] {
  const table = tableOf(ports);
  const { udp, tcp } = ports;
  const chain = (name: string, priority: number) =>
    newChain({ table, name, hook: { at: "output", priority } });
  const query = (...parts: NfExpressions[]) => newRule(table, "queries", ...parts);
  const answer = (...parts: NfExpressions[]) => newRule(table, "answers", ...parts);
  return [
    newTable(table),
    chain("queries", -100),
    query(headerIs("network", IP_DESTINATION, SERVER, { not: true }), verdict("accept")),
    query(protocolIs(IPPROTO_UDP), destinationPortIs(DNS_PORT), setPort("destination", IPPROTO_UDP, udp)),
    query(protocolIs(IPPROTO_TCP), destinationPortIs(DNS_PORT), setPort("destination", IPPROTO_TCP, tcp)),
    chain("answers", -300),
    answer(headerIs("network", IP_SOURCE, SERVER, { not: true }), verdict("accept")),
    answer(protocolIs(IPPROTO_UDP), sourcePortIs(udp), setPort("source", IPPROTO_UDP, DNS_PORT)),
    answer(protocolIs(IPPROTO_TCP), sourcePortIs(tcp), setPort("source", IPPROTO_TCP, DNS_PORT)),
  ];
}
