/**
 * A small world for outbound connections: the caller's own network namespace is the host with servers in it, and behind the rootless host there
 * are containers. To be used in a child of `inNetwork` only.
 */
import { EPOLLIN } from "../../ffi/constants.ts";
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel as k } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import { SIGKILL } from "../../ffi/signals.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import { BridgeDriver } from "../../net/netd/bridge_driver.ts";
import { removalAtOnce } from "../../net/netd/link_removal.ts";
import { Undo } from "../../net/netd/ensure.ts";
import { prepareGround } from "../../net/netd/ground.ts";
import type { EndpointState, NetdSettings, NetworkState } from "../../net/netd/protocol.ts";
import { NFT_TABLE, TUN_NAME } from "../../net/netd/rootless_host.ts";
import { commit, deleteTable } from "../../net/netlink/mod.ts";
import { RootlessNamespace } from "../../net/netd/rootless_namespace.ts";
import { NetworkTopology, type Subnet } from "../../net/netd/topology.ts";
import { Outbound, type OutboundDeps } from "../../net/outbound/outbound.ts";
import { SLOWNESS } from "./processes.ts";
import { openWayOut, type WayOut } from "../../net/outbound/way_out.ts";
import { SpliceRelay } from "../../net/relay/splice_relay.ts";
import type { Step } from "./outbound_peer.ts";

const PEER = new URL("./outbound_peer.ts", import.meta.url).pathname;
const ENVIRONMENT = [
  "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
  "HOME=/nonexistent",
  "DENO_DIR=" + (Deno.env.get("DENO_DIR") ?? "/tmp/.deno"),
];

/** The host's addresses for the rest of the world. The servers there are on addresses that are the host's too, but elsewhere for containers. */
export const HOST4 = "192.168.77.1", HOST6 = "2001:db8:77::1";
export const OUTSIDE4 = "203.0.113.9", OUTSIDE6 = "2001:db8:9::9";

export interface Container {
  readonly pid: number;
  readonly address: string;
  readonly address6: string;
}

export interface Running {
  readonly pid: number;
  output: string;
  ended: boolean;
}

function command(...args: string[]): string {
  const [r, w] = k.pipe2(0);
  const pid = k.spawn({
    path: "/usr/bin/env",
    args: ["env", ...args],
    env: ENVIRONMENT,
    fds: { 1: w, 2: w },
  });
  k.close(w);
  const output = drain(r);
  if (k.wait(pid, false)?.code !== 0) throw new Error(`${args.join(" ")}: ${output}`);
  return output;
}

function drain(fd: number): string {
  let text = "";
  const buffer = new Uint8Array(65536);
  for (let length; (length = k.read(fd, buffer)) > 0;) {
    text += new TextDecoder().decode(buffer.subarray(0, length));
  }
  k.close(fd);
  return text;
}

export interface WorldOptions extends Partial<Pick<OutboundDeps, "limits" | "upstreams" | "settings">> {
  /** Without IPv6 on the host's side. */
  readonly hostIpv6?: boolean;
  /** Who may ping in the host's network; the kernel's default is nobody. */
  readonly ping?: boolean;
  /** No outbound part: what is tried is another. */
  readonly bare?: boolean;
  /** Not netd's own way, but this one. */
  readonly way?: NetdSettings["outbound"];
  /** As with a kernel without tproxy: there is no table for its rule. */
  readonly withoutRules?: boolean;
}

export class World implements Disposable {
  readonly loop = new EventLoop(k);
  readonly host: RootlessNamespace;
  readonly topology = new NetworkTopology();
  readonly relay: SpliceRelay;
  readonly bridges: BridgeDriver;
  readonly way: WayOut | undefined;
  readonly #deps: Omit<OutboundDeps, "settings">;
  #outbound: Outbound | undefined;
  readonly #children: number[] = [];
  #networks = 0;
  #containers = 0;

