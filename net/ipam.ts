/**
 * IP address management: which subnets are held, and which of their addresses are given out. The state is a plain value that
 * goes to the store as JSON; every function here returns a new one and leaves the old one as it was, so that a change that
 * fails half way, or a transaction that is rolled back, has changed nothing. Error texts are those of moby's ipamapi.
 */
import { EngineError, invalid, notFound } from "../base/errors.ts";
import {
  type Address,
  addressFromValue,
  type Family,
  formatAddress,
  isUnspecified,
  parseAddress,
} from "../base/address.ts";
import {
  comparePrefixes,
  firstAddress,
  formatPrefix,
  lastAddress,
  masked,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  prefixSize,
} from "../base/address_prefix.ts";
import { type AddressPool, choosePool } from "./ipam_pools.ts";
import {
  countWithin,
  firstMissing,
  formatRanges,
  parseRanges,
  type Range,
  withoutValue,
  withValue,
} from "./ipam_ranges.ts";
import type { Prefix } from "../base/address.ts";

/** One subnet and what is given out of it. */
export interface PoolState {
  /** Canonical, `172.18.0.0/16`. */
  readonly subnet: string;
  /** Held as a whole, by a network without `--ip-range`. */
  readonly whole: boolean;
  /** Parts from which networks with `--ip-range` take their addresses. Several networks can share a subnet so. */
  readonly ranges: readonly string[];
  /** Addresses in use, ascending: `172.18.0.0-172.18.0.4`. An IPv4 subnet's own and broadcast address are among them. */
  readonly used: readonly string[];
  /** The last address that was given out in order (`serial`). */
  readonly last?: string;
}

/** All subnets of one address space, in order. */
export interface IpamState {
  readonly pools: readonly PoolState[];
}

/** What a network holds: a subnet, or a part of one. */
export interface PoolId {
  readonly subnet: string;
  readonly range?: string;
}

export const EMPTY_IPAM: IpamState = { pools: [] };

const forbidden = (message: string): EngineError => new EngineError("forbidden", message);

/** An automatic address is wanted and the pool has none left: the next subnet of the network may. */
export class PoolExhausted extends EngineError {
  constructor() {
    super("unavailable", "no available addresses on this pool");
  }
}

/** A requested address lies outside of the pool. */
export class AddressOutOfRange extends EngineError {
  constructor() {
    super("invalid", "requested address is out of range");
  }
}

export interface PoolRequest {
  readonly family: Family;
  /** `--subnet`. Without it, or with an unspecified address (`0.0.0.0/24`: a length only), one of `pools` is chosen. */
  readonly subnet?: string | undefined;
  /** `--ip-range`, part of `subnet`. */
  readonly range?: string | undefined;
  /** Where to choose from, as `effectivePools` gives them. */
  readonly pools: readonly AddressPool[];
  /** What must not be chosen, as `reservedPrefixes` gives it. A subnet that is asked for may overlap it. */
  readonly reserved?: readonly Prefix[];
}

/**
 * Takes a subnet, or a part of one.
 * @throws {EngineError} forbidden when it overlaps another one, invalid when there is none left or the request is no sense
 */
export function requestPool(state: IpamState, request: PoolRequest): { state: IpamState; id: PoolId } {
  const { family, reserved = [], pools } = request;
  const asked = request.subnet ? readPool(request.subnet, request) : undefined;
  if (!asked || isUnspecified(asked.address)) {
    if (request.range) throw unreadablePool("invalid address subpool", request);
    const taken = [...state.pools.map(({ subnet }) => parsePrefix(subnet)), ...reserved];
    const subnet = choosePool({ family, pools, taken, length: asked?.bits ?? 0 });
    return { state: withPool(state, newPool(subnet, true)), id: { subnet: formatPrefix(subnet) } };
  }
  const subnet = masked(asked);
  const text = formatPrefix(subnet);
  const range = request.range ? readRange(request.range, subnet) : undefined;
  const held = state.pools.find((pool) => pool.subnet === text);
  const rangeText = range && formatPrefix(range);
  const overlaps = rangeText === undefined
    // As in Docker, a part of a subnet is not compared with other subnets: drivers that cannot have that refuse it.
    ? state.pools.some((pool) => prefixesOverlap(parsePrefix(pool.subnet), subnet))
    : held?.ranges.includes(rangeText) ?? false;
  if (overlaps) throw forbidden("invalid pool request: Pool overlaps with other one on this address space");
  if (rangeText === undefined) return { state: withPool(state, newPool(subnet, true)), id: { subnet: text } };
  const pool = held ?? newPool(subnet, false);
  return {
    state: withPool(state, { ...pool, ranges: [...pool.ranges, rangeText] }),
    id: { subnet: text, range: rangeText },
  };
}

/** Gives a subnet back; addresses that are still in use go with it. @throws {EngineError} invalid, when it is not held */
export function releasePool(state: IpamState, { subnet, range }: PoolId): IpamState {
  const pool = state.pools.find((one) => one.subnet === subnet);
  if (!pool || (range !== undefined && !pool.ranges.includes(range))) {
    throw invalid("address space does not contain specified address pool");
  }
  const left = range === undefined
    ? { ...pool, whole: false }
    : { ...pool, ranges: pool.ranges.filter((one) => one !== range) };
  const others = state.pools.filter((one) => one !== pool);
  return left.whole || left.ranges.length > 0 ? withPool({ pools: others }, left) : { pools: others };
}

export interface AddressRequest {
  /** The one that is wanted; the lowest free one of the pool's range without it. */
  readonly address?: string | undefined;
  /** Go on after the address that was given out last, so that an address that was just freed is not used again soon. */
  readonly serial?: boolean;
}

