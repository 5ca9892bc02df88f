/** `--subnet`, `--ip-range`, `--gateway` and `--aux-address` of `network create`, put together by subnet. */

import { type Address, tryParseAddress } from "../../base/address.ts";
import { prefixContains, tryParsePrefix } from "../../base/address_prefix.ts";

/** A member of the API's `IPAM.Config`. */
export interface IpamConfig {
  Subnet: string;
  IPRange?: string;
  Gateway?: string;
  AuxiliaryAddresses?: Record<string, string>;
}

interface IpamFlags {
  readonly subnets: readonly string[];
  readonly ranges: readonly string[];
  readonly gateways: readonly string[];
  readonly auxiliary: Readonly<Record<string, string>>;
}

/** Finds the subnet of everything that was given. Throws with docker's messages. */
export function ipamConfigs({ subnets, ranges, gateways, auxiliary }: IpamFlags): IpamConfig[] {
  if (subnets.length < ranges.length || subnets.length < gateways.length) {
    throw new Error("every ip-range or gateway must have a corresponding subnet");
  }
  const configs: IpamConfig[] = [];
  for (const Subnet of subnets) {
    if (configs.some((other) => matches(Subnet, other.Subnet) || matches(other.Subnet, Subnet))) {
      throw new Error("multiple overlapping subnet configuration is not supported");
    }
    configs.push({ Subnet });
  }
  const configOf = (what: string, text: string): IpamConfig => {
    const found = configs.find(({ Subnet }) => matches(Subnet, text));
    if (found === undefined) throw new Error(`no matching subnet for ${what} ${text}`);
    return found;
  };
  for (const range of ranges) {
    addressOfPrefix(range);
    const config = configOf("range", range);
    if (config.IPRange !== undefined) {
      throw new Error(
        `cannot configure multiple ranges (${range}, ${config.IPRange}) on the same subnet (${config.Subnet})`,
      );
    }
    config.IPRange = range;
  }
  for (const gateway of gateways) {
    const config = configOf("gateway", gateway);
    if (config.Gateway !== undefined) {
      throw new Error(
        `cannot configure multiple gateways (${gateway}, ${config.Gateway}) for the same subnet (${config.Subnet})`,
      );
    }
    config.Gateway = gateway;
  }
  for (const [name, address] of Object.entries(auxiliary)) {
    (configOf("aux-address", address).AuxiliaryAddresses ??= {})[name] = address;
  }
  return configs;
}

/** Whether an address, or the address of a prefix, is in the subnet. What is no address is in none. */
function matches(subnet: string, text: string): boolean {
  const prefix = tryParsePrefix(subnet);
  if (prefix === undefined) throw new Error(`invalid subnet: invalid CIDR address: ${subnet}`);
  const address = text.includes("/") ? addressOfPrefix(text) : tryParseAddress(text);
  return address !== undefined && prefixContains(prefix, address);
}

function addressOfPrefix(text: string): Address {
  const prefix = tryParsePrefix(text);
  if (prefix === undefined) throw new Error(`invalid CIDR address: ${text}`);
  return prefix.address;
}
