/**
 * Addresses of whole networks and of endpoints, on top of the pools: subnets, gateways and auxiliary addresses of a network in
 * one step, both families of an endpoint in one step (moby: libnetwork/network.go, endpoint.go).
 */
import { EngineError, invalid, messageOf } from "../base/errors.ts";
import { type Family, parseAddress, type Prefix, tryParseAddress } from "../base/address.ts";
import { parsePrefix, prefixContains } from "../base/address_prefix.ts";
import {
  type IpamState,
  PoolExhausted,
  type PoolId,
  releaseAddress,
  releasePool,
  requestAddress,
  requestPool,
} from "./ipam.ts";
import type { AddressPool } from "./ipam_pools.ts";

/**
 * Names of auxiliary addresses that mean something: in networks of the driver `bridge` such an address, not the bridge's own, is where containers
 * send what is for elsewhere (moby: libnetwork/drivers/bridge, DefaultGatewayV4AuxKey).
 */
export const DEFAULT_GATEWAY = { 4: "DefaultGatewayIPv4", 6: "DefaultGatewayIPv6" } as const;

/** What a user asks for one subnet: one member of the API's `IPAM.Config`. */
export interface SubnetConfig {
  readonly subnet?: string | undefined;
  readonly range?: string | undefined;
  readonly gateway?: string | undefined;
  /** By name. */
  readonly auxiliary?: Readonly<Record<string, string>> | undefined;
}

/** What a network has got. */
export interface SubnetAllocation {
  readonly pool: PoolId;
  /** `172.18.0.1`; none when the driver needs none and the user asked for none. */
  readonly gateway?: string;
  readonly auxiliary: Readonly<Record<string, string>>;
  /** The user named the subnet: only there a container may ask for its address. */
  readonly configured: boolean;
}

/** All subnets of a network, by family. */
export interface NetworkAddresses {
  readonly v4: readonly SubnetAllocation[];
  readonly v6: readonly SubnetAllocation[];
}

export interface NetworkRequest {
  /** For messages. */
  readonly name: string;
  /** Absent when the family is off. An empty list asks for one subnet of the pools. */
  readonly v4?: readonly SubnetConfig[] | undefined;
  readonly v6?: readonly SubnetConfig[] | undefined;
  /** Families for which no gateway is chosen (one that the user names is kept all the same). */
  readonly withoutGateway?: readonly Family[] | undefined;
  readonly pools: readonly AddressPool[];
  readonly reserved?: readonly Prefix[];
}

/** Takes all that a network needs, or nothing. @throws {EngineError} with Docker's texts */
export function allocateNetwork(
  state: IpamState,
  request: NetworkRequest,
): { state: IpamState; addresses: NetworkAddresses } {
  const v4 = allocateFamily(state, 4, request.v4, request);
  const v6 = allocateFamily(v4.state, 6, request.v6, request);
  return { state: v6.state, addresses: { v4: v4.subnets, v6: v6.subnets } };
}

/** Gives all of it back. @throws {EngineError} invalid, when it is not held */
export function releaseNetwork(state: IpamState, { v4, v6 }: NetworkAddresses): IpamState {
  return [...v4, ...v6].reduce((rest, subnet) => {
    // Another network may go on using other parts of the same subnet.
    const addresses = [
      ...(subnet.gateway === undefined ? [] : [subnet.gateway]),
      ...Object.values(subnet.auxiliary),
    ];
    const freed = addresses.reduce((now, address) => releaseAddress(now, subnet.pool, address), rest);
    return releasePool(freed, subnet.pool);
  }, state);
}

function allocateFamily(
  state: IpamState,
  family: Family,
  configs: readonly SubnetConfig[] | undefined,
  request: NetworkRequest,
): { state: IpamState; subnets: SubnetAllocation[] } {
  if (!configs) return { state, subnets: [] };
  const subnets: SubnetAllocation[] = [];
  for (const config of configs.length > 0 ? configs : [{}]) {
    const made = allocateSubnet(state, family, config, request);
    subnets.push(made.subnet);
    state = made.state;
  }
  return { state, subnets };
}

