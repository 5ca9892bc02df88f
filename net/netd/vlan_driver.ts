/**
 * Networks of the drivers `macvlan` and `ipvlan`: interfaces below a parent link, moved into containers. The parent is one of
 * the rootless host's: the machine's own are out of reach without root.
 */
import { EngineError } from "../../base/errors.ts";
import { SysError } from "../../ffi/errno.ts";
import * as nl from "../netlink/mod.ts";
import type { DriverDeps, NetworkDriver, Plugged, Target } from "./driver.ts";
import { dispense, ensure, type Undo, unless } from "./ensure.ts";
import type { EndpointState, NetworkState } from "./protocol.ts";

/** Parents that Docker's drivers make by themselves are called so: of a macvlan, and of an ipvlan. */
export const OWN_PARENT = /^d[mi]-[0-9a-f]{12}$/;
/** The other end of a parent that is a veth, where the kernel has no dummies. */
const otherEnd = (parent: string): string => `${parent.slice(0, 13)}-p`;

export class VlanDriver implements NetworkDriver {
  readonly #deps: DriverDeps;
  /** Parents that are made here, and how many networks use each. */
  readonly #made = new Set<string>();
  readonly #users = new Map<string, Set<string>>();

  constructor(deps: DriverDeps) {
    this.#deps = deps;
  }

  ensure(network: NetworkState, undo: Undo): void {
    const { route } = this.#deps.host;
    const name = network.link;
    this.#deps.removal.settle(name);
    if (nl.getLink(route, name) === undefined) {
      this.#makeParent(name);
      this.#made.add(name);
      undo.push(() => this.#removeParent(name));
    } else if (OWN_PARENT.test(name)) this.#made.add(name);
    nl.setLink(route, name, { up: true });
    this.#requireKind(network);
    const users = this.#users.get(name) ?? new Set();
    this.#users.set(name, users.add(network.id));
    undo.push(() => users.delete(network.id));
  }

  remove(network: NetworkState): void {
    const users = this.#users.get(network.link);
    users?.delete(network.id);
    if ((users?.size ?? 0) > 0) return;
    this.#users.delete(network.link);
    if (this.#made.delete(network.link)) this.#deps.removal.remove(network.link, network.link);
  }

  plug(network: NetworkState, endpoint: EndpointState, target: Target): Plugged {
    const { route } = this.#deps.host;
    const parent = nl.linkIndex(route, network.link);
    const { options } = network;
    const common = { name: endpoint.interface, parent, namespace: { fd: target.fd } };
    this.#explain(network, () => {
      if (options.driver === "macvlan") {
        nl.addLink(route, { ...common, kind: "macvlan", mac: endpoint.mac, mode: macvlanMode(options.mode) });
      } else if (options.driver === "ipvlan") {
        nl.addLink(route, {
          ...common,
          kind: "ipvlan",
          mode: ipvlanMode(options.mode),
          flag: ipvlanFlag(options.flag),
        });
      }
    });
    return { link: undefined };
  }

  adopt(
    network: NetworkState,
    endpoint: EndpointState,
    _link: string,
    inside: nl.Netlink,
  ): Plugged | undefined {
    const there = nl.getLink(inside, endpoint.interface);
    if (there === undefined) return undefined;
    const parent = nl.getLink(this.#deps.host.route, network.link)?.index;
    if (there.kind === network.driver && there.parent === parent) return { link: undefined };
    if (there.kind === network.driver) dispense(() => nl.deleteLink(inside, there.index));
    return undefined;
  }

  #makeParent(name: string): void {
    const { route } = this.#deps.host;
    const made = unless(
      ["EOPNOTSUPP"],
      () => ensure(() => nl.addLink(route, { kind: "dummy", name, up: true })),
    );
    // a kernel without dummies: one end of a veth whose other end is up is as good
    if (!made) {
      nl.addLink(route, { kind: "veth", name, up: true, peer: { name: otherEnd(name) } });
      nl.setLink(route, otherEnd(name), { up: true });
    }
  }

  #removeParent(name: string): void {
    dispense(() => nl.deleteLink(this.#deps.host.route, name));
  }

  /** A kernel without the driver is found out when the network is made, not when the first container starts. */
  #requireKind(network: NetworkState): void {
    this.#explain(network, () => {
      const refusal = refusalOfKind(this.#deps.host.route, network.driver);
      if (refusal !== undefined) throw refusal;
    });
  }

  #explain(network: NetworkState, action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.is("EOPNOTSUPP")) {
        throw new EngineError(
          "not-implemented",
          `network ${network.name}: the kernel has no ${network.driver} (CONFIG_${network.driver.toUpperCase()})`,
          {
            cause: error,
            hint: `Load the kernel's module:  sudo modprobe ${network.driver}\n` +
              "Where there is none, use the driver bridge, which needs no more than veth.",
          },
        );
      }
      if (error.is("EBUSY")) {
        throw new EngineError(
          "conflict",
          `network ${network.name}: ${network.link} is the parent of links of another kind or mode`,
          { cause: error },
        );
      }
      throw error;
    }
  }
}

/** Asks for a link of a kind without saying what for: a kernel that knows the kind misses something else. Undefined: it knows it. */
export function refusalOfKind(route: nl.Netlink, kind: string): SysError | undefined {
  try {
    nl.addLink(
      route,
      kind === "macvlan"
        ? { kind, name: "berth-probe", parent: 0, mode: "bridge" }
        : { kind: "ipvlan", name: "berth-probe", parent: 0, mode: "l2" },
    );
    dispense(() => nl.deleteLink(route, "berth-probe"));
  } catch (error) {
    if (error instanceof SysError) return error.is("EOPNOTSUPP", "EPERM") ? error : undefined;
    throw error;
  }
  return undefined;
}

function macvlanMode(mode: string): "private" | "vepa" | "bridge" | "passthru" {
  return mode === "private" || mode === "vepa" || mode === "passthru" ? mode : "bridge";
}

function ipvlanMode(mode: string): "l2" | "l3" | "l3s" {
  return mode === "l3" || mode === "l3s" ? mode : "l2";
}

function ipvlanFlag(flag: string): "bridge" | "private" | "vepa" {
  return flag === "private" || flag === "vepa" ? flag : "bridge";
}
