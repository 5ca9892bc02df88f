/** A container's place in a network: checks, names, and which place leads outside (moby 28: daemon/container_operations.go, libnetwork). */
import { EngineError, invalid } from "../base/errors.ts";
import { type Address, isLinkLocal, isMapped, isUnspecified, tryParseAddress } from "../base/address.ts";
import { parsePrefix, prefixContains } from "../base/address_prefix.ts";
import type { SubnetAllocation } from "./ipam_network.ts";
import { joinErrors } from "./network_ipam_config.ts";
import { parseMac } from "./network_mac.ts";
import { OPTION } from "./network_options.ts";
import type { EndpointSettings, NetworkRecord } from "./network_types.ts";

/** Networks that somebody has made, as against bridge, host, none, default and container:x. */
export const isUserDefined = (name: string): boolean =>
  !["bridge", "host", "none", "default", ""].includes(name) && !name.startsWith("container:");

/** Normalised settings of an endpoint. */
export interface EndpointPlan {
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  readonly linkLocal: readonly string[];
  readonly aliases: readonly string[];
  readonly links: readonly string[];
  readonly mac: string | undefined;
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly gatewayPriority: number;
}

/**
 * Checks settings, all that is wrong at once. Without `network` (it need not exist at create) its subnets are not looked at.
 * @throws {EngineError} invalid
 */
export function planEndpoint(
  networkName: string,
  settings: EndpointSettings,
  network?: Pick<NetworkRecord, "addresses">,
): EndpointPlan {
  const wrong: string[] = [];
  const ipv4 = settings.IPAMConfig?.IPv4Address || undefined;
  const ipv6 = settings.IPAMConfig?.IPv6Address || undefined;
  const aliases = settings.Aliases ?? [];
  if (!isUserDefined(networkName)) {
    if (ipv4 !== undefined || ipv6 !== undefined) {
      wrong.push("user specified IP address is supported on user defined networks only");
    }
    if (aliases.length > 0) {
      wrong.push("network-scoped alias is supported only for containers in user defined networks");
    }
  }
  const v4 = ipv4 === undefined ? undefined : readStatic(ipv4, 4);
  const v6 = ipv6 === undefined ? undefined : readStatic(ipv6, 6);
  if (ipv4 !== undefined && !v4) wrong.push(`invalid IPv4 address: ${ipv4}`);
  if (ipv6 !== undefined && !v6) wrong.push(`invalid IPv6 address: ${ipv6}`);
  const linkLocal = settings.IPAMConfig?.LinkLocalIPs ?? [];
  for (const text of linkLocal) {
    const address = tryParseAddress(text);
    if (!address || isUnspecified(address)) wrong.push(`invalid link-local IP address: ${text}`);
    else if (!isLinkLocal(address)) wrong.push(`invalid link local IP address: ${text}`);
  }
  if (network && v4) wrong.push(...notConfigured(v4, ipv4 ?? "", network.addresses.v4));
  if (network && v6) wrong.push(...notConfigured(v6, ipv6 ?? "", network.addresses.v6));
  const mac = settings.MacAddress ? parseMac(settings.MacAddress) : undefined;
  if (settings.MacAddress && mac === undefined) throw invalid(`invalid MAC address ${settings.MacAddress}`);
  const driverOptions = settings.DriverOpts ?? {};
  wrong.push(...sysctlErrors(driverOptions[OPTION.endpointSysctls]));
  if (wrong.length > 0) throw invalid(`invalid endpoint settings:\n${joinErrors(wrong)}`);
  return {
    ipv4,
    ipv6,
    linkLocal,
    aliases,
    links: settings.Links ?? [],
    mac,
    driverOptions,
    gatewayPriority: settings.GwPriority ?? 0,
  };
}

function readStatic(text: string, family: 4 | 6): Address | undefined {
  const address = tryParseAddress(text);
  return address?.family === family && !isUnspecified(address) && !isMapped(address) && address.zone === ""
    ? address
    : undefined;
}

/** A container may only ask for addresses of subnets that the network's maker has named: others change when networks are made anew. */
function notConfigured(address: Address, text: string, subnets: readonly SubnetAllocation[]): string[] {
  const configured = subnets.filter((subnet) => subnet.configured);
  if (configured.some(({ pool }) => prefixContains(parsePrefix(pool.subnet), address))) return [];
  return [
    configured.length > 0
      ? `no configured subnet or ip-range contain the IP address ${text}`
      : "user specified IP address is supported only when connecting to networks with user configured subnets",
  ];
}

