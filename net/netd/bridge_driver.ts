/** Networks of the driver `bridge`: a bridge of the kernel's in the rootless host, and a veth pair for each container. */
import { EngineError } from "../../base/errors.ts";
import { IPPROTO_TCP, IPPROTO_UDP } from "../../ffi/network_constants.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import { masked, parsePrefix } from "../../base/address_prefix.ts";
import type { BridgeOptions } from "../network_options.ts";
import * as nl from "../netlink/mod.ts";
import type { DriverDeps, NetworkDriver, OutsideRoute, Plugged, Target } from "./driver.ts";
import { dispense, ensure, type Undo, unless } from "./ensure.ts";
import { anywhere, RULE_BRIDGE, RULE_STRANGER, RULE_TRANSPORT } from "./ground.ts";
import type { EndpointState, NetworkState } from "./protocol.ts";
import { TUN_NAME } from "./rootless_host.ts";
import { sameBytes } from "./topology.ts";

/** Of Ethernet, and of Docker's bridges. */
const MTU = 1500;
/**
 * TCP hands pieces of this size to a bridge and its ports instead of 64 KiB: a third of the packets, acknowledgements and wake-ups between containers, and between
 * them and netd (BIG TCP). Every link that such a piece goes out by must have it: for one that has less the kernel cuts it to packets of the MTU's size, and
 * that costs more than was won. They never leave the machine.
 */
const GSO_MAX = 192 * 1024;

/** Numbers of routing tables of bridges begin here, beyond those that the kernel and distributions use. */
const FIRST_TABLE = 1000;

interface Bridge {
  readonly index: number;
  readonly table: number;
  /** It hands on pieces of {@link GSO_MAX}. */
  enlarged: boolean;
}

interface BridgeSubnet {
  readonly family: 4 | 6;
  /** Without bits beyond the length. */
  readonly prefix: nl.Prefix;
  readonly gateway: Uint8Array | undefined;
}

export class BridgeDriver implements NetworkDriver {
  readonly #deps: DriverDeps;
  /** By the network's id. */
  readonly #bridges = new Map<string, Bridge>();

  constructor(deps: DriverDeps) {
    this.#deps = deps;
  }

