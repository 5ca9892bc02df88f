/** Which questions are answered from the networks of the container that asks, and how. */
import type { Inet6Address, InetAddress } from "../../ffi/socket_address.ts";
import { CLASS_IN, type OwnRecord, type Question, serviceData, TYPE } from "./message.ts";
import { DnsFormatError, encodeName, nameFromText } from "./name.ts";
import { addressKey, type Zone, type ZoneEndpoint } from "./zone.ts";

/** A server that is asked; `via` says from which network namespace, the host's by default. */
export type Upstream = (InetAddress | Inet6Address) & { readonly via?: "host" | "rootless" };

/** What one container sees. */
export interface View {
  /** Its networks, the one with the highest priority first. */
  readonly networks: readonly Membership[];
  /** Asked in this order; the first three count. None for a container that reaches internal networks only. */
  readonly upstreams: readonly Upstream[];
  /**
   * The user has set `ndots` above 0, so that a name without a dot is to get a search domain before it leaves the machine: such
   * names are not passed on (moby: resolver.go).
   */
  readonly ndotsSet?: boolean;
}

export interface Membership {
  readonly zone: Zone;
  /** `--link container:alias`: names for this container alone, alias → container; see {@link linkTable}. */
  readonly links?: ReadonlyMap<string, string>;
}

/** @param links pairs of alias and container, as the user wrote them. */
export function linkTable(links: Iterable<readonly [string, string]>): ReadonlyMap<string, string> {
  return new Map([...links].map(([alias, container]) => [nameFromText(alias), nameFromText(container)]));
}

/** Seconds; Docker's. */
const TTL = 600;

export interface LocalAnswer {
  readonly answers: readonly OwnRecord[];
  readonly additional: readonly OwnRecord[];
}

const EMPTY: LocalAnswer = { answers: [], additional: [] };

/**
 * The answer from the container's own networks; without records for a known name that has none of the asked type. undefined: not
 * ours, to be passed on.
 */
export function resolveLocally(view: View, { name, type, class: cls }: Question): LocalAnswer | undefined {
  if (cls !== CLASS_IN) return undefined;
  if (type === TYPE.PTR) {
    const reverse = resolveReverse(view, name);
    if (reverse !== undefined) return reverse;
  }
  if (type === TYPE.SRV) {
    const service = resolveService(view, name);
    if (service !== undefined) return service;
  }
  let known = false;
  for (const endpoints of endpointsNamed(view, name)) {
    known = true;
    const answers = addressRecords(endpoints, type);
    if (answers.length > 0) return { answers: shuffled(answers), additional: [] };
  }
  if (known) return EMPTY;
  const single = name !== "" && !name.includes(".");
  return single && view.ndotsSet && (type === TYPE.A || type === TYPE.AAAA) ? EMPTY : undefined;
}

/**
 * For each network that knows the name, its endpoints. A container's name may hold dots, and so may a network's: `a.b.c`
 * is tried as it stands, then as `a.b` in the network `c`, then as `a` in `b.c`.
 */
function* endpointsNamed({ networks }: View, name: string): Generator<readonly ZoneEndpoint[]> {
  let split = name.length;
  while (split > 0) {
    const [own, network] = [name.slice(0, split), name.slice(split + 1)];
    for (const { zone, links } of networks) {
      if (network !== "" && network !== zone.name) continue;
      const found = zone.find(links?.get(own) ?? own);
      if (found.length > 0) yield found;
    }
    split = previousDot(name, split);
  }
}

/** Where the last dot before `end` is that separates labels, -1 for none. */
function previousDot(name: string, end: number): number {
  let at = name.lastIndexOf(".", end - 1);
  while (at > 0 && name[at - 1] === "\\") at = name.lastIndexOf(".", at - 1);
  return end === 0 ? -1 : at;
}

function addressRecords(endpoints: readonly ZoneEndpoint[], type: number): OwnRecord[] {
  const size = type === TYPE.A ? 4 : type === TYPE.AAAA ? 16 : 0;
  return endpoints.flatMap(({ addresses }) => addresses.filter(({ length }) => length === size)).map((
    data,
  ) => ({
    type,
    ttl: TTL,
    data,
  }));
}

/** Containers that share a name get the same share of the connections: most programs take the first address. */
function shuffled<T>(items: T[]): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [items[last], items[other]] = [items[other] as T, items[last] as T]; // both are within the list
  }
  return items;
}

function resolveReverse({ networks }: View, name: string): LocalAnswer | undefined {
  const address = reverseAddress(name);
  if (address === undefined) return undefined;
  const key = addressKey(address);
  for (const { zone } of networks) {
    const first = zone.at(key)?.names[0];
    if (first === undefined) continue;
    const target = wireName(`${nameFromText(first)}.${zone.name}`);
    if (target !== undefined) {
      return { answers: [{ type: TYPE.PTR, ttl: TTL, data: target }], additional: [] };
    }
  }
  return undefined;
}

/** The address that `4.3.2.1.in-addr.arpa` or 32 digits below `ip6.arpa` stand for. */
export function reverseAddress(name: string): Uint8Array | undefined {
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  if (v4 !== null) {
    const bytes = v4.slice(1).reverse().map(Number);
    return bytes.every((byte) => byte < 256) ? new Uint8Array(bytes) : undefined;
  }
  if (!/^([0-9a-f]\.){32}ip6\.arpa$/.test(name)) return undefined;
  const digits = [...name.slice(0, 64).replaceAll(".", "")].reverse().join("");
  return new Uint8Array(16).map((_, index) => parseInt(digits.slice(2 * index, 2 * index + 2), 16));
}

/** `_http._tcp.web`: the port of that name at each container that is called web, and their addresses beside it. */
function resolveService(view: View, name: string): LocalAnswer | undefined {
  const match = /^_([^.]+)\._(tcp|udp|sctp)\.(.+)$/.exec(name);
  if (match === null) return undefined;
  const [, service, protocol, host = ""] = match;
  for (const endpoints of endpointsNamed(view, host)) {
    const answers: OwnRecord[] = [];
    const additional: OwnRecord[] = [];
    for (const endpoint of endpoints) {
      const port = endpoint.services?.find((one) =>
        nameFromText(one.name) === service && one.protocol === protocol
      )?.port;
      if (port === undefined) continue;
      // shared names would not tell the containers apart
      const target = nameFromText(endpoint.names[0] ?? "");
      if (wireName(target) === undefined) continue;
      answers.push({ type: TYPE.SRV, ttl: TTL, data: serviceData(port, target) });
      for (const type of [TYPE.A, TYPE.AAAA]) {
        additional.push(...addressRecords([endpoint], type).map((record) => ({ ...record, name: target })));
      }
    }
    return { answers: shuffled(answers), additional };
  }
  return undefined;
}

/** undefined for a name that is too long for any packet. */
function wireName(name: string): Uint8Array | undefined {
  try {
    return encodeName(name);
  } catch (error) {
    if (error instanceof DnsFormatError) return undefined;
    throw error;
  }
}
