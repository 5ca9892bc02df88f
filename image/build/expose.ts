import { invalid } from "../../base/errors.ts";
import { quoted } from "./errors.ts";

/** What EXPOSE says of one port, or a range. */
export interface ExposedPorts {
  /** "80/tcp", "81/tcp" */
  readonly ports: readonly string[];
  /** The protocol is not in lower case. */
  readonly oddCase: boolean;
  /** An address or a port of the host is given, which means nothing here. */
  readonly mapping: boolean;
}

/**
 * `80`, `53/udp`, `8000-8010`; with `host:` or `ip:host:` before it, which is looked at and left out.
 *
 * @throws {EngineError} invalid, in Docker's words.
 */
export function parseExpose(text: string): ExposedPorts {
  const parts = text.split(":");
  const container = parts.pop() ?? "";
  const host = parts.pop() ?? "";
  const address = parts.join(":");
  const [range = "", protocol = "tcp"] = container.split(/\/(.*)/s);
  const name = (protocol || "tcp").toLowerCase();
  if (range === "") throw invalid(`invalid port: ${quoted(text)}: no port specified`);
  if (!["tcp", "udp", "sctp"].includes(name)) {
    throw invalid(`invalid port: ${quoted(text)}: invalid proto: ${protocol}`);
  }
  if (address !== "" && !/^(\[[0-9a-fA-F:.]+\]|[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$/.test(address)) {
    throw invalid(`invalid IP address: ${address}`);
  }
  const ports = portRange(range);
  if (ports === undefined) throw invalid(`invalid containerPort: ${range}`);
  if (host !== "") {
    const hostPorts = portRange(host);
    if (hostPorts === undefined) throw invalid(`invalid hostPort: ${host}`);
    const [first, last] = ports, [hostFirst, hostLast] = hostPorts;
    if (last - first !== hostLast - hostFirst && first !== last) {
      throw invalid(`invalid ranges specified for container and host Ports: ${range} and ${host}`);
    }
  }
  const [first, last] = ports;
  return {
    ports: Array.from({ length: last - first + 1 }, (_, i) => `${first + i}/${name}`),
    oddCase: protocol !== protocol.toLowerCase(),
    mapping: host !== "" || address !== "",
  };
}

function portRange(text: string): [number, number] | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]), last = Number(match?.[2] ?? match?.[1]);
  return match && first <= last && last <= 65535 ? [first, last] : undefined;
}