/**
 * Gives out one address.
 * @throws {PoolExhausted} @throws {AddressOutOfRange} @throws {EngineError} forbidden, when it is in use
 */
export function requestAddress(
  state: IpamState,
  id: PoolId,
  { address, serial = false }: AddressRequest = {},
): { state: IpamState; address: string } {
  const pool = heldPool(state, id);
  const subnet = parsePrefix(pool.subnet);
  const used = parseRanges(pool.used);
  const value = address === undefined
    ? freeAddress(pool, used, parsePrefix(id.range ?? id.subnet), serial)
    : wantedAddress(subnet, address);
  const now = withValue(used, value);
  if (!now) throw forbidden("Address already in use");
  const text = formatAddress(addressFromValue(subnet.address.family, value));
  const last = serial && address === undefined ? { last: text } : {};
  return { state: withPool(state, { ...withUsed(pool, now), ...last }), address: text };
}

/** Takes an address back; one that is not in use is none of a problem. @throws {EngineError} */
export function releaseAddress(state: IpamState, id: PoolId, address: string): IpamState {
  const pool = heldPool(state, id);
  const { family, value } = parseAddress(address);
  if (!prefixContains(parsePrefix(pool.subnet), addressFromValue(family, value))) {
    throw new AddressOutOfRange();
  }
  return withPool(state, withUsed(pool, withoutValue(parseRanges(pool.used), value)));
}

export interface PoolStatus {
  /** Of the whole subnet, reserved ones included. */
  readonly inUse: bigint;
  /** What automatic allocation can still give. */
  readonly available: bigint;
}

/** Counts a pool's addresses. @throws {EngineError} not-found */
export function poolStatus(state: IpamState, id: PoolId): PoolStatus {
  const pool = heldPool(state, id);
  const used = parseRanges(pool.used);
  const range = parsePrefix(id.range ?? id.subnet);
  const inRange = countWithin(used, firstAddress(range).value, lastAddress(range).value);
  return {
    inUse: used.reduce((sum, [first, last]) => sum + last - first + 1n, 0n),
    available: prefixSize(range) - inRange,
  };
}

function heldPool(state: IpamState, { subnet, range }: PoolId): PoolState {
  const pool = state.pools.find((one) => one.subnet === subnet);
  if (!pool || (range !== undefined && !pool.ranges.includes(range))) {
    throw notFound(`cannot find address pool for poolID:${subnet}/${range ?? "invalid Prefix"}`);
  }
  return pool;
}

function readPool(text: string, request: PoolRequest): Prefix {
  try {
    return parsePrefix(text);
  } catch {
    throw unreadablePool("invalid address pool", request);
  }
}

function unreadablePool(what: string, { subnet = "", range = "" }: PoolRequest): EngineError {
  return new EngineError(
    "system",
    `failed to parse pool request for address space "LocalDefault" pool ${JSON.stringify(subnet)} ` +
      `subpool ${JSON.stringify(range)}: ${what}`,
  );
}

function readRange(text: string, subnet: Prefix): Prefix {
  let range: Prefix;
  try {
    range = masked(parsePrefix(text));
  } catch {
    throw new EngineError("system", "invalid pool request: invalid address subpool");
  }
  if (range.address.family !== subnet.address.family) {
    throw invalid("pool and subpool are of incompatible address families");
  }
  if (range.bits < subnet.bits) return subnet;
  if (!prefixesOverlap(range, subnet)) {
    throw new EngineError("system", "invalid pool request: invalid address subpool");
  }
  return range;
}

/** A new subnet, with the addresses reserved that no interface can have. */
function newPool(subnet: Prefix, whole: boolean): PoolState {
  const { family } = subnet.address;
  const [first, last] = [firstAddress(subnet), lastAddress(subnet)];
  // An IPv4 subnet of one or two addresses (RFC 3021) has none to spare; IPv6 has the routers' anycast address (RFC 4291).
  const reserved: Address[] = family === 6 ? [first] : prefixSize(subnet) > 2n ? [first, last] : [];
  return {
    subnet: formatPrefix(subnet),
    whole,
    ranges: [],
    used: formatRanges(family, reserved.map(({ value }): Range => [value, value])),
  };
}

function withUsed(pool: PoolState, used: readonly Range[]): PoolState {
  return { ...pool, used: formatRanges(parsePrefix(pool.subnet).address.family, used) };
}

/** The state with this pool added, or in the place of the one with the same subnet. */
function withPool(state: IpamState, pool: PoolState): IpamState {
  const others = state.pools.filter(({ subnet }) => subnet !== pool.subnet);
  return {
    pools: [...others, pool].sort((a, b) => comparePrefixes(parsePrefix(a.subnet), parsePrefix(b.subnet))),
  };
}

function wantedAddress(subnet: Prefix, text: string): bigint {
  const address = parseAddress(text);
  if (!prefixContains(subnet, address)) throw new AddressOutOfRange();
  return address.value;
}

function freeAddress(pool: PoolState, used: readonly Range[], range: Prefix, serial: boolean): bigint {
  const [first, last] = [firstAddress(range).value, lastAddress(range).value];
  const previous = serial && pool.last !== undefined ? parseAddress(pool.last).value : undefined;
  const next = previous !== undefined && previous >= first && previous < last
    ? firstMissing(used, previous + 1n, last)
    : undefined;
  const found = next ?? firstMissing(used, first, last);
  if (found === undefined) throw new PoolExhausted();
  return found;
}
