/** What the bridge driver demands of its networks beyond their options (moby: libnetwork/drivers/bridge). */
import { EngineError, invalid } from "../base/errors.ts";
import { isMulticast } from "../base/address.ts";
import { formatPrefix, parsePrefix, prefixesOverlap } from "../base/address_prefix.ts";
import { OWN_PREFIXES } from "./netd/rootless_host.ts";
import type { NetworkRecord } from "./network_types.ts";

/**
 * An IPv6 subnet that overlaps fe80::/64 without being it would give two link-local addresses of different length.
 * @throws {EngineError} invalid
 */
export function validateBridgeIpv6(text: string): void {
  const subnet = parsePrefix(text);
  if (isMulticast(subnet.address)) throw invalid(`multicast subnet '${text}' is not allowed`);
  if (formatPrefix(subnet) !== "fe80::/64" && prefixesOverlap(subnet, parsePrefix("fe80::/64"))) {
    throw invalid(`'${text}' clashes with the Link-Local prefix 'fe80::/64'`);
  }
}

/** The link of a network of the bridge driver. */
export function bridgeNameOf({ id, driverOptions }: Pick<NetworkRecord, "id" | "driverOptions">): string {
  if (driverOptions.driver !== "bridge") return "";
  return driverOptions.bridgeName || (driverOptions.defaultBridge ? "docker0" : `br-${id.slice(0, 12)}`);
}

/**
 * A subnet that is all berth's own has no room for containers: 10.0.2.2, the first address that one would get, is the host.
 * @param subnets `10.9.0.0/24`; an unspecified address is a length only, and no subnet
 * @throws {EngineError} forbidden
 */
export function refuseOwnPrefixes(
  network: Pick<NetworkRecord, "id" | "driver" | "driverOptions">,
  subnets: readonly string[],
): void {
  if (network.driver !== "bridge") return;
  for (const text of subnets) {
    const subnet = parsePrefix(text);
    const own = OWN_PREFIXES.find((one) => {
      const prefix = parsePrefix(one);
      return prefix.bits <= subnet.bits && prefixesOverlap(prefix, subnet);
    });
    if (own === undefined) continue;
    throw new EngineError(
      "forbidden",
      `cannot create network ${network.id} (${bridgeNameOf(network)}) with ${text}: ` +
        `berth keeps ${own} for itself, its addresses stand for the host and its DNS servers`,
      { hint: "Choose another subnet, for example 10.9.0.0/24." },
    );
  }
}

/**
 * Two bridges cannot have one name, nor addresses of one subnet (IPAM lets networks share a subnet by `--ip-range`).
 * @throws {EngineError} forbidden
 */
export function checkBridgeConflicts(network: NetworkRecord, existing: readonly NetworkRecord[]): void {
  const subnets = (record: NetworkRecord, family: "v4" | "v6") =>
    record.addresses[family].map(({ pool }) => parsePrefix(pool.subnet));
  const overlap = (other: NetworkRecord, family: "v4" | "v6") =>
    subnets(network, family).some((a) => subnets(other, family).some((b) => prefixesOverlap(a, b)));
  for (const other of existing) {
    if (other.driver !== "bridge" || other.id === network.id || network.driver !== "bridge") continue;
    const what = bridgeNameOf(network) === bridgeNameOf(other)
      ? "networks have same bridge name"
      : overlap(other, "v4")
      ? "networks have overlapping IPv4"
      : overlap(other, "v6")
      ? "networks have overlapping IPv6"
      : undefined;
    if (what !== undefined) {
      throw new EngineError(
        "forbidden",
        `cannot create network ${network.id} (${bridgeNameOf(network)}): ` +
          `conflicts with network ${other.id} (${bridgeNameOf(other)}): ${what}`,
      );
    }
  }
}
