/** `--network` and the flags that describe the container's place in its first network. */

import { csvFields } from "../flags/csv.ts";
import { CliError } from "../errors.ts";
import { checkMacAddress } from "../flags/checks.ts";
import { UNDECIDED } from "../network/endpoint_fields.ts";

export interface NetworkAttachment {
  target: string;
  aliases: string[];
  links: string[];
  ipv4: string;
  ipv6: string;
  linkLocal: string[];
  mac: string;
  driverOpts: Record<string, string>;
  gatewayPriority: number;
}

export function emptyAttachment(target: string): NetworkAttachment {
  return {
    target,
    aliases: [],
    links: [],
    ipv4: "",
    ipv6: "",
    linkLocal: [],
    mac: "",
    driverOpts: {},
    gatewayPriority: 0,
  };
}

/** One `--network` value: a name, or `name=x,alias=y,ip=…`. Throws with docker's messages. */
export function parseNetwork(text: string): NetworkAttachment {
  if (!/\w+=\w+/.test(text)) return emptyAttachment(text);
  const network = emptyAttachment("");
  for (const field of csvFields(text)) {
    const lower = field.toLowerCase();
    const equals = lower.indexOf("=");
    if (equals <= 0) throw new Error(`invalid field ${field}`);
    applyField(network, lower.slice(0, equals).trim(), lower.slice(equals + 1).trim());
  }
  if (network.target === "") throw new Error("network name/id is not specified");
  return network;
}

function applyField(network: NetworkAttachment, key: string, value: string): void {
  switch (key) {
    case "name":
      network.target = value;
      return;
    case "alias":
      network.aliases.push(value);
      return;
    case "ip":
      network.ipv4 = value;
      return;
    case "ip6":
      network.ipv6 = value;
      return;
    case "mac-address":
      network.mac = value;
      return;
    case "link-local-ip":
      network.linkLocal.push(value);
      return;
    case "driver-opt": {
      const equals = value.indexOf("=");
      if (equals <= 0) throw new Error("invalid key value pair format in driver options");
      network.driverOpts[value.slice(0, equals).trim()] = value.slice(equals + 1).trim();
      return;
    }
    case "gw-priority":
      if (!/^[+-]?\d+$/.test(value)) throw new Error(`invalid gw-priority (${value}): invalid syntax`);
      network.gatewayPriority = Number(value);
      return;
    default:
      throw new Error(`invalid field key ${key}`);
  }
}

/** Networks that somebody has created, as against bridge, host, none, default and container:x. */
export function isUserDefined(name: string): boolean {
  return !["default", "bridge", "host", "none", ""].includes(name) && !name.startsWith("container:");
}

/** The flags that apply to the first network. */
export interface FirstNetworkFlags {
  readonly aliases: readonly string[];
  readonly links: readonly string[];
  readonly ip: string;
  readonly ip6: string;
  readonly mac: string;
  readonly linkLocal: readonly string[];
}

/** The API's EndpointsConfig. Throws `CliError` on options that contradict each other. */
export function endpoints(
  networks: readonly NetworkAttachment[],
  flags: FirstNetworkFlags,
): Record<string, object> {
  if (networks.length === 0) {
    return { default: endpoint(withFlags(emptyAttachment("default"), flags)) };
  }
  const result: Record<string, object> = {};
  networks.forEach((network, index) => {
    const whole = index === 0 ? withFlags(network, flags) : network;
    const settings = endpoint(whole);
    if (Object.hasOwn(result, whole.target)) {
      throw new CliError(`network ${JSON.stringify(whole.target)} is specified multiple times`);
    }
    // A single network without options of its own is left to NetworkMode, as older engines expect.
    if (networks.length === 1 && isPlain(whole)) return;
    result[whole.target] = settings;
  });
  const kinds = new Set(networks.map(({ target }) => isUserDefined(target)));
  if (kinds.size > 1) {
    throw new CliError(
      "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
    );
  }
  return result;
}

function withFlags(network: NetworkAttachment, flags: FirstNetworkFlags): NetworkAttachment {
  const conflict = (a: string, b: string) =>
    new CliError(`conflicting options: cannot specify both ${a} and per-network ${b}`);
  if (network.aliases.length > 0 && flags.aliases.length > 0) throw conflict("--network-alias", "alias");
  if (network.ipv4 !== "" && flags.ip !== "") throw conflict("--ip", "IPv4 address");
  if (network.ipv6 !== "" && flags.ip6 !== "") throw conflict("--ip6", "IPv6 address");
  if (network.mac !== "" && flags.mac !== "") throw conflict("--mac-address", "MAC address");
  if (network.linkLocal.length > 0 && flags.linkLocal.length > 0) {
    throw conflict("--link-local-ip", "link-local IP addresses");
  }
  return {
    ...network,
    aliases: flags.aliases.length > 0 ? [...flags.aliases] : network.aliases,
    links: isUserDefined(network.target) && flags.links.length > 0 ? [...flags.links] : network.links,
    ipv4: flags.ip || network.ipv4,
    ipv6: flags.ip6 || network.ipv6,
    mac: flags.mac || network.mac,
    linkLocal: flags.linkLocal.length > 0 ? [...flags.linkLocal] : network.linkLocal,
  };
}

function isPlain(network: NetworkAttachment): boolean {
  return JSON.stringify({ ...network, target: "" }) === JSON.stringify(emptyAttachment(""));
}

function endpoint(network: NetworkAttachment): object {
  if (network.target.trim() === "") throw new CliError("no name set for network");
  checkMacAddress(network.mac);
  if (!isUserDefined(network.target)) {
    if (network.aliases.length > 0) {
      throw new CliError("network-scoped aliases are only supported for user-defined networks");
    }
    if (network.links.length > 0) throw new CliError("links are only supported for user-defined networks");
  }
  const addressed = network.ipv4 !== "" || network.ipv6 !== "" || network.linkLocal.length > 0;
  return {
    IPAMConfig: addressed
      ? {
        ...(network.ipv4 === "" ? {} : { IPv4Address: network.ipv4 }),
        ...(network.ipv6 === "" ? {} : { IPv6Address: network.ipv6 }),
        ...(network.linkLocal.length === 0 ? {} : { LinkLocalIPs: network.linkLocal }),
      }
      : null,
    Links: network.links.length === 0 ? null : network.links,
    Aliases: network.aliases.length === 0 ? null : network.aliases,
    MacAddress: network.mac,
    DriverOpts: Object.keys(network.driverOpts).length === 0 ? null : network.driverOpts,
    GwPriority: network.gatewayPriority,
    ...UNDECIDED,
  };
}
