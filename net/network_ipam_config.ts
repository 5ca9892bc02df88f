/** The checks of a request's `IPAM.Config`, with the words of moby 28's api/types/network/ipam.go. */
import { invalid } from "../base/errors.ts";
import { type Family, type Prefix, tryParseAddress } from "../base/address.ts";
import {
  formatPrefix,
  masked,
  prefixContains,
  prefixesOverlap,
  tryParsePrefix,
  unmapPrefix,
} from "../base/address_prefix.ts";
import type { SubnetConfig } from "./ipam_network.ts";
import type { IpamConfigBody } from "./network_types.ts";

/**
 * Checks `IPAM.Config`; all that is wrong is said at once. IPv6 subnets of a network without IPv6 are not looked at.
 * @throws {EngineError} invalid
 */
export function validateIpamConfig(
  configs: readonly IpamConfigBody[],
  enableIPv6: boolean,
): { family: Family; config: SubnetConfig }[] {
  const wrong: string[] = [];
  const subnets = configs.flatMap((config): { family: Family; config: SubnetConfig }[] => {
    const text = config.Subnet ?? "";
    const subnet = tryParsePrefix(text);
    if (!subnet) {
      wrong.push(`invalid subnet ${text}: invalid CIDR block notation`);
      return [];
    }
    const { family } = subnet.address;
    if (family === 4 || enableIPv6) wrong.push(...subnetErrors(config, subnet));
    const pool = masked(unmapPrefix(subnet));
    return [{
      family: pool.address.family,
      config: {
        subnet: formatPrefix(pool),
        ...(config.IPRange ? { range: config.IPRange } : {}),
        ...(config.Gateway ? { gateway: config.Gateway } : {}),
        ...(config.AuxiliaryAddresses ? { auxiliary: config.AuxiliaryAddresses } : {}),
      },
    }];
  });
  if (wrong.length > 0) throw invalid(`invalid network config:\n${joinErrors(wrong)}`);
  return subnets;
}

function subnetErrors(config: IpamConfigBody, subnet: Prefix): string[] {
  const wrong: string[] = [];
  const { family } = subnet.address;
  const [given, canonical] = [formatPrefix(subnet), formatPrefix(masked(subnet))];
  if (given !== canonical) wrong.push(`invalid subnet ${given}: it should be ${canonical}`);
  if (config.IPRange) wrong.push(...rangeErrors(config.IPRange, subnet));
  const addressError = (text: string): string | undefined => {
    const address = tryParseAddress(text);
    if (!address) return "invalid address";
    if (address.family !== family) return `parent subnet is an IPv${family} block`;
    return prefixContains(subnet, address)
      ? undefined
      : `parent subnet ${given} doesn't contain this address`;
  };
  const gateway = config.Gateway ? addressError(config.Gateway) : undefined;
  if (gateway !== undefined) wrong.push(`invalid gateway ${config.Gateway}: ${gateway}`);
  for (const [name, text] of Object.entries(config.AuxiliaryAddresses ?? {})) {
    const auxiliary = text === "" ? undefined : addressError(text);
    if (auxiliary !== undefined) wrong.push(`invalid auxiliary address ${name}: ${auxiliary}`);
  }
  return wrong;
}

function rangeErrors(text: string, subnet: Prefix): string[] {
  const range = tryParsePrefix(text);
  if (!range) return [`invalid ip-range ${text}: invalid CIDR block notation`];
  const { family } = subnet.address;
  if (range.address.family !== family) {
    return [`invalid ip-range ${text}: parent subnet is an IPv${family} block`];
  }
  const [parent, given, canonical] = [formatPrefix(subnet), formatPrefix(range), formatPrefix(masked(range))];
  return [
    ...(range.bits < subnet.bits
      ? [`invalid ip-range ${text}: CIDR block is bigger than its parent subnet ${parent}`]
      : []),
    ...(given !== canonical ? [`invalid ip-range ${given}: it should be ${canonical}`] : []),
    ...(prefixesOverlap(range, subnet)
      ? []
      : [`invalid ip-range ${text}: parent subnet ${parent} doesn't contain ip-range`]),
  ];
}

/** Several errors in moby's form: one by itself, more as a list with stars. */
export function joinErrors(errors: readonly string[]): string {
  if (errors.length <= 1) return (errors[0] ?? "").trim();
  return errors.map((error) => `* ${error.replaceAll("\n", "\n\t")}`).join("\n");
}
