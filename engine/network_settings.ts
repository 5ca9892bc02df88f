/** What daemon.json and `serve` say about networks (moby: daemon/config, the bridge's part), checked. */
import { isLoopback, parseAddress, tryParseAddress } from "../base/address.ts";
import { firstAddress, formatPrefix, masked, tryParsePrefix } from "../base/address_prefix.ts";
import { invalid, messageOf } from "../base/errors.ts";
import { DEFAULT_GATEWAY, type SubnetConfig } from "../net/ipam_network.ts";
import { type AddressPool, normalizePools } from "../net/ipam_pools.ts";
import type { NetdSettings } from "../net/netd/protocol.ts";
import type { DefaultBridge } from "../net/network_predefined.ts";

export interface NetworkSettings {
  /** False with `"bridge": "none"`: there is no default bridge. */
  readonly hasBridge: boolean;
  readonly bridge: DefaultBridge;
  /** `default-address-pools`; empty: Docker's. */
  readonly pools: readonly AddressPool[];
  /** `default-network-opts`: options of the driver, for networks that do not set them. */
  readonly defaultOptions: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** `dns`, `dns-search`, `dns-opts`: for containers that do not say. */
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  /** What `--add-host x:host-gateway` becomes; empty: berth's own addresses for the host. */
  readonly hostGateways: readonly string[];
  readonly netd: NetdSettings;
}

/** Options that may stand in the file and as a flag: key of daemon.json → flag. */
export const NETWORK_FLAGS: Readonly<Record<string, string>> = {
  "bip": "bip",
  "bip6": "bip6",
  "bridge": "bridge",
  "default-gateway": "default-gateway",
  "default-gateway-v6": "default-gateway-v6",
  "default-address-pools": "default-address-pool",
  "default-network-opts": "default-network-opt",
  "dns": "dns",
  "dns-opts": "dns-opt",
  "dns-search": "dns-search",
  "fixed-cidr": "fixed-cidr",
  "fixed-cidr-v6": "fixed-cidr-v6",
  "host-gateway-ips": "host-gateway-ip",
  "host-loopback": "host-loopback",
  "icc": "icc",
  "ip": "ip",
  "ip-masq": "ip-masq",
  "ipv6": "ipv6",
  "mtu": "mtu",
  "outbound": "outbound",
};

export const NETWORK_KEYS: readonly string[] = [...Object.keys(NETWORK_FLAGS), "host-gateway-ip"];

const OUTBOUND = ["auto", "tproxy", "pasta", "slirp4netns", "none"] as const;
/** dockerd's default for its bridge. */
const DEFAULT_MTU = 1500;

type Values = Readonly<Record<string, unknown>>;

/**
 * Reads the settings out of `values`, by the keys of daemon.json.
 *
 * @param refuse makes the error for a value of the wrong type.
 * @throws {EngineError} invalid
 */
export function networkSettings(values: Values, refuse: (problem: string) => Error): NetworkSettings {
  const take = <T>(key: string, expected: string, is: (value: unknown) => value is T): T | undefined => {
    const value = values[key];
    if (value === undefined || value === null) return undefined;
    if (!is(value)) throw refuse(`${key}: must be ${expected}, not ${JSON.stringify(value)}`);
    return value;
  };
  const text = (key: string) => take(key, "a string", isText) ?? "";
  const texts = (key: string) => take(key, "a list of strings", isTexts) ?? [];
  const flag = (key: string, missing: boolean) => take(key, "true or false", isBool) ?? missing;
  const mtu = take("mtu", "a whole number", isCount) ?? 0;
  const ip = text("ip");
  if (ip !== "" && !tryParseAddress(ip)) throw refuse(`ip: invalid IP address: ${ip}`);
  const bridgeName = text("bridge");
  if (!["", "none", "docker0"].includes(bridgeName)) {
    throw refuse(`bridge: must be "none" or absent: berth makes its bridges itself, not ${bridgeName}`);
  }
  const ipv6 = flag("ipv6", false);
  const v4 = withDefaultGateway(
    bridgeSubnet(text("bip"), text("fixed-cidr"), "bip", "fixed-cidr", 4),
    defaultGateway(text("default-gateway"), "default-gateway", 4, refuse),
  );
  const v6 = withDefaultGateway(
    bridgeSubnet(text("bip6"), text("fixed-cidr-v6"), "bip6", "fixed-cidr-v6", 6),
    defaultGateway(text("default-gateway-v6"), "default-gateway-v6", 6, refuse),
  );
  const pools = take("default-address-pools", "a list of {base, size}", isPools) ?? [];
  const dns = texts("dns");
  for (const server of dns) {
    if (!tryParseAddress(server)) throw refuse(`dns: IP address is not correctly formatted: ${server}`);
  }
  const outbound = text("outbound") || "auto";
  const known = OUTBOUND.find((one) => one === outbound);
  if (known === undefined) throw refuse(`outbound: must be one of ${OUTBOUND.join(", ")}, not ${outbound}`);
  return {
    hasBridge: bridgeName !== "none",
    bridge: {
      mtu: mtu || DEFAULT_MTU,
      icc: flag("icc", true),
      masquerade: flag("ip-masq", true),
      ...(ip === "" ? {} : { hostBinding: ip }),
      ipv6,
      v4,
      v6,
    },
    pools: pools.length === 0 ? [] : normalizePools(pools),
    defaultOptions: take("default-network-opts", "an object of objects of strings", isTextMaps) ?? {},
    dns,
    dnsSearch: texts("dns-search"),
    dnsOptions: texts("dns-opts"),
    hostGateways: hostGateways([...texts("host-gateway-ips"), text("host-gateway-ip")], refuse),
    netd: { hostLoopback: flag("host-loopback", false), outbound: known },
  };
}