/** `net.ipv4.conf.IFNAME.log_martians=1,…`: sysctls of one interface. */
function sysctlErrors(list: string | undefined): string[] {
  if (list === undefined) return [];
  return list.split(",").filter((entry) => !/^[^.]*\.(ipv4|ipv6|mpls)\.[^.]*\.(IFNAME|ifname)\./.test(entry))
    .map((entry) =>
      `unrecognised network interface sysctl '${entry}'; represent 'net.X.Y.ethN.Z=V' as ` +
      "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
    );
}

/** The network of a container, or that it shall be connected to. */
export interface NamedNetwork {
  readonly name: string;
  readonly driver: string;
}

/**
 * May a container be connected to one more network?
 * `mode` is its HostConfig.NetworkMode, `attached` what it is connected to.
 * @returns false when it is connected to it already
 * @throws {EngineError} invalid
 */
export function checkConnect(mode: string, attached: readonly NamedNetwork[], target: NamedNetwork): boolean {
  const shared =
    "container sharing network namespace with another container or host cannot be connected to any other network";
  if (mode.startsWith("container:")) throw invalid(shared);
  if (mode !== "host" && target.driver === "host") {
    throw invalid(
      "cannot connect container to host network - container must be created in host network mode",
    );
  }
  for (const network of attached) {
    if (network.name === target.name) return false;
    if (network.driver === "host" || target.driver === "host") throw invalid(shared);
    if (network.name === "none" || target.name === "none") {
      throw invalid(
        "container cannot be connected to multiple networks with one of the networks in private (none) mode",
      );
    }
  }
  return true;
}

/** @throws {EngineError} when the container may not be disconnected from the network */
export function checkDisconnect(
  container: { readonly id: string; readonly mode: string; readonly attached: readonly string[] },
  target: NamedNetwork,
): void {
  if (container.mode === "host" && target.driver === "host") {
    throw invalid(
      "cannot disconnect container from host network - container was created in host network mode",
    );
  }
  if (!container.attached.includes(target.name)) {
    throw new EngineError("system", `container ${container.id} is not connected to network ${target.name}`);
  }
}

/** An endpoint's names in DNS; the first one answers PTR queries. Names of the default bridge are not served. */
export function dnsNamesOf(
  container: { readonly id: string; readonly name: string; readonly hostname: string },
  aliases: readonly string[],
): string[] {
  const names = [
    container.name.replace(/^\//, ""),
    ...aliases,
    container.id.slice(0, 12),
    container.hostname,
  ];
  return [...new Set(names.filter((name) => name !== ""))];
}

/** What decides which endpoint of a container leads outside. */
export interface GatewayCandidate {
  readonly networkName: string;
  readonly driver: string;
  readonly internal: boolean;
  /** `--network name=x,gw-priority=1`. */
  readonly gatewayPriority: number;
  readonly gateway4: boolean;
  readonly gateway6: boolean;
}

/** Order of preference: priority, not internal, gateways of both families, the network's name. */
export function compareGateways(a: GatewayCandidate, b: GatewayCandidate): number {
  const gateways = (one: GatewayCandidate) => Number(one.gateway4) + Number(one.gateway6);
  return b.gatewayPriority - a.gatewayPriority ||
    Number(a.internal) - Number(b.internal) ||
    gateways(b) - gateways(a) ||
    (a.networkName < b.networkName ? -1 : Number(a.networkName > b.networkName));
}

/**
 * The endpoints whose gateways become the container's default routes, which are also those where its ports are published.
 * With two families the two can be different endpoints.
 */
export function gatewayEndpoints<T extends GatewayCandidate>(
  endpoints: readonly T[],
): { ipv4?: T; ipv6?: T } {
  const sorted = endpoints.filter(({ driver }) => driver !== "null" && driver !== "host").sort(
    compareGateways,
  );
  const ipv4 = sorted.find(({ gateway4 }) => gateway4);
  const ipv6 = sorted.find(({ gateway6 }) => gateway6);
  return { ...(ipv4 ? { ipv4 } : {}), ...(ipv6 ? { ipv6 } : {}) };
}

/** Interfaces are named in the order in which the networks are joined: `eth0`, unless the network or the endpoint says other. */
export function interfaceName(taken: readonly string[], prefix = "eth"): string {
  for (let number = 0;; number++) {
    const name = `${prefix}${number}`;
    if (!taken.includes(name)) return name;
  }
}
