/** The address pools that networks without `--subnet` take theirs from, and the choice among them. */
import { EngineError, invalid } from "../base/errors.ts";
import { addressFromValue, bitLength, formatAddress, isMapped, parseAddress } from "../base/address.ts";
import {
  comparePrefixes,
  firstAddress,
  formatPrefix,
  hostPrefix,
  lastAddress,
  masked,
  parsePrefix,
  prefixesOverlap,
  tryParsePrefix,
} from "../base/address_prefix.ts";
import type { Family, Prefix } from "../base/address.ts";
import { OWN_PREFIXES } from "./netd/rootless_host.ts";

/** A block, and the length of the prefixes it is cut into. */
export interface AddressPool {
  readonly base: string;
  readonly size: number;
}

/** Docker's pools for networks of one host (moby: libnetwork/ipamutils, the local scope). */
export const LOCAL_POOLS: readonly AddressPool[] = [
  { base: "172.17.0.0/16", size: 16 },
  { base: "172.18.0.0/16", size: 16 },
  { base: "172.19.0.0/16", size: 16 },
  { base: "172.20.0.0/14", size: 16 },
  { base: "172.24.0.0/14", size: 16 },
  { base: "172.28.0.0/14", size: 16 },
  { base: "192.168.0.0/16", size: 20 },
];

/** Docker's pools for networks of many hosts (the global scope). */
export const GLOBAL_POOLS: readonly AddressPool[] = [{ base: "10.0.0.0/8", size: 24 }];

/**
 * Checks `default-address-pools` of daemon.json and brings them in order. What lies inside of another pool is left out.
 * @throws {EngineError} invalid
 */
export function normalizePools(pools: readonly AddressPool[]): AddressPool[] {
  const result: { base: Prefix; size: number }[] = [];
  const read = pools.map(({ base, size }, index) => {
    const prefix = tryParsePrefix(base);
    if (!prefix || isMapped(prefix.address) || !(size > 0)) {
      throw invalid(`network at index ${index} ({${base} ${size}}) is not in canonical form`);
    }
    if (prefix.bits > size) {
      throw invalid(
        `network at index ${index} ({${base} ${size}}) has a smaller prefix (/${prefix.bits}) ` +
          `than the target size of that pool (/${size})`,
      );
    }
    if (!Number.isInteger(size) || size > bitLength(prefix.address.family)) {
      throw invalid(`network at index ${index} ({${base} ${size}}) has no valid target size`);
    }
    return { base: masked(prefix), size };
  });
  for (const pool of read.sort((a, b) => comparePrefixes(a.base, b.base))) {
    const last = result.at(-1);
    if (!last || !prefixesOverlap(last.base, pool.base)) result.push(pool);
  }
  return result.map(({ base, size }) => ({ base: formatPrefix(base), size }));
}

/**
 * The pool for networks with IPv6 and without an IPv6 subnet: 2^16 networks /64 in a unique local prefix (RFC 4193) whose 40
 * bits are made of a name of this engine that does not change, as Docker makes them of its own id.
 */
export async function uniqueLocalPool(engineId: string): Promise<AddressPool> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(engineId)));
  // The low 40 bits of the first 64, big-endian.
  const globalId = hash.subarray(3, 8).reduce((value, byte) => value << 8n | BigInt(byte), 0n);
  return { base: `${formatAddress(addressFromValue(6, 0xfdn << 120n | globalId << 80n))}/48`, size: 64 };
}

/** The default pools, and IPv6 of `engineId` unless the pools that a user has set have some. @throws {EngineError} invalid */
export async function effectivePools(
  configured: readonly AddressPool[],
  engineId: string,
): Promise<AddressPool[]> {
  const pools = configured.length > 0 ? configured : LOCAL_POOLS;
  const hasV6 = normalizePools(pools).some(({ base }) => base.includes(":"));
  return normalizePools(hasV6 ? pools : [...pools, await uniqueLocalPool(engineId)]);
}

export interface HostNetwork {
  /** Destinations of the host's on-link routes, `192.0.2.0/24`. Others say nothing about who uses the addresses behind them. */
  readonly routes: readonly string[];
  /** The host's DNS servers. */
  readonly nameservers?: readonly string[];
}

/** What networks must not take by themselves, because the host would lose sight of it, or they of the host. Unreadable entries are passed over. */
export function reservedPrefixes({ routes, nameservers = [] }: HostNetwork): Prefix[] {
  const prefixes = [...OWN_PREFIXES, ...routes].flatMap((route) => {
    const prefix = tryParsePrefix(route.includes("/") ? route : `${route}/${route.includes(":") ? 128 : 32}`);
    // A default route reserves nothing.
    return prefix && prefix.address.value !== 0n ? [masked(prefix)] : [];
  });
  const servers = nameservers.flatMap((server) => {
    try {
      return [hostPrefix({ ...parseAddress(server), zone: "" })];
    } catch {
      return [];
    }
  });
  return [...prefixes, ...servers].sort(comparePrefixes);
}

export interface PoolChoice {
  readonly family: Family;
  /** Sorted pools, as `normalizePools` gives them. */
  readonly pools: readonly AddressPool[];
  /** What is taken: subnets of other networks and `reservedPrefixes`. */
  readonly taken: readonly Prefix[];
  /** The length that is asked for; 0 for each pool's own. */
  readonly length?: number;
}

/**
 * The first free subnet of the pools.
 * @throws {EngineError} invalid, when there is none
 */
export function choosePool({ family, pools, taken, length = 0 }: PoolChoice): Prefix {
  const fitting = pools.map(({ base, size }) => ({ base: parsePrefix(base), size: length || size }))
    .filter(({ base, size }) =>
      base.address.family === family && base.bits <= size && size <= bitLength(family)
    );
  if (fitting.length === 0) throw invalid("invalid address pool");
  const sorted = taken.filter(({ address }) => address.family === family).sort(comparePrefixes);
  for (const { base, size } of fitting) {
    const step = 1n << BigInt(bitLength(family) - size);
    const end = lastAddress(base).value;
    let start = firstAddress(base).value;
    // Ascending, a prefix that lies before `start` never matters again, except one that was wider than the step.
    for (const prefix of sorted) {
      const last = lastAddress(prefix).value;
      if (last < start) continue;
      if (firstAddress(prefix).value > start + step - 1n) break;
      start = (last / step + 1n) * step;
    }
    if (start + step - 1n <= end) return { address: addressFromValue(family, start), bits: size };
  }
  throw new EngineError("invalid", "all predefined address pools have been fully subnetted");
}
