/**
 * For programs that are alone in user, mount and network namespaces of their own (see netd_child.ts): networks and containers for netd.
 * A container is a process that sleeps in a network namespace.
 */
import { identify } from "../../base/process_identity.ts";
import type { EndpointState, NetworkState, SandboxState } from "../../net/netd/protocol.ts";
import { kernel } from "../../ffi/kernel.ts";

type BridgeOptions = Extract<NetworkState["options"], { driver: "bridge" }>;

const BRIDGE: BridgeOptions = {
  driver: "bridge",
  bridgeName: "",
  defaultBridge: false,
  enableIcc: true,
  masquerade: true,
  hostBinding: "",
  inhibitIpv4: false,
  gatewayMode4: "nat",
  gatewayMode6: "nat",
  trustedInterfaces: [],
  mtu: 0,
  interfacePrefix: "",
};

let count = 0;

/** 64 hexadecimal digits, others each time; the first ones are what links are called by. */
export const newId = (): string =>
  (++count * 7919).toString(16).padStart(7, "0").padEnd(64, "0123456789abcdef");

/** A bridge network with the subnet `172.<number>.0.0/16`. */
export function bridge(
  number: number,
  changes: Partial<NetworkState> & { readonly bridge?: Partial<BridgeOptions> } = {},
): NetworkState {
  const { bridge: options, ...rest } = changes;
  return {
    id: newId(),
    name: `n${number}`,
    driver: "bridge",
    link: `br-n${number}`,
    options: { ...BRIDGE, ...options },
    internal: false,
    ipv6: false,
    subnets: [{ subnet: `172.${number}.0.0/16`, gateway: `172.${number}.0.1` }],
    ...rest,
  };
}

export interface FakeContainer {
  readonly pid: number;
  readonly startTime: string;
  /** Runs a program in its network namespace; answers what it has printed. @throws {Error} it failed */
  run(...argv: string[]): string;
  succeeds(...argv: string[]): boolean;
  /** Whether an address answers one of two pings. */
  pings(address: string): boolean;
  /** `ip -j …` */
  // deno-lint-ignore no-explicit-any
  ip(...args: string[]): any[];
  end(): void;
}

const containers = new Set<FakeContainer>();

/** A process in a network namespace of its own, where lo is up. */
export function container(): FakeContainer {
  const [r, w] = kernel.pipe2(0);
  const pid = kernel.spawn({
    path: "/usr/bin/unshare",
    args: ["unshare", "-n", "sh", "-c", "ip link set lo up; echo; exec sleep 600"],
    env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
    fds: { 1: w },
  });
  kernel.close(w);
  kernel.read(r, new Uint8Array(1));
  kernel.close(r);
  const fake: FakeContainer = {
    pid,
    startTime: identify(pid)?.startTime ?? "",
    run: (...argv) => inside(pid, ...argv),
    succeeds: (...argv) => output("nsenter", "-t", String(pid), "-n", ...argv).success,
    pings: (address) => fake.succeeds("busybox", "ping", "-c2", "-W1", address),
    ip: (...args) => JSON.parse(inside(pid, "ip", "-j", ...args) || "[]"),
    end: () => {
      containers.delete(fake);
      kernel.kill(pid, 9);
      kernel.wait(pid, false);
    },
  };
  containers.add(fake);
  return fake;
}

/** All that are left. */
export function endContainers(): void {
  for (const one of [...containers]) one.end();
}

function output(...[command = "", ...args]: string[]) {
  return new Deno.Command(command, {
    args,
    clearEnv: true,
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    stdin: "null",
  }).outputSync();
}

/** Runs a program in the network namespace of a process. @throws {Error} it failed */
export function inside(pid: number, ...argv: string[]): string {
  const { success, stdout, stderr } = output("nsenter", "-t", String(pid), "-n", ...argv);
  const text = new TextDecoder();
  if (!success) throw new Error(`${argv.join(" ")}: ${text.decode(stdout)}${text.decode(stderr)}`);
  return text.decode(stdout);
}

/** An endpoint of a bridge network: the container's address has the number `host`. */
export function endpoint(
  network: NetworkState,
  host: number,
  changes: Partial<EndpointState> = {},
): EndpointState {
  const [subnet] = network.subnets;
  const [address = "", length] = subnet?.subnet.split("/") ?? [];
  const prefix = address.slice(0, address.lastIndexOf("."));
  return {
    id: newId(),
    networkId: network.id,
    interface: "eth0",
    mac: `02:42:ac:00:00:${host.toString(16).padStart(2, "0")}`,
    ipv4: `${prefix}.${host}/${length}`,
    linkLocal: [],
    ...(subnet?.gateway === undefined || network.internal ? {} : { gateway4: subnet.gateway }),
    dnsNames: [],
    links: {},
    sysctls: {},
    ...changes,
  };
}

export function sandbox(
  { pid, startTime }: Pick<FakeContainer, "pid" | "startTime">,
  ...endpoints: EndpointState[]
): SandboxState {
  return {
    containerId: `container-${pid}`,
    name: `c${pid}`,
    pid,
    startTime,
    endpoints,
    publish: { ports: [], assigned: [] },
  };
}