  ensure(network: NetworkState, undo: Undo): void {
    const { route } = this.#deps.host;
    const options = optionsOf(network);
    const subnets = this.#subnets(network);
    const name = network.link;
    this.#deps.removal.settle(name);
    const found = nl.getLink(route, name);
    if (found !== undefined && found.kind !== "bridge") {
      throw new EngineError("conflict", `interface ${name} exists in the rootless host and is no bridge`);
    }
    if (found === undefined) {
      nl.addLink(route, {
        kind: "bridge",
        name,
        mac: bridgeMac(network.id),
        up: true,
        stp: false,
        forwardDelay: 0,
        multicastSnooping: false,
      });
      undo.push(() => {
        const made = nl.getLink(route, name);
        if (made !== undefined) this.removeStray(made);
      });
    }
    const index = found?.index ?? nl.linkIndex(route, name);
    const bridge = { index, table: FIRST_TABLE + index, enlarged: false };
    nl.setLink(route, index, { mtu: options.mtu || MTU, up: true });
    this.#deps.host.sysctls({
      // nobody sends with another network's addresses: IPv4 has no route back for those
      [`ipv4/conf/${name}/rp_filter`]: "1",
      [`ipv4/conf/${name}/send_redirects`]: "0",
      ...(this.#deps.ipv6 ? { [`ipv6/conf/${name}/disable_ipv6`]: network.ipv6 ? "0" : "1" } : {}),
    });
    this.#addresses(index, subnets, options, found !== undefined);
    this.#routes(bridge, subnets, network, found !== undefined);
    const rules = rulesOf(name, bridge, subnets);
    for (const rule of rules) ensure(() => nl.addRule(route, rule));
    if (found !== undefined) this.#dropRules(name, rules);
    this.#bridges.set(network.id, bridge);
  }

  remove(network: NetworkState): void {
    const index = this.#bridges.get(network.id)?.index ??
      nl.getLink(this.#deps.host.route, network.link)?.index;
    this.#bridges.delete(network.id);
    if (index === undefined) return;
    this.#strip(network.link, FIRST_TABLE + index);
    this.#deps.removal.remove(index, network.link);
  }

  /** A bridge that no network has any more, found in the rootless host. */
  removeStray(link: nl.Link): void {
    this.#strip(link.name, FIRST_TABLE + link.index);
    dispense(() => nl.deleteLink(this.#deps.host.route, link.index));
  }

  plug(network: NetworkState, endpoint: EndpointState, target: Target, link: string): Plugged {
    const { route } = this.#deps.host;
    const bridge = this.#bridges.get(network.id);
    if (bridge === undefined) throw new EngineError("not-found", `network ${network.name} is not there`);
    const options = optionsOf(network);
    const mtu = options.mtu || MTU;
    const add = (): void =>
      nl.addLink(route, {
        kind: "veth",
        name: link,
        master: bridge.index,
        up: true,
        mtu,
        gsoMax4: GSO_MAX,
        peer: {
          name: endpoint.interface,
          mac: endpoint.mac,
          mtu,
          gsoMax4: GSO_MAX,
          namespace: { fd: target.fd },
        },
      });
    if (!ensure(add)) {
      // of a namespace that is ending, as likely as not; if it was the peer's name that is taken, the second time says so
      dispense(() => nl.deleteLink(route, link));
      add();
    }
    try {
      this.#enlarge(bridge);
      if (!options.enableIcc) nl.setBridgePort(route, link, { isolated: true });
    } catch (error) {
      dispense(() => nl.deleteLink(route, link));
      throw error;
    }
    return { link };
  }

  /** A bridge may have what all its ports have, and nothing while it has none. */
  #enlarge(bridge: Bridge): void {
    if (bridge.enlarged) return;
    unless(["EINVAL"], () => nl.setLink(this.#deps.host.route, bridge.index, { gsoMax4: GSO_MAX }));
    bridge.enlarged = true;
  }

  adopt(
    network: NetworkState,
    endpoint: EndpointState,
    link: string,
    inside: nl.Netlink,
  ): Plugged | undefined {
    const { route } = this.#deps.host;
    const bridge = this.#bridges.get(network.id);
    const outer = nl.getLink(route, link);
    const inner = nl.getLink(inside, endpoint.interface);
    const whole = bridge !== undefined && outer?.kind === "veth" && inner?.kind === "veth" &&
      outer.parent === inner.index && inner.parent === outer.index;
    if (!whole) {
      if (outer !== undefined) dispense(() => nl.deleteLink(route, link));
      // of another endpoint, which the container has had before
      if (inner?.kind === "veth") dispense(() => nl.deleteLink(inside, inner.index));
      return undefined;
    }
    const lost = outer.master !== bridge.index || !outer.up;
    nl.setLink(route, link, { gsoMax4: GSO_MAX, ...(lost ? { master: bridge.index, up: true } : {}) });
    this.#enlarge(bridge);
    const isolated = !optionsOf(network).enableIcc;
    if ((outer.port?.isolated ?? false) !== isolated) nl.setBridgePort(route, link, { isolated });
    return { link };
  }

  #subnets(network: NetworkState): BridgeSubnet[] {
    return network.subnets.flatMap(({ subnet, gateway }) => {
      const { address, bits } = masked(parsePrefix(subnet));
      if (address.family === 6 && !this.#deps.ipv6) {
        throw new EngineError("unavailable", `network ${network.name}: the kernel has no IPv6`);
      }
      return {
        family: address.family,
        prefix: { address: addressBytes(address), length: bits },
        gateway: gateway === undefined ? undefined : addressBytes(parseAddress(gateway)),
      };
    });
  }

  #addresses(link: number, subnets: readonly BridgeSubnet[], options: BridgeOptions, found: boolean): void {
    const { route } = this.#deps.host;
    const wanted = subnets.flatMap(({ family, prefix: { length }, gateway }) =>
      gateway === undefined || (family === 4 && options.inhibitIpv4) ? [] : [{ address: gateway, length }]
    );
    if (found) {
      for (const there of nl.listAddresses(route, link)) {
        const kept = wanted.some(({ address, length }) =>
          length === there.length && sameBytes(address, there.address)
        );
        // 253: a link-local address, which the kernel makes by itself
        if (!kept && there.scope !== 253) dispense(() => nl.deleteAddress(route, there));
      }
    }
    for (const { address, length } of wanted) {
      ensure(() =>
        nl.addAddress(route, { link, address, length, ...broadcastOf(address, length), noDad: true })
      );
    }
  }

  /** The bridge's own table: what it brings goes outside by the TUN, and nowhere else. */
  #routes(bridge: Bridge, subnets: readonly BridgeSubnet[], network: NetworkState, found: boolean): void {
    const { route } = this.#deps.host;
    const routes = this.#tableOf(bridge, subnets, network);
    if (found) {
      for (const there of nl.listRoutes(route, bridge.table)) {
        const kept = routes.some((one) =>
          one.destination.length === there.destination.length &&
          sameBytes(one.destination.address, there.destination.address)
        );
        if (!kept) dispense(() => nl.deleteRoute(route, there));
      }
    }
    for (const one of routes) nl.addRoute(route, one, { replace: true });
    for (const { family, prefix, gateway } of subnets) {
      const addressed = gateway !== undefined && !(family === 4 && optionsOf(network).inhibitIpv4);
      // the kernel makes it where the bridge has an address
      if (addressed) continue;
      ensure(() => nl.addRoute(route, { destination: prefix, link: bridge.index }));
    }
  }

  #tableOf(bridge: Bridge, subnets: readonly BridgeSubnet[], network: NetworkState): nl.Route[] {
    const { table } = bridge;
    const { host, outside: way = () => ({ link: TUN_NAME }), subnets: known = () => [] } = this.#deps;
    const to: OutsideRoute | undefined = way();
    const device = to === undefined ? undefined : nl.getLink(host.route, to.link)?.index;
    const gateway4 = to?.gateway4;
    const routes: nl.Route[] = [];
    const outside = (destination: nl.Prefix): nl.Route => {
      const v6 = destination.address.length === 16;
      if (network.internal || device === undefined || (v6 && gateway4 !== undefined)) {
        return { destination, table, type: "unreachable" };
      }
      const hop = gateway4 === undefined ? {} : { gateway: gateway4, onlink: true };
      return { destination, table, link: device, ...hop };
    };
    for (const { family, prefix, gateway } of subnets) {
      // Without it containers that may not reach each other would, by way of the bridge's address.
      routes.push(
        optionsOf(network).enableIcc
          ? { destination: prefix, table, link: bridge.index }
          : { destination: prefix, table, type: "unreachable" },
      );
      if (gateway !== undefined) routes.push(outside({ address: gateway, length: 8 * gateway.length }));
      routes.push(outside(anywhere(family)));
    }
    // netd knows by itself what is another network's; another program would look for it on the machine's network
    if (gateway4 !== undefined) {
      for (const { networkId, address, length } of known()) {
        if (networkId === network.id || address.length !== 4) continue;
        routes.push({ destination: { address, length }, table, type: "blackhole" });
      }
    }
    return routes;
  }

  /** The rules of a bridge, but for those that are to stay. */
  #dropRules(name: string, kept: readonly nl.Rule[] = []): void {
    const keys = new Set(kept.map(ruleKey));
    const { route } = this.#deps.host;
    for (const family of this.#deps.ipv6 ? ["inet", "inet6"] as const : ["inet"] as const) {
      for (const rule of nl.listRules(route, family)) {
        if (rule.iif === name && RULES_OF_BRIDGES.includes(rule.priority) && !keys.has(ruleKey(rule))) {
          dispense(() => nl.deleteRule(route, rule));
        }
      }
    }
  }

  /** Takes away what does not go with the bridge's link: rules, and routes without an interface. */
  #strip(name: string, table: number): void {
    const { route } = this.#deps.host;
    this.#dropRules(name);
    for (const there of nl.listRoutes(route, table)) dispense(() => nl.deleteRoute(route, there));
  }
}

