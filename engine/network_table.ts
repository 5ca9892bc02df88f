import { comparePrefixes, parsePrefix } from "../base/address_prefix.ts";
import { conflict, EngineError, invalid, messageOf, notFound } from "../base/errors.ts";
import { EMPTY_IPAM, type IpamState, requestAddress, requestPool } from "../net/ipam.ts";
import {
  allocateEndpoint,
  allocateNetwork,
  type EndpointAddresses,
  type EndpointRequest,
  type NetworkAddresses,
  type NetworkRequest,
  releaseEndpoint,
  releaseNetwork,
} from "../net/ipam_network.ts";
import type { NetworkRecord } from "../net/network_types.ts";
import type { Endpoint } from "./container_network.ts";
import type { NetworkStore } from "./network_store.ts";

/** All networks, who is in them, and which addresses are given out. Networks are in the store as well. */
export class NetworkTable {
  readonly #store: NetworkStore;
  readonly #byId = new Map<string, NetworkRecord>();
  /** By network, by endpoint. */
  readonly #endpoints = new Map<string, Map<string, Endpoint>>();
  #ipam: IpamState = EMPTY_IPAM;

  /**
   * @param endpoints those of containers that ran when the last engine ended.
   * @param complain is told of what does not fit together; it is passed over.
   */
  constructor(store: NetworkStore, endpoints: readonly Endpoint[], complain: (problem: string) => void) {
    this.#store = store;
    const attempt = (what: string, work: () => void) => {
      try {
        work();
      } catch (error) {
        complain(`${what}: ${messageOf(error)}`);
      }
    };
    for (const network of store.all()) {
      this.#byId.set(network.id, network);
      attempt(`network ${network.name}`, () => this.#ipam = holding(this.#ipam, network.addresses));
    }
    for (const endpoint of endpoints) {
      attempt(
        `endpoint of ${endpoint.name}`,
        () => this.#ipam = holdingEndpoint(this.#ipam, endpoint.addresses),
      );
      this.register(endpoint);
    }
  }

  /** Oldest first. */
  all(): NetworkRecord[] {
    return [...this.#byId.values()];
  }

  get(id: string): NetworkRecord | undefined {
    return this.#byId.get(id);
  }

  byName(name: string): NetworkRecord | undefined {
    for (const network of this.#byId.values()) if (network.name === name) return network;
    return undefined;
  }

  /** By id, name, or unique prefix of an id. @throws {EngineError} not-found, or invalid when a prefix fits several */
  find(reference: string): NetworkRecord {
    const exact = this.#byId.get(reference) ?? this.byName(reference);
    if (exact !== undefined) return exact;
    const found = reference === "" ? [] : this.all().filter(({ id }) => id.startsWith(reference));
    const [one] = found;
    if (one === undefined) throw notFound(`network ${reference} not found`);
    if (found.length > 1) {
      throw invalid(`network ${reference} is ambiguous (${found.length} matches found based on ID prefix)`);
    }
    return one;
  }

  /** As `find`; undefined when there is none, or several. */
  tryFind(reference: string): NetworkRecord | undefined {
    try {
      return this.find(reference);
    } catch (error) {
      if (error instanceof EngineError) return undefined;
      throw error;
    }
  }

  /**
   * Takes the addresses of a new network and makes it known, in the store as well.
   *
   * @throws {EngineError} the name is taken, or there are no addresses.
   */
  add(network: Omit<NetworkRecord, "addresses">, request: NetworkRequest): NetworkRecord {
    if (this.byName(network.name)) throw conflict(`network with name ${network.name} already exists`);
    const { state, addresses } = allocateNetwork(this.#ipam, request);
    const record = { ...network, addresses };
    this.#store.put(record);
    this.#ipam = state;
    this.#byId.set(record.id, record);
    return record;
  }

  /**
   * Another version of a network that nobody is in, with its id and other addresses.
   *
   * @throws {EngineError} there are no addresses; then nothing has changed.
   */
  replace(network: Omit<NetworkRecord, "addresses">, request: NetworkRequest): void {
    const old = this.#byId.get(network.id);
    const freed = old === undefined ? this.#ipam : releaseNetwork(this.#ipam, old.addresses);
    const { state, addresses } = allocateNetwork(freed, request);
    const record = { ...network, addresses };
    this.#store.put(record);
    this.#ipam = state;
    this.#byId.set(record.id, record);
  }

  /** Forgets a network and gives its addresses back. The caller has looked that it has no endpoints. */
  remove(network: NetworkRecord): void {
    this.#store.delete(network.id);
    this.#byId.delete(network.id);
    this.#endpoints.delete(network.id);
    this.#ipam = releaseNetwork(this.#ipam, network.addresses);
  }

  /** What is in a network now. */
  endpointsOf(networkId: string): Endpoint[] {
    return [...this.#endpoints.get(networkId)?.values() ?? []];
  }

  /** Gives out addresses. @throws {EngineError} in Docker's words */
  allocate(network: NetworkRecord, request: EndpointRequest): EndpointAddresses {
    const { state, addresses } = allocateEndpoint(this.#ipam, network, request);
    this.#ipam = state;
    return addresses;
  }

  /** Makes an endpoint known whose addresses are given out; or another version of it. */
  register(endpoint: Endpoint): void {
    let inNetwork = this.#endpoints.get(endpoint.networkId);
    if (inNetwork === undefined) this.#endpoints.set(endpoint.networkId, inNetwork = new Map());
    inNetwork.set(endpoint.id, endpoint);
  }

  /** Takes an endpoint out of its network and its addresses back. Nothing happens when it is out already. */
  release(endpoint: Endpoint): void {
    if (this.#endpoints.get(endpoint.networkId)?.delete(endpoint.id) !== true) return;
    this.releaseAddresses(endpoint.addresses);
  }

  /** Takes back what {@link allocate} has given, for an endpoint that did not come to be. */
  releaseAddresses(addresses: EndpointAddresses): void {
    this.#ipam = releaseEndpoint(this.#ipam, addresses);
  }
}

/** The state with a network's subnets, gateways and auxiliary addresses in it, as they were given out once. */
function holding(state: IpamState, { v4, v6 }: NetworkAddresses): IpamState {
  const all = [...v4, ...v6].sort((a, b) =>
    comparePrefixes(parsePrefix(a.pool.subnet), parsePrefix(b.pool.subnet))
  );
  for (const { pool, gateway, auxiliary } of all) {
    const family = parsePrefix(pool.subnet).address.family;
    state = requestPool(state, { family, subnet: pool.subnet, range: pool.range, pools: [] }).state;
    for (const address of [...(gateway === undefined ? [] : [gateway]), ...Object.values(auxiliary)]) {
      state = requestAddress(state, pool, { address }).state;
    }
  }
  return state;
}

function holdingEndpoint(state: IpamState, { ipv4, ipv6 }: EndpointAddresses): IpamState {
  for (const one of [ipv4, ipv6]) {
    if (one) state = requestAddress(state, one.pool, { address: one.address }).state;
  }
  return state;
}
