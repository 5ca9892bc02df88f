/** What the engine asks of netd, and in which order that is done. Knows nothing of processes and sockets: main.ts does. */
import { EngineError, messageOf } from "../../base/errors.ts";
import { note } from "../../base/note.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import type { Syscalls } from "../../ffi/syscalls.ts";
import type { PublishedPort } from "../network_host_ports.ts";
import * as nl from "../netlink/mod.ts";
import type { OutsideRoute } from "./driver.ts";
import { dispense } from "./ensure.ts";
import { completeGround, type Ground, prepareGround } from "./ground.ts";
import { Networks } from "./networks.ts";
import { type LinkRemoval, removalAtOnce } from "./link_removal.ts";
import type { SandboxNames, SandboxPublisher } from "./parts.ts";
import {
  NETD_PROTOCOL,
  type NetdAnswer,
  type NetdHello,
  type NetdRequest,
  type NetdSettings,
  type PathReport,
} from "./protocol.ts";
import { TUN_NAME } from "./rootless_host.ts";
import type { RootlessNamespace } from "./rootless_namespace.ts";
import { Sandboxes } from "./sandboxes.ts";
import type { Relay } from "../relay/relay.ts";
import type { Topology } from "./topology.ts";

/** The way outside. */
export interface OutboundPart extends Disposable {
  /** `tproxy`, `pasta`, `slirp4netns`, `none`. */
  readonly name: string;
  /** Undefined: the TUN device. */
  readonly route?: OutsideRoute;
}

/** What the data path's parts are made from. */
export interface PartDeps {
  readonly loop: EventLoop;
  readonly host: RootlessNamespace;
  readonly ground: () => Ground;
  readonly relay: Relay;
  readonly topology: Topology;
  /** Name of a network that is there. */
  readonly networkName: (id: string) => string | undefined;
  /** Undefined until the engine has told them. */
  readonly settings: () => NetdSettings | undefined;
}

export interface NetdParts {
  readonly publisher?: (deps: PartDeps) => SandboxPublisher;
  readonly names?: (deps: PartDeps) => SandboxNames;
  /** Made when the engine has told the settings, and again when they change. */
  readonly outbound?: (deps: PartDeps, settings: NetdSettings) => OutboundPart | undefined;
  readonly paths?: (deps: PartDeps) => readonly PathReport[];
}

export interface NetdOptions {
  readonly kernel: Syscalls;
  readonly loop: EventLoop;
  readonly host: RootlessNamespace;
  /** Without one, links are gone when a request is answered, and everybody waits for that. */
  readonly removal?: LinkRemoval;
  readonly relay: Relay;
  readonly version: string;
  readonly parts: NetdParts;
  readonly onEnded?: (containerId: string) => void;
}

type Problem = Extract<NetdAnswer, { problems: unknown }>["problems"][number];

export class Netd {
  #ground: Ground;
  readonly #options: NetdOptions;
  readonly #networks: Networks;
  readonly #sandboxes: Sandboxes;
  readonly #deps: PartDeps;
  #paths: readonly PathReport[] | undefined;
  #settings: NetdSettings | undefined;
  #outbound: OutboundPart | undefined;
  /** Why there is no way outside, though there should be one. */
  #failure: string | undefined;
  /** The engine has said that netd is to end. */
  ending = false;

