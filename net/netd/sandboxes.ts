/** Containers' network namespaces: what is plugged into each, and what is served for it. */
import { EngineError } from "../../base/errors.ts";
import { identify } from "../../base/process_identity.ts";
import { EPOLLIN, O_RDONLY } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import type { Syscalls } from "../../ffi/syscalls.ts";
import type { PublishedPort } from "../network_host_ports.ts";
import * as nl from "../netlink/mod.ts";
import { announce, Announcements, announcementSysctls } from "./announcements.ts";
import type { Plugged, Target } from "./driver.ts";
import { dispense, Undo } from "./ensure.ts";
import type { LinkRemoval } from "./link_removal.ts";
import { logFailure, type Networks } from "./networks.ts";
import { OutlivedLinks } from "./outlived_links.ts";
import type { Inside, SandboxNames, SandboxPublisher } from "./parts.ts";
import type { EndpointState, InterfaceStats, SandboxState } from "./protocol.ts";
import type { RootlessNamespace } from "./rootless_namespace.ts";
import { bringUp, complete, gatewaysOf, setDefaultRoutes, sysctlsOf } from "./sandbox_interfaces.ts";

export interface SandboxDeps {
  readonly kernel: Syscalls;
  readonly loop: EventLoop;
  readonly host: RootlessNamespace;
  readonly removal: LinkRemoval;
  readonly networks: Networks;
  readonly ipv6: boolean;
  /** Undefined: nothing can be published. */
  readonly publisher: SandboxPublisher | undefined;
  readonly names: SandboxNames | undefined;
  /** A container's process has ended. */
  readonly onEnded: (containerId: string) => void;
}

/** Some milliseconds: then the processors have other work than that. */
const CARRIER_TRIES = 100;

interface Sandbox {
  state: SandboxState;
  /** By endpoint. */
  readonly plugged: Map<string, Plugged>;
  readonly pidfd: number;
  ports: readonly PublishedPort[];
  ended: boolean;
}

interface Equipment {
  readonly state: SandboxState;
  /** Those to make. */
  readonly endpoints: readonly EndpointState[];
  readonly plugged: Map<string, Plugged>;
  readonly undo: Undo;
  /** An earlier netd may have made some of them. */
  readonly adopt: boolean;
  /** Nothing is in the namespace yet. */
  readonly fresh: boolean;
}

export class Sandboxes {
  readonly #deps: SandboxDeps;
  readonly #all = new Map<string, Sandbox>();
  readonly #links = new Set<string>();
  readonly #announcements = new Announcements();
  readonly #outlived: OutlivedLinks;

  constructor(deps: SandboxDeps) {
    this.#deps = deps;
    const { loop, removal, host: { route } } = deps;
    this.#outlived = new OutlivedLinks({ loop, removal, route, inUse: (link) => this.#links.has(link) });
  }

  get size(): number {
    return this.#all.size;
  }

