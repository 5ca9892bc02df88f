/** The networks of the rootless host, and which driver each one is of. */
import { EngineError, messageOf } from "../../base/errors.ts";
import { note } from "../../base/note.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import { masked, parsePrefix } from "../../base/address_prefix.ts";
import * as nl from "../netlink/mod.ts";
import type { DriverName } from "../network_types.ts";
import { BridgeDriver, RULES_OF_BRIDGES } from "./bridge_driver.ts";
import type { DriverDeps, NetworkDriver } from "./driver.ts";
import { dispense, Undo, unless } from "./ensure.ts";
import { guardSources } from "./ground.ts";
import type { NetworkState } from "./protocol.ts";
import { NetworkTopology, type Subnet } from "./topology.ts";
import { OWN_PARENT, VlanDriver } from "./vlan_driver.ts";

export class Networks {
  readonly topology = new NetworkTopology();
  readonly #deps: DriverDeps;
  readonly #states = new Map<string, NetworkState>();
  readonly #bridge: BridgeDriver;
  readonly #vlan: VlanDriver;

  constructor(deps: Omit<DriverDeps, "subnets">) {
    this.#deps = { ...deps, subnets: () => this.topology.subnets() };
    this.#bridge = new BridgeDriver(this.#deps);
    this.#vlan = new VlanDriver(this.#deps);
  }

  /** @throws {EngineError} not-found */
  get(id: string): NetworkState {
    const network = this.#states.get(id);
    if (network === undefined) throw new EngineError("not-found", `network ${id} not found`);
    return network;
  }

  nameOf(id: string): string | undefined {
    return this.#states.get(id)?.name;
  }

  ids(): string[] {
    return [...this.#states.keys()];
  }

  /** Makes a network, or completes the one that is there. All or nothing. @throws {SysError | EngineError} */
  add(network: NetworkState): void {
    const driver = this.driverOf(network.driver);
    const before = this.#states.get(network.id);
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(network)) return;
    Undo.all((undo) => {
      driver.ensure(network, undo);
      this.#tell(new Map([...this.#states, [network.id, network]]).values());
    }, logFailure);
    this.#states.set(network.id, network);
    this.#keepApart();
  }

  remove(id: string): void {
    const network = this.#states.get(id);
    if (network === undefined) return;
    this.#states.delete(id);
    this.#tell(this.#states.values());
    this.driverOf(network.driver).remove(network);
    this.#keepApart();
  }

  /** Networks have changed: where another program leads outside, each bridge's routes say which addresses are other networks'. */
  #keepApart(): void {
    if (this.#deps.outside?.()?.gateway4 !== undefined) this.refreshRoutes();
  }

  /** The way outside is there, or is another one: all routes that lead to it are made again. */
  refreshRoutes(): void {
    for (const network of this.#states.values()) {
      try {
        Undo.all((undo) => this.driverOf(network.driver).ensure(network, undo), logFailure);
      } catch (error) {
        logFailure(error);
      }
    }
  }

  /** Takes down bridges and parents, and the rules of such, that are an earlier netd's and not to be `kept`. */
  sweep(kept: ReadonlySet<string>): void {
    const { host: { route }, ipv6 } = this.#deps;
    const families = ipv6 ? ["inet", "inet6"] as const : ["inet"] as const;
    const rules = families.flatMap((family) => nl.listRules(route, family))
      .filter(({ priority, iif }) => RULES_OF_BRIDGES.includes(priority) && iif !== undefined);
    // a bridge that somebody has made by hand has neither
    const isOurs = (name: string): boolean =>
      /^(docker0|br-[0-9a-f]{12})$/.test(name) || rules.some(({ iif }) => iif === name);
    for (const link of nl.listLinks(route)) {
      if (kept.has(link.name)) continue;
      if (link.kind === "bridge" && isOurs(link.name)) this.#bridge.removeStray(link);
      else if (OWN_PARENT.test(link.name)) dispense(() => nl.deleteLink(route, link.index));
    }
    for (const rule of rules) {
      if (rule.iif !== undefined && !kept.has(rule.iif)) dispense(() => nl.deleteRule(route, rule));
    }
  }

  /** @throws {EngineError} not-implemented */
  driverOf(name: DriverName): NetworkDriver {
    switch (name) {
      case "bridge":
        return this.#bridge;
      case "macvlan":
      case "ipvlan":
        return this.#vlan;
      case "overlay":
        throw new EngineError(
          "not-implemented",
          "the driver overlay is not there yet: networks over several hosts need what tells the hosts of each other",
          {
            hint:
              "Use the driver bridge for containers of this machine, and published ports between machines.",
          },
        );
      default:
        throw new EngineError("invalid", `the driver ${name} has no network of its own`);
    }
  }

  /** The subnets of these networks are berth's from now on. @throws {SysError} */
  #tell(networks: Iterable<NetworkState>): void {
    const subnets = [...networks].flatMap(subnetsOf);
    if (subnets.some(isV6) || this.topology.subnets().some(isV6)) {
      // where the kernel has no such table, the doctor says so
      unless(
        ["ENOENT", "EINVAL", "EOPNOTSUPP", "EPERM"],
        () => guardSources(this.#deps.host.filter, subnets),
      );
    }
    this.topology.set(subnets);
  }
}

const isV6 = ({ address }: Subnet): boolean => address.length === 16;

function subnetsOf({ id, link, subnets, internal }: NetworkState): Subnet[] {
  return subnets.map(({ subnet, gateway }) => {
    const { address, bits } = masked(parsePrefix(subnet));
    return {
      networkId: id,
      link,
      address: addressBytes(address),
      length: bits,
      gateway: gateway === undefined ? undefined : addressBytes(parseAddress(gateway)),
      internal,
    };
  });
}

export const logFailure = (error: unknown): void => note(`while taking back: ${messageOf(error)}`);