/** Priorities of the rules that bridges have. */
export const RULES_OF_BRIDGES: readonly number[] = [RULE_TRANSPORT, RULE_BRIDGE, RULE_STRANGER];

/**
 * TCP and UDP to a gateway's address goes to the TUN, where it means "the host", before the local table is asked; ARP, ping and
 * what the bridge's own address needs besides are for the kernel. What has the address of another network as its source gets no answer: an
 * error would go to that one.
 */
function rulesOf(iif: string, { table }: Bridge, subnets: readonly BridgeSubnet[]): nl.Rule[] {
  const kind = (family: 4 | 6) => family === 4 ? "inet" as const : "inet6" as const;
  const rules = subnets.flatMap(({ family, prefix: from }): nl.Rule[] => {
    const rule = { family: kind(family), iif, from, table };
    return [
      { ...rule, priority: RULE_TRANSPORT, protocol: IPPROTO_TCP },
      { ...rule, priority: RULE_TRANSPORT, protocol: IPPROTO_UDP },
      { ...rule, priority: RULE_BRIDGE },
    ];
  });
  const families = new Set(subnets.map(({ family }) => kind(family)));
  return [
    ...rules,
    ...[...families].map((family) => ({
      family,
      iif,
      priority: RULE_STRANGER,
      action: "blackhole" as const,
    })),
  ];
}

const ruleKey = ({ family, priority, protocol, from, table }: nl.Rule): string =>
  [family, priority, protocol, from && nl.prefixText(from), table].join();

function optionsOf(network: NetworkState): BridgeOptions {
  if (network.options.driver !== "bridge") throw new TypeError(`${network.name} is no bridge`);
  return network.options;
}

/** The same for the same network: containers remember their gateway's address when a bridge is made anew. */
function bridgeMac(id: string): string {
  return `02:42:${id.slice(0, 8).match(/../g)?.join(":") ?? "00:00:00:00"}`;
}

/** The last address of an IPv4 network; those of one or two addresses have none. */
export function broadcastOf(address: Uint8Array, length: number): { broadcast?: Uint8Array } {
  if (address.length !== 4 || length > 30) return {};
  return {
    broadcast: address.map((byte, index) => byte | (0xff >> Math.max(0, Math.min(8, length - 8 * index)))),
  };
}