  /** @throws {SysError} nothing works here. */
  constructor(options: NetdOptions) {
    this.#options = options;
    const { kernel, loop, host, relay, parts } = options;
    this.#ground = prepareGround(host);
    const { ipv6 } = this.#ground;
    const { removal = removalAtOnce(host.route) } = options;
    this.#networks = new Networks({ host, removal, ipv6, outside: () => this.#outside() });
    this.#deps = {
      loop,
      host,
      ground: () => this.#ground,
      relay,
      topology: this.#networks.topology,
      networkName: (id) => this.#networks.nameOf(id),
      settings: () => this.#settings,
    };
    this.#sandboxes = new Sandboxes({
      kernel,
      loop,
      host,
      removal,
      networks: this.#networks,
      ipv6,
      publisher: parts.publisher?.(this.#deps),
      names: parts.names?.(this.#deps),
      onEnded: (id) => options.onEnded?.(id),
    });
  }

  /** Sandboxes that are there. */
  get sandboxes(): number {
    return this.#sandboxes.size;
  }

  /** An engine has said what there is to be. */
  get told(): boolean {
    return this.#settings !== undefined;
  }

  /** Never throws: what goes wrong is the answer. */
  handle(request: NetdRequest): NetdAnswer {
    const { seq } = request;
    try {
      return this.#do(request);
    } catch (error) {
      if (!(error instanceof EngineError)) {
        note(error instanceof Error ? error.stack ?? error.message : `${error}`);
      }
      const kind = error instanceof EngineError ? error.kind : "system";
      const hint = error instanceof EngineError ? error.hint : undefined;
      const message = messageOf(error);
      return { seq, ok: false, error: { kind, message, ...(hint === undefined ? {} : { hint }) } };
    }
  }

  /** No engine will say that these have ended. */
  forgetEnded(): void {
    for (const id of this.#sandboxes.ended()) this.#sandboxes.remove(id);
  }

  #do(request: NetdRequest): NetdAnswer {
    const { seq } = request;
    switch (request.op) {
      case "hello":
        return { seq, ok: true, hello: this.#hello(request.fresh ?? false) };
      case "sync":
        return { seq, ok: true, ...this.#sync(request) };
      case "network.add":
        this.#networks.add(request.network);
        return { seq, ok: true };
      case "network.remove":
        this.#networks.remove(request.id);
        this.#sandboxes.forgetNetwork(request.id);
        return { seq, ok: true };
      case "sandbox.add":
        return { seq, ok: true, ports: this.#sandboxes.add(request.sandbox) };
      case "sandbox.update":
        return { seq, ok: true, ports: this.#sandboxes.update(request.sandbox) };
      case "sandbox.remove":
        this.#sandboxes.remove(request.containerId);
        return { seq, ok: true };
      case "stats":
        return { seq, ok: true, stats: this.#sandboxes.stats(request.containerId) };
      case "shutdown": {
        const left = this.#sandboxes.size;
        this.ending = left === 0;
        return { seq, ok: true, left };
      }
    }
  }

  #hello(fresh: boolean): NetdHello {
    if (fresh) {
      this.#paths = undefined;
      this.#lookAgain();
    }
    this.#paths ??= this.#options.parts.paths?.(this.#deps) ?? [];
    return {
      protocol: NETD_PROTOCOL,
      version: this.#options.version,
      pid: Deno.pid,
      hostPid: this.#options.host.pid,
      outbound: this.#outbound?.name ?? "none",
      paths: this.#paths,
    };
  }

  #sync(request: Extract<NetdRequest, { op: "sync" }>): {
    problems: readonly Problem[];
    published: Readonly<Record<string, readonly PublishedPort[]>>;
  } {
    const problems: Problem[] = [];
    const attempt = (where: Omit<Problem, "message">, action: () => void): void => {
      try {
        action();
      } catch (error) {
        problems.push({ ...where, message: messageOf(error) });
      }
    };
    this.#lookAgain();
    this.#applySettings(request.settings, problems);
    const wanted = new Set(request.sandboxes.map(({ containerId }) => containerId));
    for (const id of this.#sandboxes.ids()) if (!wanted.has(id)) this.#sandboxes.remove(id);
    const networks = new Set(request.networks.map(({ id }) => id));
    for (const id of this.#networks.ids()) {
      if (!networks.has(id)) attempt({ networkId: id }, () => this.#networks.remove(id));
    }
    attempt({}, () => this.#sweepBridges(request.networks.map(({ link }) => link)));
    for (const network of request.networks) {
      attempt({ networkId: network.id }, () => this.#networks.add(network));
    }
    const published: Record<string, readonly PublishedPort[]> = {};
    for (const sandbox of request.sandboxes) {
      const { containerId } = sandbox;
      attempt({ containerId }, () => {
        published[containerId] = this.#sandboxes.restore(sandbox);
      });
    }
    attempt({}, () => this.#sweepVeths());
    return { problems, published };
  }

  /** Where bridges' default routes lead: nowhere while there is no way outside, so that containers hear of it. */
  #outside(): OutsideRoute | undefined {
    if (this.#options.parts.outbound === undefined) return { link: TUN_NAME };
    return this.#outbound === undefined ? undefined : this.#outbound.route ?? { link: TUN_NAME };
  }

  #sweepBridges(kept: readonly string[]): void {
    this.#networks.sweep(new Set(kept));
  }

  /** Of containers that are gone, or have been taken from their networks while no netd was there. */
  #sweepVeths(): void {
    const { route } = this.#options.host;
    const kept = this.#sandboxes.links();
    for (const link of nl.listLinks(route)) {
      if (link.kind !== "veth" || !/^veth[0-9a-f]{7}$/.test(link.name) || kept.has(link.name)) continue;
      dispense(() => nl.deleteLink(route, link.index));
    }
  }

  /** What the machine lacked may be there by now: the doctor says what to type. */
  #lookAgain(): void {
    this.#ground = completeGround(this.#options.host, this.#ground);
    if (this.#failure !== undefined && this.#settings !== undefined) this.#open(this.#settings);
  }

  #applySettings(settings: NetdSettings, problems: Problem[]): void {
    const changed = JSON.stringify(settings) !== JSON.stringify(this.#settings);
    this.#settings = settings;
    if (changed) this.#open(settings);
    if (this.#failure !== undefined) problems.push({ message: `no way outside: ${this.#failure}` });
  }

  #open(settings: NetdSettings): void {
    this.#outbound?.[Symbol.dispose]();
    this.#outbound = undefined;
    this.#failure = undefined;
    try {
      this.#outbound = this.#options.parts.outbound?.(this.#deps, settings);
    } catch (error) {
      this.#failure = messageOf(error);
    }
    this.#networks.refreshRoutes();
  }
}
