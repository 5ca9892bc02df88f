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
import type { SandboxSockets } from "../dns/server.ts";
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
import type { Inside } from "./parts.ts";

/** What is done with those sockets from outside: by netd's own thread. */
export interface SandboxSocketCalls {
  readonly kernel: Pick<Syscalls, "close">;
  readonly network: NetlinkCalls & Pick<NetworkSyscalls, "listen">;
}

type Maker = Pick<Inside, "make">;

interface Ports {
  readonly udp: number;
  readonly tcp: number;
}

const SERVER = Uint8Array.of(127, 0, 0, 11);
const DNS_PORT = 53;
const BOTH_DNS: Ports = { udp: DNS_PORT, tcp: DNS_PORT };
const BACKLOG = 64;
/** More change nothing any more. */
const REHEARSALS = 8;
/** Of `struct iphdr`. */
const IP_SOURCE = 12, IP_DESTINATION = 16;

/** The ports stand in the table's name: whoever comes after a netd that was killed takes the same ones and has nothing to change. */
const tableOf = ({ udp, tcp }: Ports): NfTable => ({ family: "ip", name: `berth-dns-${udp}-${tcp}` });
const TABLE_NAME = /^berth-dns-(\d{1,5})-(\d{1,5})$/;

/**
 * Sockets at 127.0.0.11, which answer on port 53 without holding it: a container may run a DNS server of its own on 0.0.0.0:53, as with
 * Docker. They have any ports, and nf_tables writes those into what is sent to 127.0.0.11:53, and 53 into what comes back. No connection is
 * tracked for that (Docker's NAT does), so the container's other traffic costs two comparisons a packet. Where the kernel has no
 * nf_tables, the sockets hold port 53.
 *
 * @throws {SysError} Then nothing is left.
 */
export function openSandboxSockets(inside: Maker, calls: SandboxSocketCalls): SandboxSockets {
  const { filter, ...sockets } = makeSockets(inside, true);
  if (filter === undefined) return bound(sockets, BOTH_DNS, calls);
  let failed: unknown;
  try {
    return translated(filter, sockets, inside, calls);
  } catch (error) {
    failed = error;
  }
  if (!(failed instanceof SysError)) throw failed;
  return bound(makeSockets(inside), BOTH_DNS, calls);
}

/** Does what takes JavaScript long at the first time, so that no container's start waits for that. */
export function rehearseSandboxSockets(): void {
  for (let port = 1; port <= REHEARSALS; port++) rulesFor({ udp: port, tcp: port });
}

interface MadeSockets extends SandboxSockets {
  readonly filter: number | undefined;
}

/** UDP, TCP, and on demand netfilter's netlink, where the kernel has it. */
function makeSockets(inside: Maker, withFilter = false): MadeSockets {
  const [udp = -1, tcp = -1, filter] = inside.make((calls, files) => {
    const made: number[] = [];
    try {
      made.push(calls.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK));
      made.push(calls.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK));
    } catch (error) {
      for (const fd of made) files.close(fd);
      throw error;
    }
    try {
      if (withFilter) made.push(calls.socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
    return made;
  });
  return { udp, tcp, filter };
}

/** The sockets at these ports, 0 for any; when that fails they are closed. */
function bound(
  sockets: SandboxSockets,
  ports: Ports,
  { network, kernel }: SandboxSocketCalls,
): SandboxSockets {
  const { udp, tcp } = sockets;
  try {
    network.bind(udp, { family: "inet", address: SERVER, port: ports.udp });
    network.bind(tcp, { family: "inet", address: SERVER, port: ports.tcp });
    network.listen(tcp, BACKLOG);
    return { udp, tcp };
  } catch (error) {
    kernel.close(udp);
    kernel.close(tcp);
    throw error;
  }
}

/** Owns all three descriptors. @throws {SysError} when nf_tables is not there, or not all of it that is needed. */
function translated(
  filter: number,
  made: SandboxSockets,
  inside: Maker,
  calls: SandboxSocketCalls,
): SandboxSockets {
  const { kernel, network } = calls;
  let sockets: SandboxSockets | undefined = made;
  try {
    using netlink = connectionOf(filter, calls);
    const earlier = listTables(netlink).filter(({ family, name }) =>
      family === "ip" && TABLE_NAME.test(name)
    );
    const before = earlier.length === 1 ? portsOf(earlier[0]) : undefined;
    if (before !== undefined) {
      sockets = undefined;
      const again = boundUnlessTaken(made, before, calls);
      if (again !== undefined) return again;
      sockets = makeSockets(inside);
    }
    const fresh = sockets;
    sockets = undefined;
    sockets = bound(fresh, { udp: 0, tcp: 0 }, calls);
    const ports = { udp: portOf(sockets.udp, network), tcp: portOf(sockets.tcp, network) };
    // all in one change, so that no query falls between
    commit(netlink, [...earlier.map(deleteTable), ...rulesFor(ports)]);
    return sockets;
  } catch (error) {
    if (sockets !== undefined) {
      kernel.close(sockets.udp);
      kernel.close(sockets.tcp);
    }
    throw error;
  }
}

function connectionOf(filter: number, { network, kernel }: SandboxSocketCalls): Netlink {
  const close = (fd: number) => kernel.close(fd);
  try {
    return new Netlink(filter, network, close);
  } catch (error) {
    close(filter);
    throw error;
  }
}

/** undefined: the container has a program at such a port by now. The sockets are closed then. */
function boundUnlessTaken(
  sockets: SandboxSockets,
  ports: Ports,
  calls: SandboxSocketCalls,
): SandboxSockets | undefined {
  try {
    return bound(sockets, ports, calls);
  } catch (error) {
    if (error instanceof SysError && error.is("EADDRINUSE")) return undefined;
    throw error;
  }
}

function portsOf(table: NfTable | undefined): Ports | undefined {
  const [, udp, tcp] = TABLE_NAME.exec(table?.name ?? "") ?? [];
  return udp === undefined || tcp === undefined ? undefined : { udp: Number(udp), tcp: Number(tcp) };
}

function portOf(fd: number, network: SandboxSocketCalls["network"]): number {
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
