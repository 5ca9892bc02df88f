/** Names in sandboxes: what the DNS server knows of networks and containers, and whom it asks for the rest. */
import { AF_INET, AF_INET6, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM } from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import type { DnsCalls, Transport } from "../dns/forwarder.ts";
import { HostResolvers, interfaceIndex } from "../dns/host_resolvers.ts";
import { linkTable, type Membership, type Upstream, type View } from "../dns/resolver.ts";
import { DnsServer, type DnsServerOptions } from "../dns/server.ts";
import { upstreamsAt } from "../dns/upstream.ts";
import { Zone } from "../dns/zone.ts";
import { DescriptorPause } from "../publish/descriptor_pause.ts";
import type { Inside, SandboxNames } from "./parts.ts";
import type { EndpointState, SandboxState } from "./protocol.ts";
import {
  HOST_ADDRESS,
  HOST_ADDRESS6,
  RESOLVER_ADDRESS,
  RESOLVER_ADDRESS6,
  type RootlessHost,
} from "./rootless_host.ts";
import {
  openSandboxSockets,
  rehearseSandboxSockets,
  type SandboxSocketCalls,
} from "./sandbox_dns_sockets.ts";
import { sameBytes, type Topology } from "./topology.ts";

export interface SandboxDnsDeps {
  readonly loop: EventLoop;
  /** netd's own: sockets that they make are the host's. */
  readonly calls: DnsCalls & SandboxSocketCalls & { readonly network: Pick<NetworkSyscalls, "socket"> };
  readonly host: Pick<RootlessHost, "takeSocket">;
  readonly topology: Topology;
  /** Name of a network that is there. */
  readonly networkName: (id: string) => string | undefined;
  /** Where the host is asked when a gateway or 10.0.2.2 is named as a DNS server; undefined: that is not allowed. */
  readonly hostAddress?: (family: 4 | 6) => Uint8Array | undefined;
  /** False: containers are to reach nothing outside, and no server there either. */
  readonly wayOutside?: () => boolean;
  readonly resolvers?: HostResolvers;
  readonly options?: DnsServerOptions;
}

/** The zone of a network, as long as a container is in it. */
interface CountedZone {
  readonly zone: Zone;
  endpoints: number;
}

interface Entry {
  readonly endpoints: readonly EndpointState[];
  /** Has a server. */
  served: boolean;
}

const RESOLVERS = [RESOLVER_ADDRESS, RESOLVER_ADDRESS6].map(bytesOf);
const HOSTS = [HOST_ADDRESS, HOST_ADDRESS6].map(bytesOf);

/**
 * The DNS of all sandboxes. Each network has its names, told by the endpoints of all sandboxes; a sandbox sees those of its own networks.
 *
 * Where a server that is passed a query is asked from:
 * - one in a network of the container's: from the bridge's side of it, so a container can serve the others;
 * - one in another network of berth's: not at all, since the container itself could not reach it;
 * - 10.0.2.3: the host's own servers are meant; 10.0.2.2 and gateways: the host;
 * - every other, those on loopback too: from the host, when the container has a network with a way outside.
 */
export class SandboxDns implements SandboxNames, Disposable {
  readonly #deps: SandboxDnsDeps;
  readonly #server: DnsServer;
  readonly #resolvers: HostResolvers;
  readonly #zones = new Map<string, CountedZone>();
  readonly #entries = new Map<string, Entry>();

