/** `--publish` and `--expose` in the shapes the API takes. */

import { isIpv4, isIpv6 } from "../flags/checks.ts";

export interface PortBinding {
  HostIp: string;
  HostPort: string;
}

const PROTOCOLS = ["tcp", "udp", "sctp"];

/** Exposed ports and bindings of all `-p` and `--expose` values. Throws with docker's messages. */
export function parsePorts(
  publish: readonly string[],
  expose: readonly string[],
): { exposed: Record<string, object>; bindings: Record<string, PortBinding[]> } {
  const exposed: Record<string, object> = {};
  const bindings: Record<string, PortBinding[]> = {};
  for (const spec of publish) {
    for (const { port, binding } of parsePublish(spec.includes("=") ? shortSyntax(spec) : spec)) {
      exposed[port] = {};
      (bindings[port] ??= []).push(binding);
    }
  }
  for (const spec of expose) {
    if (spec.includes(":")) throw new Error(`invalid port format for --expose: ${spec}`);
    const [range = "", protocol = "tcp"] = spec.split("/", 2);
    let ports: [number, number];
    try {
      ports = portRange(range);
    } catch (error) {
      throw new Error(
        `invalid range format for --expose: ${spec}, error: ${
          error instanceof Error ? error.message : error
        }`,
      );
    }
    for (let port = ports[0]; port <= ports[1]; port++) exposed[`${port}/${protocol.toLowerCase()}`] = {};
  }
  return { exposed, bindings };
}

/** `published=8080,target=80,protocol=udp` written as `8080:80/udp`. */
function shortSyntax(spec: string): string {
  const fields: Record<string, string> = { protocol: "tcp", published: "", target: "" };
  for (const field of spec.split(",")) {
    const equals = field.indexOf("=");
    if (equals <= 0) {
      throw new Error(`invalid publish opts format (should be name=value but got '${field}')`);
    }
    fields[field.slice(0, equals)] = field.slice(equals + 1);
  }
  return `${fields.published}:${fields.target}/${fields.protocol}`;
}

function parsePublish(spec: string): { port: string; binding: PortBinding }[] {
  const parts = spec.split(":");
  const container = parts.pop() ?? "";
  const host = parts.pop() ?? "";
  const ip = address(parts.join(":"));
  const slash = container.indexOf("/");
  const range = slash < 0 ? container : container.slice(0, slash);
  const protocol = (slash < 0 ? "" : container.slice(slash + 1)).toLowerCase() || "tcp";
  if (range === "") throw new Error(`no port specified: ${spec}<empty>`);
  if (!PROTOCOLS.includes(protocol)) throw new Error(`invalid proto: ${protocol}`);
  const [first, last] = named(range, "invalid containerPort: ");
  const [hostFirst, hostLast] = host === "" ? [0, 0] : named(host, "invalid hostPort: ");
  if (host !== "" && last - first !== hostLast - hostFirst && last !== first) {
    throw new Error(`invalid ranges specified for container and host Ports: ${range} and ${host}`);
  }
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const single = first === last && hostFirst !== hostLast ? `-${hostLast}` : "";
    return {
      port: `${first + i}/${protocol}`,
      binding: { HostIp: ip, HostPort: host === "" ? "" : `${hostFirst + i}${single}` },
    };
  });
}

function address(text: string): string {
  const ip = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
  if (ip !== "" && !isIpv4(ip) && !isIpv6(ip)) throw new Error(`invalid IP address: ${ip}`);
  return ip;
}

function named(range: string, prefix: string): [number, number] {
  try {
    return portRange(range);
  } catch {
    throw new Error(prefix + range);
  }
}

/** "80" or "8000-8010". */
function portRange(text: string): [number, number] {
  if (text === "") throw new Error("empty string specified for ports");
  const dash = text.indexOf("-");
  const first = portNumber(dash < 0 ? text : text.slice(0, dash));
  const last = dash < 0 ? first : portNumber(text.slice(dash + 1));
  if (last < first) throw new Error(`invalid range specified for port: ${text}`);
  return [first, last];
}

function portNumber(text: string): number {
  if (!/^\d+$/.test(text)) {
    throw new Error(`strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  if (Number(text) > 65535) {
    throw new Error(`strconv.ParseUint: parsing ${JSON.stringify(text)}: value out of range`);
  }
  return Number(text);
}
