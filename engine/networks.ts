import { EngineError, messageOf } from "../base/errors.ts";
import type { AddressPool } from "../net/ipam_pools.ts";
import type { NetdRequester } from "../net/netd/client.ts";
import type { InterfaceStats, NetdHello, SandboxState } from "../net/netd/protocol.ts";
import type { PublishedPort } from "../net/network_host_ports.ts";
import type { Logger } from "./log.ts";
import type { NetworkPlane, OpenPlane } from "./network_plane.ts";
import type { NetworkSettings } from "./network_settings.ts";
import { networkState } from "./network_state.ts";
import type { NetworkTable } from "./network_table.ts";

/** Between two attempts to start a network process that cannot work: the reason may go away. */
const RETRY_MS = 10_000;

/** The network process answers at once, or does not matter any more. */
const CLOSE_MS = 1_000;

export interface NetworksOptions {
  readonly open: OpenPlane;
  readonly log: Logger;
  readonly table: NetworkTable;
  readonly settings: () => NetworkSettings;
  /** Where networks without `--subnet` get theirs from. */
  readonly pools: readonly AddressPool[];
  /** A network process that was made anew says what is published where. By container. */
  readonly onPublished?: (published: Readonly<Record<string, readonly PublishedPort[]>>) => void;
}

/** The engine's networks: the table of what there is to be, and the process that makes it so. */
export class Networks {
  readonly table: NetworkTable;
  readonly pools: readonly AddressPool[];
  readonly #options: NetworksOptions;
  /** Sandboxes that the process has, or has been asked for. */
  readonly #live = new Map<string, SandboxState>();
  #plane: Promise<NetworkPlane> | undefined;
  #hello: NetdHello | undefined;
  #problem: EngineError | undefined;
  #triedAt = -Infinity;
  #closed = false;
  /** A network process has been told of everything. */
  #told = false;
  #complete: Promise<unknown> = Promise.resolve();

  constructor(options: NetworksOptions) {
    this.table = options.table;
    this.pools = options.pools;
    this.#options = options;
  }

  get settings(): NetworkSettings {
    return this.#options.settings();
  }

  /**
   * Starts the network process, or finds the one that an earlier engine has left, in the background.
   *
   * @param complete settles when everything that ran on has been adopted.
   */
  start(complete: Promise<unknown> = Promise.resolve()): void {
    this.#complete = complete;
    this.#ready().catch(() => {});
  }

  /** The connection, and the process itself unless containers are in its networks: those go on. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    const late = new Promise<void>((resolve) => Deno.unrefTimer(setTimeout(resolve, CLOSE_MS)));
    await Promise.race([this.#end().catch(() => {}), late]);
  }

  async #end(): Promise<void> {
    const plane = await this.#plane;
    if (plane === undefined) return;
    try {
      // it would end by itself, after having waited for another engine
      if (this.#live.size === 0 && this.#told && !isGone(plane)) await plane.request({ op: "shutdown" });
    } finally {
      plane.close();
    }
  }

  /** What works on this machine; undefined until that is known. */
  get hello(): NetdHello | undefined {
    return this.#hello;
  }

  /** The same, waited for. `fresh`: as it is now; what is missing no more is taken into use. @throws {EngineError} nothing works */
  async probe(fresh: boolean): Promise<NetdHello> {
    const plane = await this.#ready();
    return this.#hello = (await plane.request({ op: "hello", fresh })).hello;
  }

  /** Why there are no networks on this machine, if there are none. */
  get problem(): EngineError | undefined {
    return this.#problem;
  }

  /** A container that runs on from an earlier engine's time; before {@link start}'s promise settles. */
  adopt(sandbox: SandboxState): void {
    this.#live.set(sandbox.containerId, sandbox);
  }

  /** Whether the network process has, or is to have, something for the container. */
  has(containerId: string): boolean {
    return this.#live.has(containerId);
  }

  /** Makes a network of the table. @throws {EngineError} */
  async addNetwork(id: string): Promise<void> {
    const plane = await this.#ready();
    const network = this.table.get(id);
    const state = network && networkState(network);
    if (state !== undefined) await plane.request({ op: "network.add", network: state });
  }

