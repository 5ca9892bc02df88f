/**
 * Ports as users write them: `80/tcp`, `8000-8010`, `-p` in the short form. Error texts are those of go-connections' nat package,
 * which all clients of Docker show.
 */
import { tryParseAddress } from "./address.ts";
import { EngineError, invalid } from "./errors.ts";

export type PortProtocol = "tcp" | "udp" | "sctp";
const PROTOCOLS: readonly string[] = ["tcp", "udp", "sctp"];

export interface ContainerPort {
  readonly port: number;
  readonly protocol: PortProtocol;
}

/** A member of the API's `PortBindings["80/tcp"]`. Empty texts: any address, any port. */
export interface HostBinding {
  readonly HostIp: string;
  /** "8080", or "8000-8010" for any of them. */
  readonly HostPort: string;
}

/** Reads `80` or `8000-8010`. @throws {Error} with Go's text */
export function parsePortRange(text: string): { first: number; last: number } {
  if (text === "") throw new Error("empty string specified for ports");
  const [start = "", end = start] = text.split("-");
  const [first, last] = [portNumber(start), portNumber(end)];
  if (last < first) throw new Error(`invalid range specified for port: ${text}`);
  return { first, last };
}

/** Reads one port, 0 to 65535. @throws {Error} with Go's text */
export function portNumber(text: string): number {
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

/** An address without brackets, otherwise as it was written; empty stays empty. @throws {EngineError} invalid */
export function readHostIp(text: string): string {
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
  if (bare === "") return "";
  const address = tryParseAddress(bare);
  if (!address || address.zone !== "") throw invalid(`invalid IP address: ${bare}`);
  return bare;
}

/**
 * One `-p` value: `[[ip:][hostPort]:]containerPort[/protocol]`, ports also as ranges. One element for each port.
 * @throws {EngineError} invalid
 */
export function parsePortSpec(spec: string): { port: string; binding: HostBinding }[] {
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
): { exposed: string[]; bindings: Record<string, HostBinding[]> } {
  const bindings: Record<string, HostBinding[]> = {};
  for (const spec of specs) {
    for (const { port, binding } of parsePortSpec(spec)) (bindings[port] ??= []).push(binding);
  }
  return { exposed: Object.keys(bindings), bindings };
}
