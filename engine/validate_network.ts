/** Checks of a create request's network: mode, ports, endpoints, names (moby: runconfig/hostconfig_unix.go, daemon/create.go, opts/hosts.go). */
import { tryParseAddress } from "../base/address.ts";
import { invalid, messageOf } from "../base/errors.ts";
import { parsePortRange } from "../base/port_spec.ts";
import { planEndpoint } from "../net/network_endpoint.ts";
import { portRequests } from "../net/network_ports.ts";
import type { NetworkRecord } from "../net/network_types.ts";
import type { CreateRequest, HostConfig } from "./types.ts";

/** The network mode as inspect shows it: "default" is the default bridge. */
export function networkMode(host: HostConfig): string {
  const mode = host.NetworkMode || "default";
  return mode === "default" ? "bridge" : mode;
}

/** Finds a network; it need not exist before the container starts. */
export type FindNetwork = (name: string) => NetworkRecord | undefined;

/** Adds to `warnings` what is accepted and has no effect. @throws {EngineError} invalid */
export function validateNetwork(
  request: CreateRequest,
  warnings: string[],
  findNetwork: FindNetwork = () => undefined,
): void {
  const { config, hostConfig: host } = request;
  const mode = networkMode(host);
  warnings.push(...portWarnings(request));
  const publishes = Object.keys(host.PortBindings ?? {}).length > 0;
  if (host.UTSMode === "host" && config.Hostname) {
    throw invalid("conflicting options: hostname and the UTS mode");
  }
  const mac = config.MacAddress ?? "";
  const links = Array.isArray(host["Links"]) ? host["Links"] : [];
  if (mode === "container" || mode.startsWith("container:")) {
    if (mode.length <= "container:".length) {
      throw invalid("invalid network mode: invalid container format container:<name|id>");
    }
    if (config.Hostname) throw invalid("conflicting options: hostname and the network mode");
    if (links.length > 0) {
      throw invalid(
        "conflicting options: container type network can't be used with links. This would result in undefined behavior",
      );
    }
    if (host.Dns?.length) throw invalid("conflicting options: dns and the network mode");
    if (host.ExtraHosts?.length) {
      throw invalid("conflicting options: custom host-to-IP mapping and the network mode");
    }
    if (mac !== "") throw invalid("conflicting options: mac-address and the network mode");
    if (publishes || host.PublishAllPorts) {
      throw invalid("conflicting options: port publishing and the container type network mode");
    }
    if (Object.keys(config.ExposedPorts ?? {}).length > 0) {
      throw invalid("conflicting options: port exposing and the container type network mode");
    }
    return;
  }
  if (mode === "host") {
    if (links.length > 0) {
      throw invalid(
        "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
      );
    }
    if (mac !== "") throw invalid("conflicting options: mac-address and the network mode");
    if (publishes) warnings.push("Published ports are discarded when using host network mode");
  }
  // Whether a network exists is found at start, as in Docker: a 404 at create makes its command line pull the image.
  if (!["none", "bridge", "host"].includes(mode) && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(mode)) {
    throw invalid(`invalid network mode: ${mode}`);
  }
  validateEndpoints(request, findNetwork);
}

function validateEndpoints({ networkingConfig }: CreateRequest, findNetwork: FindNetwork): void {
  const wrong = Object.entries(networkingConfig?.EndpointsConfig ?? {}).flatMap(([name, settings]) => {
    try {
      planEndpoint(name, settings ?? {}, findNetwork(name));
      return [];
    } catch (error) {
      return [`invalid config for network ${name}: ${messageOf(error)}`];
    }
  });
  if (wrong.length > 0) throw invalid(wrong.join("\n"));
}

/** Reads the ports that are to be published as a start will. @throws {EngineError} invalid */
function portWarnings({ config, hostConfig: host }: CreateRequest): string[] {
  for (const [port, bindings] of Object.entries(host.PortBindings ?? {})) {
    parsePort(port);
    for (const { HostPort: text } of bindings ?? []) if (text) requirePorts(text);
  }
  return portRequests(host.PortBindings ?? {}, {
    exposed: Object.keys(config.ExposedPorts ?? {}),
    publishAll: host.PublishAllPorts ?? false,
    hostIpv6: true,
  }).warnings;
}

function requirePorts(text: string): void {
  try {
    parsePortRange(text.split("/")[0] ?? "");
  } catch {
    throw invalid(`invalid port specification: ${JSON.stringify(text)}`);
  }
}

/** "80", "80/tcp", "8000-8010/udp": a port or a range with a protocol. */
export function parsePort(text: string): { first: number; last: number; protocol: string } {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(\w+))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? first);
  const protocol = (match?.[3] ?? "tcp").toLowerCase();
  if (!match || first > 65535 || last > 65535 || last < first) {
    throw invalid(`invalid port specification: ${JSON.stringify(text.split("/")[0])}`);
  }
  if (!["tcp", "udp", "sctp"].includes(protocol)) throw invalid(`invalid proto: ${protocol}`);
  return { first, last, protocol };
}

/** An IPv4 or IPv6 address; the latter with or without brackets. */
const isAddress = (text: string): boolean => {
  const address = tryParseAddress(text.replace(/^\[(.*)\]$/, "$1"));
  return address !== undefined && address.zone === "";
};

/** sethostname(2) takes 64 bytes, and the name is written into files of lines and words. */
export function validateHostName(what: string, name: string): void {
  if (new TextEncoder().encode(name).length > 64) throw invalid(`invalid ${what}: longer than 64 bytes`);
  // deno-lint-ignore no-control-regex
  if (/[\s\x00-\x1f\x7f/#]/.test(name)) throw invalid(`invalid ${what}: ${JSON.stringify(name)}`);
}

/** `name:address`, `--add-host`. @throws {EngineError} invalid */
export function validateExtraHost(entry: string): void {
  const at = entry.search(/[:=]/);
  const [name, ip] = [entry.slice(0, at), entry.slice(at + 1)];
  if (at <= 0 || ip === "" || /[\s#]/.test(entry)) {
    throw invalid(`bad format for add-host: ${JSON.stringify(entry)}`);
  }
  if (ip !== "host-gateway" && !isAddress(ip)) {
    throw invalid(`invalid IP address in add-host: ${JSON.stringify(ip)}`);
  }
  validateHostName("add-host name", name);
}