/** `--bip 10.1.0.1/16 --fixed-cidr 10.1.2.0/24`: the bridge's address with its subnet, and the part that containers get. */
function bridgeSubnet(
  bip: string,
  fixed: string,
  bipName: string,
  fixedName: string,
  family: 4 | 6,
): SubnetConfig[] {
  const read = (text: string, name: string) => {
    const prefix = tryParsePrefix(text);
    if (prefix?.address.family !== family) throw invalid(`invalid --${name}: ${text}`);
    return prefix;
  };
  const range = fixed === "" ? undefined : formatPrefix(masked(read(fixed, fixedName)));
  if (bip === "") {
    // Without the bridge's own address the fixed range is all there is.
    return range === undefined ? [] : [{ subnet: range }];
  }
  const prefix = read(bip, bipName);
  if (prefix.address.value === firstAddress(prefix).value) throw invalid(`invalid --${bipName}: ${bip}`);
  return [{
    subnet: formatPrefix(masked(prefix)),
    gateway: bip.slice(0, bip.lastIndexOf("/")),
    ...(range === undefined ? {} : { range }),
  }];
}

/** An auxiliary address of the subnet, by the name that makes it the containers' way out; undefined when none is given. */
function defaultGateway(
  text: string,
  key: string,
  family: 4 | 6,
  refuse: (problem: string) => Error,
): Record<string, string> | undefined {
  if (text === "") return undefined;
  if (tryParseAddress(text)?.family !== family) throw refuse(`${key}: invalid IPv${family} address: ${text}`);
  return { [DEFAULT_GATEWAY[family]]: text };
}

function withDefaultGateway(
  subnets: readonly SubnetConfig[],
  auxiliary: Record<string, string> | undefined,
): readonly SubnetConfig[] {
  return auxiliary === undefined ? subnets : [{ ...subnets[0], auxiliary }];
}

function hostGateways(given: readonly string[], refuse: (problem: string) => Error): string[] {
  return [...new Set(given.filter((text) => text !== ""))].map((text) => {
    try {
      if (isLoopback(parseAddress(text))) throw new Error("a container's loopback is its own");
    } catch (error) {
      throw refuse(`host-gateway-ip: ${messageOf(error)}`);
    }
    return text;
  });
}

const isText = (value: unknown): value is string => typeof value === "string";
const isBool = (value: unknown): value is boolean => typeof value === "boolean";
const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText);
const isCount = (value: unknown): value is number => Number.isInteger(value) && Number(value) >= 0;
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isTextMaps = (value: unknown): value is Record<string, Record<string, string>> =>
  isObject(value) && Object.values(value).every((map) => isObject(map) && Object.values(map).every(isText));
const isPools = (value: unknown): value is AddressPool[] =>
  Array.isArray(value) &&
  value.every((one) => isObject(one) && isText(one["base"]) && typeof one["size"] === "number");
