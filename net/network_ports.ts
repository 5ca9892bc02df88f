/**
 * Ports as users write them: `80/tcp` in images, `-p` in the short form, `PortBindings` in the API. Error texts are those of
 * go-connections' nat package, which all clients of Docker show.
 */
import { EngineError, invalid, messageOf } from "../base/errors.ts";
import { formatAddress, tryParseAddress } from "./address.ts";

export type PortProtocol = "tcp" | "udp" | "sctp";
const PROTOCOLS: readonly string[] = ["tcp", "udp", "sctp"];

export interface ContainerPort {
  readonly port: number;
  readonly protocol: PortProtocol;
}

/** A member of `HostConfig.PortBindings["80/tcp"]`. Empty texts: any address, any port. */
export interface PortBinding {
  readonly HostIp?: string | null;
  readonly HostPort?: string | null;
}

export type PortMap = Readonly<Record<string, readonly PortBinding[] | null>>;

/** A port that is to be published. */
export interface PortRequest extends ContainerPort {
  /** All of them get the same host port. */
  readonly hostAddresses: readonly string[];
  /** Any port from `first` to `last`; both 0: any ephemeral one. */
  readonly first: number;
  readonly last: number;
}

/** Reads `80` or `8000-8010`. @throws {Error} with Go's text */
export function parsePortRange(text: string): { first: number; last: number } {
  if (text === "") throw new Error("empty string specified for ports");
  const [start = "", end = start] = text.split("-");
  const [first, last] = [portNumber(start), portNumber(end)];
  if (last < first) throw new Error(`invalid range specified for port: ${text}`);
  return { first, last };
}

function portNumber(text: string): number {
  const wrong = !/^[0-9]+$/.test(text)
    ? "invalid syntax"
    : Number(text) > 65535
    ? "value out of range"
    : undefined;
  if (wrong !== undefined) throw new Error(`strconv.ParseUint: parsing ${JSON.stringify(text)}: ${wrong}`);
  return Number(text);
}

/** Reads `80`, `80/tcp` or `53/UDP`. @throws {EngineError} invalid */
export function parseContainerPort(text: string): ContainerPort {
  const [number = "", protocol = ""] = text.split("/");
  try {
    return { port: portNumber(number), protocol: readProtocol(protocol) };
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw invalid(`invalid port specification: ${JSON.stringify(text)}`, error);
  }
}

function readProtocol(text: string): PortProtocol {
  const protocol = text.toLowerCase() || "tcp";
  if (!PROTOCOLS.includes(protocol)) throw invalid(`invalid proto: ${text}`);
  return protocol as PortProtocol;
}

/** An address without brackets, canonical; empty stays empty. @throws {EngineError} invalid */
function readHostIp(text: string): string {
  if (text === "") return "";
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
  const address = tryParseAddress(bare);
  if (!address || address.zone !== "") throw invalid(`invalid IP address: ${bare}`);
  return formatAddress(address);
}

/**
 * One `-p` value: `[[ip:][hostPort]:]containerPort[/protocol]`, ports also as ranges.
 * @throws {EngineError} invalid
 */
export function parsePortSpec(
  spec: string,
): { port: string; binding: { HostIp: string; HostPort: string } }[] {
  const parts = spec.split(":");
  const [target = "", host = ""] = [parts.pop(), parts.pop()];
  const [range = "", rawProtocol = ""] = target.split("/");
  const HostIp = readHostIp(parts.join(":"));
  if (range === "") throw invalid(`no port specified: ${spec}<empty>`);
  const container = rangeOf(range, "containerPort");
  const hostPorts = host === "" ? { first: 0, last: 0 } : rangeOf(host, "hostPort");
  const [count, hostCount] = [container.last - container.first, hostPorts.last - hostPorts.first];
  // A range of host ports for a single container port means any one of them.
  if (host !== "" && count !== hostCount && count > 0) {
    throw invalid(`invalid ranges specified for container and host Ports: ${range} and ${host}`);
  }
  const protocol = readProtocol(rawProtocol);
  return Array.from({ length: count + 1 }, (_, i) => {
    const any = count === 0 && hostCount > 0 ? `-${hostPorts.last}` : "";
    return {
      port: `${container.first + i}/${protocol}`,
      binding: { HostIp, HostPort: host === "" ? "" : `${hostPorts.first + i}${any}` },
    };
  });
}