function allocateSubnet(
  state: IpamState,
  family: Family,
  config: SubnetConfig,
  { name, pools, reserved = [], withoutGateway = [] }: NetworkRequest,
): { state: IpamState; subnet: SubnetAllocation } {
  if (config.gateway && !tryParseAddress(config.gateway)) {
    throw invalid(`invalid gateway address ${config.gateway} in Ipam configuration`);
  }
  const pool = requestPool(state, { family, subnet: config.subnet, range: config.range, pools, reserved });
  state = pool.state;
  let gateway: string | undefined;
  if (config.gateway || !withoutGateway.includes(family)) {
    try {
      ({ state, address: gateway } = requestAddress(state, pool.id, {
        address: config.gateway || undefined,
      }));
    } catch (error) {
      throw failed(`failed to allocate gateway (${config.gateway ?? ""})`, error);
    }
  }
  const subnet = parsePrefix(pool.id.subnet);
  const auxiliary: Record<string, string> = {};
  for (const [key, text] of Object.entries(config.auxiliary ?? {})) {
    const address = tryParseAddress(text);
    if (!address) {
      throw invalid(`non parsable secondary ip address (${key}:${text}) passed for network ${name}`);
    }
    if (!prefixContains(subnet, address)) {
      throw new EngineError(
        "forbidden",
        `auxiliary address: (${key}:${text}) must belong to the master pool: ${pool.id.subnet}`,
      );
    }
    try {
      ({ state, address: auxiliary[key] } = requestAddress(state, pool.id, { address: text }));
    } catch (error) {
      throw failed(`failed to allocate secondary ip address (${key}:${text})`, error);
    }
  }
  return {
    state,
    subnet: {
      pool: pool.id,
      ...(gateway === undefined ? {} : { gateway }),
      auxiliary,
      configured: Boolean(config.subnet),
    },
  };
}

const failed = (what: string, error: unknown): EngineError =>
  new EngineError("system", `${what}: ${messageOf(error)}`, { cause: error });

/** The network that an endpoint is made in. */
export interface AddressedNetwork {
  readonly id: string;
  readonly name: string;
  readonly addresses: NetworkAddresses;
}

export interface EndpointAddress {
  readonly pool: PoolId;
  readonly address: string;
  /** Of the subnet: 16 of 172.18.0.0/16. */
  readonly bits: number;
}

export interface EndpointAddresses {
  readonly ipv4?: EndpointAddress;
  readonly ipv6?: EndpointAddress;
}

export interface EndpointRequest {
  /** `--ip`, `--ip6`. */
  readonly ipv4?: string | undefined;
  readonly ipv6?: string | undefined;
  /** The container has IPv6 switched off (`net.ipv6.conf.all.disable_ipv6`). */
  readonly withoutIpv6?: boolean;
}

/**
 * Gives an endpoint an address of each family that the network has.
 * @throws {EngineError} with Docker's texts; `system` when the network has no address left
 */
export function allocateEndpoint(
  state: IpamState,
  network: AddressedNetwork,
  request: EndpointRequest = {},
): { state: IpamState; addresses: EndpointAddresses } {
  let ipv4: EndpointAddress | undefined;
  let ipv6: EndpointAddress | undefined;
  if (network.addresses.v4.length > 0) {
    ({ state, given: ipv4 } = endpointAddress(state, network, 4, request.ipv4));
  }
  if (network.addresses.v6.length > 0 && !request.withoutIpv6) {
    ({ state, given: ipv6 } = endpointAddress(state, network, 6, request.ipv6));
  }
  return { state, addresses: { ...(ipv4 ? { ipv4 } : {}), ...(ipv6 ? { ipv6 } : {}) } };
}

/** Takes an endpoint's addresses back. @throws {EngineError} not-found, when its network has been released */
export function releaseEndpoint(state: IpamState, { ipv4, ipv6 }: EndpointAddresses): IpamState {
  return [ipv4, ipv6].reduce((rest, one) => one ? releaseAddress(rest, one.pool, one.address) : rest, state);
}

function endpointAddress(
  state: IpamState,
  network: AddressedNetwork,
  family: Family,
  wanted: string | undefined,
): { state: IpamState; given: EndpointAddress } {
  for (const { pool } of family === 4 ? network.addresses.v4 : network.addresses.v6) {
    const subnet = parsePrefix(pool.subnet);
    if (wanted && !prefixContains(subnet, parseAddress(wanted))) continue;
    try {
      const given = requestAddress(state, pool, { address: wanted || undefined });
      return { state: given.state, given: { pool, address: given.address, bits: subnet.bits } };
    } catch (error) {
      // A full subnet leads to the next one of the network.
      if (!(error instanceof PoolExhausted)) throw error;
    }
  }
  if (wanted) {
    throw invalid(`invalid address ${wanted}: It does not belong to any of this network's subnets`);
  }
  throw new EngineError(
    "system",
    `no available IPv${family} addresses on this network's address pools: ${network.name} (${network.id})`,
  );
}
