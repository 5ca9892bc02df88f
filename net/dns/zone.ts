import { nameFromText } from "./name.ts";

/** A named port that SRV records are answered from: `_name._protocol.container`. */
export interface ZoneService {
  readonly name: string;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly port: number;
}

/** What a network knows of one container in it. */
export interface ZoneEndpoint {
  readonly id: string;
  /** Container name, aliases, short id, host name. The first one answers to reverse lookups. */
  readonly names: readonly string[];
  /** 4 or 16 bytes each. */
  readonly addresses: readonly Uint8Array[];
  readonly services?: readonly ZoneService[];
}

/** The names of one network. Several endpoints may share one. */
export class Zone {
  /** As in name.ts: `c1.network` is a name as well. */
  readonly name: string;
  readonly #endpoints = new Map<string, ZoneEndpoint>();
  readonly #byName = new Map<string, Set<ZoneEndpoint>>();
  readonly #byAddress = new Map<string, Set<ZoneEndpoint>>();

  constructor(networkName: string) {
    this.name = nameFromText(networkName);
  }

  /** Adds an endpoint, or replaces the one with its id. */
  set(endpoint: ZoneEndpoint): void {
    this.delete(endpoint.id);
    this.#endpoints.set(endpoint.id, endpoint);
    for (const name of endpoint.names) add(this.#byName, nameFromText(name), endpoint);
    for (const address of endpoint.addresses) add(this.#byAddress, addressKey(address), endpoint);
  }

  delete(id: string): void {
    const endpoint = this.#endpoints.get(id);
    if (endpoint === undefined) return;
    this.#endpoints.delete(id);
    for (const name of endpoint.names) remove(this.#byName, nameFromText(name), endpoint);
    for (const address of endpoint.addresses) remove(this.#byAddress, addressKey(address), endpoint);
  }

  /** Endpoints that have this name (as in name.ts), in the order in which they came. */
  find(name: string): readonly ZoneEndpoint[] {
    return [...this.#byName.get(name) ?? []];
  }

  /** The endpoint at an address, as {@link addressKey} writes it. */
  at(key: string): ZoneEndpoint | undefined {
    return this.#byAddress.get(key)?.values().next().value;
  }
}

export function addressKey(address: Uint8Array): string {
  return address.join(".");
}

type Index = Map<string, Set<ZoneEndpoint>>;

function add(index: Index, key: string, endpoint: ZoneEndpoint): void {
  const there = index.get(key);
  if (there === undefined) index.set(key, new Set([endpoint]));
  else there.add(endpoint);
}

function remove(index: Index, key: string, endpoint: ZoneEndpoint): void {
  const there = index.get(key);
  there?.delete(endpoint);
  if (there?.size === 0) index.delete(key);
}