  constructor(options: WorldOptions = {}) {
    const script = [
      "ip link set lo up",
      "ip link add out0 type veth peer name out1",
      "ip link set out0 arp off up",
      "ip link set out1 arp off up",
      `ip addr add ${HOST4}/24 dev out0`,
      `ip addr add ${OUTSIDE4}/32 dev lo`,
      "ip route add default dev out0",
      "ip route add unreachable 203.0.113.66",
      "ip route add prohibit 203.0.113.67",
      ...(options.hostIpv6 === false ? ["sysctl -qw net.ipv6.conf.all.disable_ipv6=1"] : [
        `ip -6 addr add ${HOST6}/64 dev out0 nodad`,
        `ip -6 addr add ${OUTSIDE6}/128 dev lo nodad`,
        "ip -6 route add default dev out0",
        "ip -6 route add unreachable 2001:db8:9::66",
        "ip -6 route add prohibit 2001:db8:9::67",
      ]),
    ];
    command("sh", "-ec", script.join("\n"));
    if (options.ping !== false) Deno.writeTextFileSync("/proc/sys/net/ipv4/ping_group_range", "0 0");
    this.host = new RootlessNamespace({ kernel: k });
    const ground = prepareGround(this.host);
    if (ground.tunMissing ?? ground.rulesMissing) throw new Error(JSON.stringify(ground));
    if (options.withoutRules) commit(this.host.filter, [deleteTable(NFT_TABLE)]);
    this.relay = new SpliceRelay(this.loop);
    const { limits, upstreams, settings = { hostLoopback: false }, way } = options;
    const deps = this.#deps = {
      loop: this.loop,
      host: this.host,
      relay: this.relay,
      calls: network,
      topology: this.topology,
      ...(limits === undefined ? {} : { limits }),
      ...(upstreams === undefined ? {} : { upstreams }),
    };
    this.bridges = new BridgeDriver({
      host: this.host,
      ipv6: true,
      removal: removalAtOnce(this.host.route),
      outside: () => way === undefined ? { link: TUN_NAME } : this.way?.route,
    });
    if (way !== undefined) this.way = openWayOut(deps, { ...settings, outbound: way });
    else if (!options.bare) this.#outbound = new Outbound({ ...deps, settings });
  }

  get outbound(): Outbound {
    if (this.#outbound === undefined) throw new Error("a bare world");
    return this.#outbound;
  }

  /** As netd does when settings change. */
  reopen(settings: OutboundDeps["settings"]): void {
    this.outbound[Symbol.dispose]();
    this.#outbound = new Outbound({ ...this.#deps, settings });
  }

  /** `172.(20+n).0.0/16` and `fd00:n::/64`, with gateways at .1. */
  network(options: { readonly internal?: boolean; readonly mtu?: number } = {}): number {
    const number = this.#networks++;
    const { internal = false, mtu = 1500 } = options;
    const state: NetworkState = {
      id: String(number).padStart(64, "0"),
      name: `n${number}`,
      driver: "bridge",
      link: `br${number}`,
      options: {
        driver: "bridge",
        mtu,
        enableIcc: true,
        inhibitIpv4: false,
      } as unknown as NetworkState["options"],
      internal,
      ipv6: true,
      subnets: [
        { subnet: `172.${20 + number}.0.0/16`, gateway: `172.${20 + number}.0.1` },
        { subnet: `fd00:${number}::/64`, gateway: `fd00:${number}::1` },
      ],
    };
    Undo.all((undo) => this.bridges.ensure(state, undo), (error) => console.error(error));
    const subnets = state.subnets.map(({ subnet, gateway }): Subnet => {
      const [address = "", length = ""] = subnet.split("/");
      return {
        networkId: state.id,
        link: state.link,
        address: addressBytes(parseAddress(address)),
        length: Number(length),
        gateway: addressBytes(parseAddress(gateway ?? "")),
        internal,
      };
    });
    this.topology.set([...this.topology.subnets(), ...subnets]);
    return number;
  }

  /** A network namespace with an interface in the network. */
  container(network: number, mtu = 1500): Container {
    const number = ++this.#containers + 1;
    const [r, w] = k.pipe2(0);
    const pid = k.spawn({
      path: "/usr/bin/unshare",
      args: ["unshare", "-n", "sh", "-c", "echo; exec sleep 600"],
      env: ENVIRONMENT,
      fds: { 1: w },
    });
    this.#children.push(pid);
    k.close(w);
    k.read(r, new Uint8Array(1));
    k.close(r);
    const fd = k.open(`/proc/${pid}/ns/net`, 0);
    const state = { id: String(network).padStart(64, "0"), name: `n${network}`, link: `br${network}` };
    const endpoint = {
      id: `e${number}`,
      interface: "eth0",
      mac: `02:42:ac:11:00:${number.toString(16).padStart(2, "0")}`,
    };
    this.bridges.plug(
      { ...state, options: { driver: "bridge", mtu, enableIcc: true } } as unknown as NetworkState,
      endpoint as unknown as EndpointState,
      { process: { pid, startTime: "" } as never, fd },
      `veth${number}`,
    );
    k.close(fd);
    const [address, address6] = [`172.${20 + network}.0.${number}`, `fd00:${network}::${number}`];
    command(
      ...["nsenter", "-t", String(pid), "-n", "sh", "-ec"],
      [
        "ip link set lo up",
        "ip link set eth0 up",
        `ip addr add ${address}/16 dev eth0`,
        `ip -6 addr add ${address6}/64 dev eth0 nodad`,
        `ip route add default via 172.${20 + network}.0.1`,
        `ip -6 route add default via fd00:${network}::1`,
        "echo 0 0 > /proc/sys/net/ipv4/ping_group_range",
      ].join("\n"),
    );
    return { pid, address, address6 };
  }

  /** Starts a program; `pid` says in whose network. */
  start(args: readonly string[], pid?: number): Running {
    const [r, w] = k.pipe2(0);
    const enter = pid === undefined ? [] : ["nsenter", "-t", String(pid), "-n"];
    const child = k.spawn({
      path: "/usr/bin/env",
      args: ["env", ...enter, ...args],
      env: ENVIRONMENT,
      fds: { 1: w },
    });
    this.#children.push(child);
    k.close(w);
    const running: Running = { pid: child, output: "", ended: false };
    const buffer = new Uint8Array(65536);
    this.loop.add(r, EPOLLIN, () => {
      const length = k.read(r, buffer);
      if (length > 0) running.output += new TextDecoder().decode(buffer.subarray(0, length));
      else {
        this.loop.remove(r);
        k.close(r);
        running.ended = true;
      }
    });
    return running;
  }

  /** Servers in the host's network: `203.0.113.9:80`, `udp:203.0.113.9:7`. */
  serve(...places: string[]): void {
    const running = this.start(peerArguments("serve", ...places));
    this.until(() => running.output.includes("ready"));
  }

  /** What a client in the container's network meets. */
  take(container: Container, ...steps: Step[]): unknown[] {
    const running = this.start(peerArguments(JSON.stringify(steps)), container.pid);
    this.until(() => running.ended);
    return JSON.parse(running.output);
  }

  /** A client that goes on meanwhile. */
  begin(container: Container, ...steps: Step[]): Running {
    return this.start(peerArguments(JSON.stringify(steps)), container.pid);
  }

  /** A shell's script in the container's network, or in the host's. */
  run(script: string, container?: Container): string {
    const running = this.start(["sh", "-c", script], container?.pid);
    this.until(() => running.ended);
    return running.output.trim();
  }

  /** Turns the loop until it is so. */
  until(done: () => boolean, ms = 60_000): void {
    const end = performance.now() + ms * SLOWNESS;
    while (!done()) {
      if (performance.now() > end) throw new Error("it takes too long");
      this.loop.turn(10);
    }
  }

  [Symbol.dispose](): void {
    for (const pid of this.#children) {
      try {
        k.kill(pid, SIGKILL);
      } catch {
        // it has ended
      }
      k.wait(pid, false);
    }
    this.#outbound?.[Symbol.dispose]();
    this.way?.[Symbol.dispose]();
    this.relay[Symbol.dispose]();
    this.loop[Symbol.dispose]();
    this.host[Symbol.dispose]();
  }
}

const peerArguments = (...args: string[]): string[] => [
  Deno.execPath(),
  ...["run", "-A", "--unstable-net", "--no-config", "--no-lock", "--quiet", PEER],
  ...args,
];