  /** One that cannot be taken down now goes with the next sync. */
  async removeNetwork(id: string): Promise<void> {
    try {
      await (await this.#ready()).request({ op: "network.remove", id });
    } catch (error) {
      this.#options.log.warn("cannot take down a network", { id, error: messageOf(error) });
    }
  }

  /**
   * Makes a container's networks and publishes its ports; all of it or nothing.
   *
   * @throws {EngineError} in Docker's words; with a hint where something of the machine is missing
   */
  async join(sandbox: SandboxState): Promise<readonly PublishedPort[]> {
    return await this.#put("sandbox.add", sandbox);
  }

  /** The same for one that may have a sandbox: the difference is made. After an error it has what it had before. */
  async change(sandbox: SandboxState): Promise<readonly PublishedPort[]> {
    return await this.#put(this.has(sandbox.containerId) ? "sandbox.update" : "sandbox.add", sandbox);
  }

  /** Takes everything of a container down. Never rejects: the next sync does what this could not. */
  async leave(containerId: string): Promise<void> {
    // Before the first sync nothing has been made, or the sync takes it away.
    if (!this.#live.delete(containerId) || !this.#told) return;
    try {
      await (await this.#ready()).request({ op: "sandbox.remove", containerId });
    } catch (error) {
      this.#options.log.debug("cannot take down a sandbox", { id: containerId, error: messageOf(error) });
    }
  }

  /** Counters of a container's interfaces. @throws {EngineError} */
  async stats(containerId: string): Promise<Readonly<Record<string, InterfaceStats>>> {
    return (await (await this.#ready()).request({ op: "stats", containerId })).stats;
  }

  async #put(op: "sandbox.add" | "sandbox.update", sandbox: SandboxState): Promise<readonly PublishedPort[]> {
    const { containerId } = sandbox;
    const plane = await this.#ready();
    const before = this.#live.get(containerId);
    this.#live.set(containerId, sandbox);
    try {
      const { ports } = await plane.request({ op, sandbox });
      if (this.#live.get(containerId) === sandbox) this.#assigned(containerId, ports);
      return ports;
    } catch (error) {
      if (this.#live.get(containerId) === sandbox) {
        if (before === undefined) this.#live.delete(containerId);
        else this.#live.set(containerId, before);
      }
      if (error instanceof EngineError && isGone(plane)) this.#problem = error;
      throw error;
    }
  }

  /** @throws {EngineError} it cannot work on this machine, or could not a moment ago. */
  #ready(): Promise<NetworkPlane> {
    if (this.#plane !== undefined) return this.#plane;
    if (this.#closed) return Promise.reject(new EngineError("unavailable", "the engine is stopping"));
    if (this.#problem !== undefined && performance.now() - this.#triedAt < RETRY_MS) {
      return Promise.reject(this.#problem);
    }
    this.#triedAt = performance.now();
    const plane = this.#options.open((netd) => this.#sync(netd));
    this.#plane = plane;
    plane.then((opened) => {
      if (this.#closed) opened.close();
    }, (error) => {
      this.#plane = undefined;
      if (this.#closed) return;
      this.#problem = error instanceof EngineError
        ? error
        : new EngineError("unavailable", messageOf(error), { cause: error });
      this.#options.log.warn("networks do not work", { error: messageOf(error) });
    });
    return plane;
  }

  async #sync(netd: Pick<NetdRequester, "request" | "hello">): Promise<void> {
    this.#hello = netd.hello;
    await this.#complete;
    this.#told = true;
    const { problems, published } = await netd.request({
      op: "sync",
      settings: this.settings.netd,
      networks: this.table.all().flatMap((network) => networkState(network) ?? []),
      sandboxes: [...this.#live.values()],
    });
    this.#problem = undefined;
    // The way outside is chosen by the settings, which it has only just got.
    this.#hello = (await netd.request({ op: "hello" })).hello;
    for (const { message, ...where } of problems) {
      this.#options.log.warn(`networks: ${message}`, { ...where });
    }
    for (const [id, ports] of Object.entries(published)) this.#assigned(id, ports);
    this.#options.onPublished?.(published);
  }

  /** A network process that is made anew is to publish at the same ports. */
  #assigned(containerId: string, ports: readonly PublishedPort[]): void {
    const sandbox = this.#live.get(containerId);
    if (sandbox === undefined) return;
    this.#live.set(containerId, { ...sandbox, publish: { ...sandbox.publish, assigned: ports } });
  }
}

/** There is no network process, and none could be started. */
function isGone(plane: NetworkPlane): boolean {
  try {
    return plane.hello === undefined;
  } catch {
    return true;
  }
}
