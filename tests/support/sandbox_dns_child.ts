/**
 * netd's part for names, alone in a user, mount and network namespace, with processes on a bridge as containers. Started with the
 * directory that has `resolv.conf`, and how many containers there are to be. Prints their pids, then reads commands, a line of JSON each, and
 * answers each with a line.
 */
import { EPOLLIN } from "../../ffi/constants.ts";
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import { HostResolvers } from "../../net/dns/host_resolvers.ts";
import type { Inside } from "../../net/netd/parts.ts";
import type { EndpointState, SandboxState } from "../../net/netd/protocol.ts";
import { SandboxDns, type SandboxDnsDeps } from "../../net/netd/sandbox_dns.ts";
import { NetworkTopology, type Subnet } from "../../net/netd/topology.ts";
import { enterNetwork } from "./inside.ts";
import { upstreamSocket } from "./dns.ts";

/** How a test tells of a container in one network. */
export interface TestEndpoint {
  readonly network: string;
  readonly address?: string;
  readonly ipv6?: string;
  readonly names: readonly string[];
  readonly links?: Record<string, string>;
}

export type Command =
  | {
    readonly op: "add" | "update";
    readonly container: number;
    readonly endpoints: readonly TestEndpoint[];
    readonly upstreams?: readonly string[];
    readonly ndotsSet?: boolean;
    /** As on a kernel without netfilter. */
    readonly plain?: boolean;
  }
  /** A container that answers by names only. */
  | { readonly op: "name"; readonly id: string; readonly endpoints: readonly TestEndpoint[] }
  | { readonly op: "remove"; readonly id: string }
  | { readonly op: "subnets"; readonly subnets: readonly TestSubnet[] }
  /** As when netd is killed and another one comes. */
  | { readonly op: "restart" };

export interface TestSubnet {
  readonly network: string;
  readonly address: string;
  readonly length: number;
  readonly gateway: string;
  readonly internal?: boolean;
}

const [directory = "", count = "1"] = Deno.args;
const v4 = (text: string) => Uint8Array.from(text.split("."), Number);

function shell(script: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command("sh", {
    args: ["-ec", script, "sh", ...args],
    stderr: "piped",
    stdout: "null",
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

shell(
  `ip link set lo up; ip link add br0 type bridge; ip address add 172.18.0.1/16 dev br0; ip link set br0 up`,
);

function container(index: number): number {
  const [read, write] = kernel.pipe2(0);
  const pid = kernel.spawn({
    path: "/usr/bin/unshare",
    args: [
      "unshare",
      "-nm",
      "sh",
      "-c",
      'mount --bind "$1" /etc/resolv.conf; echo; exec sleep 600',
      "sh",
      `${directory}/resolv.conf`,
    ],
    env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
    fds: { 1: write },
  });
  kernel.close(write);
  kernel.read(read, new Uint8Array(1));
  kernel.close(read);
  shell(
    `ip link add v$1 type veth peer name eth0 netns $2; ip link set v$1 master br0 up
    nsenter -t $2 -n sh -ec "ip link set lo up; ip address add 172.18.0.$3/16 dev eth0; ip address add fd00::$3/64 dev eth0 nodad; ip link set eth0 up"`,
    `${index}`,
    `${pid}`,
    `${index + 2}`,
  );
  return pid;
}
const pids = Array.from({ length: Number(count) }, (_, index) => container(index));

const loop = new EventLoop(kernel);
const topology = new NetworkTopology();
const resolvers = new HostResolvers(`${directory}/host-resolv.conf`);
const deps: SandboxDnsDeps = {
  loop,
  calls: { kernel, network },
  host: {
    takeSocket: (kind) =>
      upstreamSocket(kind.endsWith("4") ? "inet" : "inet6", kind.startsWith("udp") ? "udp" : "tcp"),
  },
  topology,
  networkName: (id) => id,
  hostAddress: () => v4("127.0.0.9"),
  resolvers,
  options: { timeoutMs: 300 },
};
let dns = new SandboxDns(deps);

const endpointState = (
  owner: string,
  { network, address, ipv6, names, links }: TestEndpoint,
): EndpointState => ({
  id: `${owner}-${network}`,
  networkId: network,
  interface: "eth0",
  mac: "",
  ...(address === undefined ? {} : { ipv4: `${address}/16` }),
  ...(ipv6 === undefined ? {} : { ipv6: `${ipv6}/64` }),
  linkLocal: [],
  dnsNames: names,
  links: links ?? {},
  sysctls: {},
});

function sandbox(
  id: string,
  pid: number,
  endpoints: readonly TestEndpoint[],
  asked?: SandboxState["dns"],
): SandboxState {
  return {
    containerId: id,
    name: id,
    pid,
    startTime: "",
    endpoints: endpoints.map((endpoint) => endpointState(id, endpoint)),
    ...(asked === undefined ? {} : { dns: asked }),
    publish: { ports: [], assigned: [] },
  };
}

const nowhere = {
  make: (): number[] => {
    throw new Error("nothing is to be made");
  },
};

const withoutFilter = (inside: Pick<Inside, "make">): Pick<Inside, "make"> => ({
  make(make) {
    const [udp = -1, tcp = -1, filter] = inside.make(make);
    if (filter !== undefined) kernel.close(filter);
    return [udp, tcp];
  },
});

/** Answers milliseconds. */
function carryOut(command: Command): number {
  const start = performance.now();
  switch (command.op) {
    case "add":
    case "update": {
      const pid = pids[command.container] ?? 0;
      using inside = enterNetwork(pid);
      const state = sandbox(`s${command.container}`, pid, command.endpoints, {
        upstreams: command.upstreams ?? [],
        ...(command.ndotsSet === undefined ? {} : { ndotsSet: command.ndotsSet }),
      });
      const entered = performance.now();
      dns[command.op](state, command.plain === true ? withoutFilter(inside) : inside);
      return performance.now() - entered;
    }
    case "name":
      dns.update(sandbox(command.id, 0, command.endpoints), nowhere);
      break;
    case "remove":
      dns.remove(command.id);
      break;
    case "subnets":
      topology.set(command.subnets.map(({ network, address, length, gateway, internal }): Subnet => ({
        networkId: network,
        link: "br0",
        address: v4(address),
        length,
        gateway: v4(gateway),
        internal: internal ?? false,
      })));
      break;
    case "restart":
      dns[Symbol.dispose]();
      dns = new SandboxDns(deps);
  }
  return performance.now() - start;
}

let rest = "";
const buffer = new Uint8Array(1 << 20);
loop.add(0, EPOLLIN, () => {
  const length = kernel.read(0, buffer);
  if (length <= 0) {
    for (const pid of pids) kernel.kill(pid, 9);
    Deno.exit(0);
  }
  rest += new TextDecoder().decode(buffer.subarray(0, length));
  for (let end; (end = rest.indexOf("\n")) >= 0;) {
    const line = rest.slice(0, end);
    rest = rest.slice(end + 1);
    let answer: unknown;
    try {
      answer = { ms: carryOut(JSON.parse(line) as Command) };
    } catch (error) {
      answer = { error: String(error) };
    }
    Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(answer)}\n`));
  }
});
Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(pids)}\n`));
loop.run();