  ids(): string[] {
    return [...this.#all.keys()];
  }

  /** Those whose process has ended. */
  ended(): string[] {
    return [...this.#all].filter(([, { ended }]) => ended).map(([id]) => id);
  }

  /** A network has gone. */
  forgetNetwork(id: string): void {
    this.#announcements.forget(id);
  }

  /** Names of all veths of sandboxes in the rootless host. */
  links(): ReadonlySet<string> {
    return this.#links;
  }

  /**
   * Makes a sandbox. All or nothing.
   *
   * @param adopt the namespace may have interfaces that an earlier netd has made
   * @throws {SysError | EngineError}
   */
  add(state: SandboxState, adopt = false): readonly PublishedPort[] {
    if (this.#all.has(state.containerId)) this.remove(state.containerId);
    return Undo.all((undo) => {
      const pidfd = this.#watch(state);
      undo.push(() => this.#unwatch(pidfd));
      const plugged = new Map<string, Plugged>();
      if (state.endpoints.length > 0 || state.dns !== undefined) {
        this.#equip({ state, endpoints: state.endpoints, plugged, undo, adopt, fresh: !adopt }, (inside) => {
          undo.push(() => this.#deps.names?.remove(state.containerId));
          this.#deps.names?.add(state, inside);
        });
      }
      const ports = this.#publish(state, undo);
      this.#all.set(state.containerId, { state, plugged, pidfd, ports, ended: false });
      return ports;
    }, logFailure);
  }

  /**
   * Makes the difference to a new state. All or nothing, but for interfaces that go: they are taken away last, or first when a new one
   * has their name.
   *
   * @throws {SysError | EngineError}
   */
  update(state: SandboxState): readonly PublishedPort[] {
    const sandbox = this.#all.get(state.containerId);
    if (sandbox === undefined || !sameProcess(sandbox.state, state)) return this.add(state, true);
    const before = sandbox.state;
    const added = state.endpoints.filter((endpoint) => !sandbox.plugged.has(endpoint.id));
    const gone = before.endpoints.filter(({ id }) => !state.endpoints.some((kept) => kept.id === id));
    const inTheWay = gone.filter((old) => added.some((one) => one.interface === old.interface));
    return Undo.all((undo) => {
      const plugged = new Map<string, Plugged>();
      if (inTheWay.length > 0) {
        this.#connected(state, (connection) => this.#unplug(sandbox, inTheWay, connection));
      }
      undo.push(() =>
        this.#connected(
          state,
          (connection) => setDefaultRoutes(connection, gatewaysOf(before.endpoints), false),
        )
      );
      this.#equip({ state, endpoints: added, plugged, undo, adopt: false, fresh: false }, (inside) => {
        undo.push(() =>
          this.#inNamespace(
            state,
            (target) =>
              this.#deps.host.enter(handle(target), (again) => this.#deps.names?.update(before, again)),
          )
        );
        this.#deps.names?.update(state, inside);
      });
      let { ports } = sandbox;
      if (!samePublishing(before, state)) {
        undo.push(() =>
          this.#deps.publisher?.publish({ ...before, publish: { ...before.publish, assigned: ports } })
        );
        ports = this.#publish(state, undo, true);
      }
      // from here on nothing fails
      sandbox.state = state;
      sandbox.ports = ports;
      for (const [id, one] of plugged) sandbox.plugged.set(id, one);
      const rest = gone.filter((endpoint) => sandbox.plugged.has(endpoint.id));
      if (rest.length > 0) {
        attempt(() => this.#connected(state, (connection) => this.#unplug(sandbox, rest, connection)));
      }
      return ports;
    }, logFailure);
  }