  constructor(deps: SandboxDnsDeps) {
    this.#deps = deps;
    this.#resolvers = deps.resolvers ?? new HostResolvers();
    const { host, calls: { kernel, network } } = deps;
    const descriptors = new DescriptorPause(deps.loop);
    const socket = (family: Upstream["family"], transport: Transport, upstream: Upstream): number => {
      const fd = upstream.via === "rootless"
        ? host.takeSocket(`${transport}${family === "inet" ? 4 : 6}`)
        : network.socket(
          family === "inet" ? AF_INET : AF_INET6,
          (transport === "udp" ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK,
        );
      if (!descriptors.isLate(fd)) return fd;
      kernel.close(fd);
      throw new SysError("socket", ERRNO.EMFILE);
    };
    this.#server = new DnsServer(deps.loop, deps.calls, socket, deps.options);
    rehearseSandboxSockets();
  }

  add(sandbox: SandboxState, inside: Pick<Inside, "make">): void {
    this.remove(sandbox.containerId);
    this.update(sandbox, inside);
  }

  update(sandbox: SandboxState, inside: Pick<Inside, "make">): void {
    const { containerId, endpoints, dns } = sandbox;
    const before = this.#entries.get(containerId);
    // first what may fail
    const sockets = dns !== undefined && before?.served !== true
      ? openSandboxSockets(inside, this.#deps.calls)
      : undefined;
    this.#name(before?.endpoints ?? [], endpoints);
    this.#entries.set(containerId, { endpoints, served: dns !== undefined });
    if (dns === undefined) return this.#server.close(containerId);
    const view = new SandboxView(sandbox, this.#memberships(endpoints), this.#deps, this.#resolvers);
    if (sockets === undefined) this.#server.change(containerId, view);
    else this.#server.open(containerId, sockets, view);
  }

  remove(containerId: string): void {
    const entry = this.#entries.get(containerId);
    if (entry === undefined) return;
    this.#entries.delete(containerId);
    this.#server.close(containerId);
    this.#name(entry.endpoints, []);
  }

  [Symbol.dispose](): void {
    this.#server[Symbol.dispose]();
    this.#entries.clear();
    this.#zones.clear();
  }

  /** Enters the new endpoints into the zones of their networks, and takes out the old ones that are not among them. */
  #name(before: readonly EndpointState[], now: readonly EndpointState[]): void {
    for (const endpoint of now) {
      const counted = this.#zone(endpoint.networkId);
      if (!has(before, endpoint)) counted.endpoints++;
      counted.zone.set({
        id: endpoint.id,
        names: endpoint.dnsNames,
        addresses: [endpoint.ipv4, endpoint.ipv6].flatMap((text) => text === undefined ? [] : bytesOf(text)),
      });
    }
    for (const endpoint of before) {
      if (has(now, endpoint)) continue;
      const counted = this.#zone(endpoint.networkId);
      counted.zone.delete(endpoint.id);
      if (--counted.endpoints <= 0) this.#zones.delete(endpoint.networkId);
    }
  }

  #zone(networkId: string): CountedZone {
    let counted = this.#zones.get(networkId);
    if (counted === undefined) {
      counted = { zone: new Zone(this.#deps.networkName(networkId) ?? networkId), endpoints: 0 };
      this.#zones.set(networkId, counted);
    }
    return counted;
  }

  #memberships(endpoints: readonly EndpointState[]): Membership[] {
    return endpoints.map(({ networkId, links }) => {
      const pairs = Object.entries(links);
      const { zone } = this.#zone(networkId);
      return pairs.length === 0 ? { zone } : { zone, links: linkTable(pairs) };
    });
  }
}

const has = (endpoints: readonly EndpointState[], { id, networkId }: EndpointState): boolean =>
  endpoints.some((endpoint) => endpoint.id === id && endpoint.networkId === networkId);

/** `172.18.0.2` or `172.18.0.2/16`. */
function bytesOf(text: string): Uint8Array {
  return addressBytes(parseAddress(text.replace(/\/.*$/, "")));
}

/** A server of a container: one in its own network, one outside, the host, or whom the host asks. */
interface Server {
  readonly kind: "inside" | "outside" | "host" | "resolvers";
  readonly upstream: Upstream;
}

/** What one container sees. */
class SandboxView implements View {
  readonly networks: readonly Membership[];
  readonly ndotsSet: boolean;
  readonly #deps: Pick<SandboxDnsDeps, "topology" | "hostAddress" | "wayOutside">;
  readonly #resolvers: HostResolvers;
  readonly #asked: readonly Upstream[];
  readonly #networkIds: ReadonlySet<string>;
  #version: number | undefined;
  #servers: readonly Server[] = [];

  constructor(
    { endpoints, dns }: SandboxState,
    networks: readonly Membership[],
    deps: SandboxDnsDeps,
    resolvers: HostResolvers,
  ) {
    this.networks = networks;
    this.ndotsSet = dns?.ndotsSet ?? false;
    this.#deps = deps;
    this.#resolvers = resolvers;
    this.#asked = upstreamsAt(dns?.upstreams ?? [], interfaceIndex);
    this.#networkIds = new Set(endpoints.map(({ networkId }) => networkId));
  }

  get upstreams(): readonly Upstream[] {
    const { topology, hostAddress, wayOutside } = this.#deps;
    if (this.#version !== topology.version) {
      this.#version = topology.version;
      this.#servers = this.#sort();
    }
    const outside = wayOutside?.() ?? true;
    return this.#servers.flatMap(({ kind, upstream }): readonly Upstream[] => {
      if (kind === "inside") return [upstream];
      if (!outside) return [];
      if (kind === "outside") return [upstream];
      if (kind === "resolvers") return this.#resolvers.upstreams();
      const address = hostAddress?.(upstream.address.length === 4 ? 4 : 6);
      return address === undefined ? [] : [{ ...upstream, address }];
    });
  }

  /** What the servers are, until subnets change. Those that the container may not reach are left out. */
  #sort(): Server[] {
    const { topology } = this.#deps;
    const outside = this.#hasWayOutside();
    return this.#asked.flatMap((upstream): Server[] => {
      const { address } = upstream;
      const is = (one: Uint8Array) => sameBytes(one, address);
      const there = (kind: Server["kind"]): Server[] => outside ? [{ kind, upstream }] : [];
      if (RESOLVERS.some(is)) return there("resolvers");
      if (HOSTS.some(is) || topology.isGateway(address)) return there("host");
      const subnet = topology.subnetOf(address);
      if (subnet === undefined) return there("outside");
      const own = this.#networkIds.has(subnet.networkId);
      return own ? [{ kind: "inside", upstream: { ...upstream, via: "rootless" } }] : [];
    });
  }

  /** A network without a subnet of berth's may lead anywhere. */
  #hasWayOutside(): boolean {
    const subnets = this.#deps.topology.subnets();
    return [...this.#networkIds].some((id) => {
      const own = subnets.filter(({ networkId }) => networkId === id);
      return own.length === 0 || own.some(({ internal }) => !internal);
    });
  }
}