function rangeOf(text: string, what: string): { first: number; last: number } {
  try {
    return parsePortRange(text);
  } catch (error) {
    throw invalid(`invalid ${what}: ${text}`, error);
  }
}

/** Several `-p` values: what they expose and where it is published. @throws {EngineError} invalid */
export function parsePortSpecs(
  specs: readonly string[],
): { exposed: string[]; bindings: Record<string, { HostIp: string; HostPort: string }[]> } {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const spec of specs) {
    for (const { port, binding } of parsePortSpec(spec)) (bindings[port] ??= []).push(binding);
  }
  return { exposed: Object.keys(bindings), bindings };
}

/**
 * Bindings with each empty list replaced by one for an ephemeral port, which is what Docker's engine starts a container with.
 * Names of ports are made canonical: `80` is `80/tcp`.
 * @throws {EngineError} invalid
 */
export function backFilledBindings(bindings: PortMap): Record<string, PortBinding[]> {
  const result: Record<string, PortBinding[]> = {};
  for (const [text, list] of Object.entries(bindings)) {
    const { port, protocol } = parseContainerPort(text);
    const filled = list && list.length > 0 ? list : [{ HostIp: "", HostPort: "" }];
    (result[`${port}/${protocol}`] ??= []).push(...filled);
  }
  return result;
}

export interface PublishContext {
  /** `Config.ExposedPorts`. */
  readonly exposed?: readonly string[];
  /** `-P`: publish what is exposed and not bound. */
  readonly publishAll?: boolean;
  /** The network's `host_binding_ipv4`, or the engine's `--ip`; empty: all addresses. */
  readonly defaultAddress?: string;
  /** The host has IPv6: where no address is named, `::` is bound as well. */
  readonly hostIpv6: boolean;
}

/**
 * What has to be published, single ports first, then ranges, then ephemeral ones, so that none takes what another one names.
 * @throws {EngineError} invalid; SCTP is refused where it was asked for by name
 */
export function portRequests(
  bindings: PortMap,
  context: PublishContext,
): { requests: PortRequest[]; warnings: string[] } {
  const warnings: string[] = [];
  const wanted = backFilledBindings(bindings);
  for (const text of context.publishAll ? context.exposed ?? [] : []) {
    const { port, protocol } = parseContainerPort(text);
    if (protocol !== "sctp") wanted[`${port}/${protocol}`] ??= [{}];
    else warnings.push(`Port ${port}/sctp is exposed and not published: berth publishes TCP and UDP`);
  }
  const requests = Object.entries(wanted).flatMap(([text, list]) => {
    const target = parseContainerPort(text);
    if (target.protocol === "sctp") {
      throw invalid(
        `cannot publish ${text}: SCTP cannot be published, only TCP and UDP (use --network host for SCTP)`,
      );
    }
    return requestsOf(target, list, context);
  });
  const kind = ({ first, last }: PortRequest) => first === 0 ? 2 : first === last ? 0 : 1;
  return { requests: requests.sort((a, b) => kind(a) - kind(b)), warnings };
}

/** Bindings of one container port; those that differ in address alone share a host port, as in Docker. */
function requestsOf(
  target: ContainerPort,
  bindings: readonly PortBinding[],
  { defaultAddress = "", hostIpv6 }: PublishContext,
): PortRequest[] {
  const requests: (PortRequest & { hostAddresses: string[] })[] = [];
  const all = defaultAddress === "" || defaultAddress === "0.0.0.0";
  for (const { HostIp, HostPort } of bindings) {
    const { first, last } = hostRange(HostPort ?? "");
    const address = readHostIp(HostIp ?? "");
    const addresses = address !== ""
      ? [address]
      : !all
      ? [readHostIp(defaultAddress)]
      : hostIpv6
      ? ["0.0.0.0", "::"]
      : ["0.0.0.0"];
    const same = requests.find((one) =>
      one.first === first && one.last === last && !addresses.some((text) => one.hostAddresses.includes(text))
    );
    if (same) same.hostAddresses.push(...addresses);
    else requests.push({ ...target, hostAddresses: addresses, first, last });
  }
  return requests;
}

/** "" and "0" are any port. */
function hostRange(text: string): { first: number; last: number } {
  if (text === "") return { first: 0, last: 0 };
  try {
    // The protocol that some clients append says nothing.
    return parsePortRange(text.split("/")[0] ?? "");
  } catch (error) {
    throw invalid(`Error parsing HostPort value(${text}):${messageOf(error)}`);
  }
}