  /** Takes down what is served for a container, and its interfaces if it still lives: of one that has ended, see {@link OutlivedLinks}. */
  remove(containerId: string): void {
    const sandbox = this.#all.get(containerId);
    if (sandbox === undefined) return;
    this.#all.delete(containerId);
    attempt(() => this.#deps.publisher?.unpublish(containerId));
    attempt(() => this.#deps.names?.remove(containerId));
    if (!sandbox.ended) this.#unwatch(sandbox.pidfd);
    const lives = !sandbox.ended &&
      identify(sandbox.state.pid)?.startTime === sandbox.state.startTime;
    if (lives) attempt(() => this.#withdraw(sandbox));
    else this.#outlive(sandbox);
  }

  /**
   * After either side has started anew.
   *
   * @throws {SysError | EngineError} what could not be made; then there is no sandbox.
   */
  restore(state: SandboxState): readonly PublishedPort[] {
    const sandbox = this.#all.get(state.containerId);
    if (sandbox === undefined || !sameProcess(sandbox.state, state)) return this.add(state, true);
    if (sandbox.ended) {
      this.remove(state.containerId);
      throw hasEnded(state);
    }
    if (sameState(sandbox.state, state)) return sandbox.ports;
    return this.update(state);
  }

  /** Counters of a container's interfaces, by name, as the container sees them. @throws {EngineError} not-found */
  stats(containerId: string): Record<string, InterfaceStats> {
    const sandbox = this.#all.get(containerId);
    if (sandbox === undefined) throw new EngineError("not-found", `no sandbox for container ${containerId}`);
    const { state, plugged } = sandbox;
    const stats: Record<string, InterfaceStats> = {};
    const inside: EndpointState[] = [];
    for (const endpoint of state.endpoints) {
      const link = plugged.get(endpoint.id)?.link;
      if (link === undefined) inside.push(endpoint);
      else {
        const counters = nl.getLink(this.#deps.host.route, link)?.stats;
        if (counters !== undefined) stats[endpoint.interface] = otherEnd(counters);
      }
    }
    if (inside.length > 0) {
      this.#connected(state, (connection) => {
        for (const endpoint of inside) {
          const counters = nl.getLink(connection, endpoint.interface)?.stats;
          if (counters !== undefined) stats[endpoint.interface] = counters;
        }
      });
    }
    return stats;
  }

  #publish(state: SandboxState, undo: Undo, there = false): readonly PublishedPort[] {
    const { publisher } = this.#deps;
    if (publisher === undefined) {
      if (state.publish.ports.length === 0) return [];
      throw new EngineError("unavailable", "ports cannot be published here");
    }
    if (state.publish.ports.length === 0 && !there) return [];
    const ports = publisher.publish(state);
    if (!there) undo.push(() => publisher.unpublish(state.containerId));
    return ports;
  }

  /**
   * Makes interfaces with their addresses, up, and the default routes. The stub enters once (as well as once to look, when it adopts):
   * `also` is what else is to be made inside.
   */
  #equip(work: Equipment, also: (inside: Inside) => void): void {
    const { state, undo, plugged } = work;
    const { host, networks, removal } = this.#deps;
    // names inside may be those of interfaces that are on their way out
    removal.settle(state.containerId);
    this.#inNamespace(state, (target) => {
      const fresh = work.adopt ? this.#adopt(work) : work.endpoints;
      for (const endpoint of fresh) {
        const network = networks.get(endpoint.networkId);
        this.#outlived.close(endpoint);
        const one = networks.driverOf(network.driver).plug(
          network,
          endpoint,
          target,
          this.#linkName(endpoint),
        );
        this.#note(plugged, endpoint, one);
        undo.push(() => this.#unplugFrom(state, endpoint, one));
      }
      const moved = fresh.filter((endpoint) => this.#announcements.note(endpoint));
      using connection = host.enter(handle(target), (inside) => {
        for (const endpoint of fresh) {
          for (const [name, value] of sysctlsOf(endpoint, this.#deps.ipv6)) setSysctl(inside, name, value);
        }
        for (const endpoint of moved) {
          for (const [name, value] of announcementSysctls(endpoint)) setSysctl(inside, name, value);
        }
        also(inside);
        return host.netlinkInside(inside);
      });
      for (const endpoint of fresh) bringUp(connection, endpoint);
      setDefaultRoutes(connection, gatewaysOf(state.endpoints), work.fresh);
      for (const { id } of fresh) this.#awaitCarrier(plugged.get(id)?.link);
      for (const endpoint of moved) announce(connection, endpoint);
    });
  }

  /**
   * The kernel hands the news that a veth's other end is up to a worker, and drops packets until that has run: the container's first
   * question for an address would be asked again a second later. As a rule the worker is faster than we are.
   */
  #awaitCarrier(link: string | undefined): void {
    if (link === undefined) return;
    for (let tries = 0; tries < CARRIER_TRIES; tries++) {
      if (nl.getLink(this.#deps.host.route, link)?.running !== false) return;
    }
  }

  /** Takes hold of what is there already; answers what is not. */
  #adopt({ state, endpoints, plugged, undo }: Equipment): EndpointState[] {
    const { networks } = this.#deps;
    return this.#connected(state, (connection) =>
      endpoints.filter((endpoint) => {
        const network = networks.get(endpoint.networkId);
        const found = networks.driverOf(network.driver)
          .adopt(network, endpoint, this.#linkName(endpoint), connection);
        if (found === undefined) return true;
        this.#note(plugged, endpoint, found);
        this.#announcements.note(endpoint);
        undo.push(() => this.#forget(found));
        complete(connection, endpoint);
        return false;
      }));
  }

  /** Runs `use` with a netlink connection of the container's namespace. */
  #connected<T>(state: SandboxState, use: (connection: nl.Netlink) => T): T {
    const { host } = this.#deps;
    return this.#inNamespace(state, (target) => {
      using connection = host.enter(handle(target), (inside) => host.netlinkInside(inside));
      return use(connection);
    });
  }

  /** Interfaces of a sandbox that goes on. */
  #unplug(sandbox: Sandbox, endpoints: readonly EndpointState[], connection: nl.Netlink): void {
    for (const endpoint of endpoints) {
      const one = sandbox.plugged.get(endpoint.id);
      if (one === undefined) continue;
      sandbox.plugged.delete(endpoint.id);
      this.#forget(one);
      const { link } = one;
      if (link !== undefined) this.#deps.removal.remove(link, sandbox.state.containerId);
      else dispense(() => nl.deleteLink(connection, endpoint.interface));
    }
  }

  #note(plugged: Map<string, Plugged>, endpoint: EndpointState, one: Plugged): void {
    plugged.set(endpoint.id, one);
    if (one.link !== undefined) this.#links.add(one.link);
  }

  #forget({ link }: Plugged): void {
    if (link !== undefined) this.#links.delete(link);
  }

  #unplugFrom(state: SandboxState, endpoint: EndpointState, one: Plugged): void {
    const { link } = one;
    this.#forget(one);
    if (link !== undefined) return this.#deps.removal.remove(link, state.containerId);
    this.#connected(state, (connection) => dispense(() => nl.deleteLink(connection, endpoint.interface)));
  }

  #outlive({ state, plugged }: Sandbox): void {
    for (const endpoint of state.endpoints) {
      const link = plugged.get(endpoint.id)?.link;
      if (link === undefined) continue;
      this.#links.delete(link);
      this.#outlived.add(endpoint, link, state.containerId);
    }
  }

  /** A container that lives loses its network. */
  #withdraw({ state, plugged }: Sandbox): void {
    for (const endpoint of state.endpoints) {
      const one = plugged.get(endpoint.id);
      if (one !== undefined) attempt(() => this.#unplugFrom(state, endpoint, one));
    }
  }

  /** Free in the rootless host: a namespace that is ending may have one of the same endpoint still. */
  #linkName({ id }: EndpointState): string {
    const [first = "", second = "", third = ""] = [0, 7, 14].map((at) => `veth${id.slice(at, at + 7)}`);
    return [first, second].find((name) => !this.#links.has(name)) ?? third;
  }

  /** Runs `use` with the namespace of a container that is certainly still this one. @throws {EngineError} conflict: it has ended. */
  #inNamespace<T>(state: SandboxState, use: (target: Target) => T): T {
    const { kernel } = this.#deps;
    let fd: number;
    try {
      fd = kernel.open(pathOf(state), O_RDONLY);
    } catch (error) {
      if (error instanceof SysError && error.is("ENOENT", "ESRCH")) throw hasEnded(state);
      throw error;
    }
    try {
      if (identify(state.pid)?.startTime !== state.startTime) throw hasEnded(state);
      return use({ process: { pid: state.pid, startTime: state.startTime }, fd });
    } finally {
      kernel.close(fd);
    }
  }

  /** @throws {EngineError} conflict: it has ended. */
  #watch(state: SandboxState): number {
    const { kernel, loop } = this.#deps;
    let pidfd: number;
    try {
      pidfd = kernel.pidfdOpen(state.pid, 0);
    } catch (error) {
      if (error instanceof SysError && error.is("ESRCH")) throw hasEnded(state);
      throw error;
    }
    if (identify(state.pid)?.startTime !== state.startTime) {
      kernel.close(pidfd);
      throw hasEnded(state);
    }
    loop.add(pidfd, EPOLLIN, () => {
      this.#unwatch(pidfd);
      for (const [id, sandbox] of this.#all) {
        if (sandbox.pidfd !== pidfd || sandbox.ended) continue;
        sandbox.ended = true;
        this.#deps.onEnded(id);
        return;
      }
    });
    return pidfd;
  }

  #unwatch(pidfd: number): void {
    this.#deps.loop.remove(pidfd);
    this.#deps.kernel.close(pidfd);
  }
}

/** The namespace by netd's own descriptor of it, for the stub: the number of a process may have become another's. */
const handle = ({ fd }: Target): string => `/proc/${Deno.pid}/fd/${fd}`;

const pathOf = ({ pid }: SandboxState): string => `/proc/${pid}/ns/net`;

const hasEnded = ({ name, pid }: SandboxState): EngineError =>
  new EngineError("conflict", `the process of container ${name} (pid ${pid}) has ended`);

const sameProcess = (a: SandboxState, b: SandboxState): boolean =>
  a.pid === b.pid && a.startTime === b.startTime;

/** What has been given out is a consequence of the rest. */
function samePublishing(a: SandboxState, b: SandboxState): boolean {
  const key = ({ publish: { assigned: _, ...rest } }: SandboxState): string => JSON.stringify(rest);
  return key(a) === key(b);
}

function sameState(a: SandboxState, b: SandboxState): boolean {
  const key = ({ publish: _, ...rest }: SandboxState): string => JSON.stringify(rest);
  return key(a) === key(b) && samePublishing(a, b);
}

/** A sysctl that the interface's kernel does not have is the user's mistake, and is told with its name. */
function setSysctl(inside: Inside, name: string, value: string): void {
  try {
    inside.sysctl(name, value);
  } catch (error) {
    if (!(error instanceof SysError) || error.op === "stub") throw error;
    // IPv6 switched off for the whole machine
    if (name.startsWith("ipv6/") && name.endsWith("/disable_ipv6") && error.is("ENOENT")) return;
    throw new EngineError(
      "invalid",
      `failed to set sysctl net.${name.replaceAll("/", ".")}=${value}: ${error.message}`,
      {
        cause: error,
      },
    );
  }
}

const otherEnd = (stats: InterfaceStats): InterfaceStats => ({
  rxBytes: stats.txBytes,
  rxPackets: stats.txPackets,
  rxErrors: stats.txErrors,
  rxDropped: stats.txDropped,
  txBytes: stats.rxBytes,
  txPackets: stats.rxPackets,
  txErrors: stats.rxErrors,
  txDropped: stats.rxDropped,
});

/** What comes after it must be done as well. */
function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    logFailure(error);
  }
}
