/** Where the engine listens: what -H, DOCKER_HOST and BERTH_HOST name. */

import { defaultPaths } from "../base/paths.ts";
import { CliError } from "./errors.ts";

export interface Endpoint {
  /** As the user wrote it, for messages. */
  readonly url: string;
  /** Value of the HTTP Host header. */
  readonly httpHost: string;
  /** The user's own engine, which the command line starts when nothing answers. */
  readonly isDefault: boolean;
  dial(): Promise<Deno.Conn>;
}

/** Endpoint of a Unix socket. */
export function unixEndpoint(path: string, isDefault: boolean): Endpoint {
  return {
    url: `unix://${path}`,
    httpHost: "localhost",
    isDefault,
    dial: () => Deno.connect({ transport: "unix", path }),
  };
}

const DEFAULT_PORT = 2375;
const unresolved = (reason: string) =>
  new CliError(`Failed to initialize: unable to resolve docker endpoint: ${reason}`);

/**
 * Reads `unix:///path`, `/path`, `tcp://host:port`, `http://host:port`, `host:port` or `host`. What an address leaves out is the user's own
 * socket, localhost, and port 2375.
 *
 * @throws CliError with docker's text.
 */
export function parseHost(host: string): Endpoint {
  const text = host.trim();
  if (text.startsWith("/")) return unixEndpoint(text, false);
  const separator = text.indexOf("://");
  const scheme = separator < 0 ? "tcp" : text.slice(0, separator);
  const rest = separator < 0 ? text : text.slice(separator + "://".length);
  switch (scheme) {
    case "unix":
      return rest === "" ? ownEndpoint() : unixEndpoint(rest, false);
    case "tcp":
    case "http":
      return tcpEndpoint(scheme, rest);
    case "ssh":
    case "npipe":
    case "fd":
      throw new CliError(`Failed to initialize: protocol not available: ${scheme} (use unix:// or tcp://)`);
    default:
      throw unresolved(`invalid bind address format: ${text}`);
  }
}

function tcpEndpoint(scheme: string, rest: string): Endpoint {
  const [, authority = "", path = ""] = /^([^/]*)(.*)$/.exec(rest) ?? [];
  const address = /^(?:[^@]*@)?(\[[0-9a-fA-F:.]+\]|[^:]*)(:.*)?$/.exec(authority);
  if (!address) throw unresolved(`invalid bind address format: ${scheme}://${rest}`);
  const name = address[1] || "localhost";
  const digits = address[2]?.slice(1) ?? "";
  if (!/^[0-9]*$/.test(digits)) {
    throw unresolved(`parse "${scheme}://${rest}": invalid port "${address[2]}" after host`);
  }
  const port = digits === "" ? DEFAULT_PORT : Number(digits);
  return {
    url: `${scheme}://${name}:${port}${path}`,
    httpHost: `${name}:${port}`,
    isDefault: false,
    dial: async () => {
      const conn = await Deno.connect({ hostname: name.replace(/^\[|\]$/g, ""), port });
      conn.setNoDelay(true);
      return conn;
    },
  };
}

const ownEndpoint = (): Endpoint => unixEndpoint(defaultPaths(Deno.uid() ?? 0).socket, true);

/** -H, then BERTH_HOST, then DOCKER_HOST, then the user's own engine. */
export function chosenEndpoint(hosts: readonly string[]): Endpoint {
  if (hosts.length > 1) throw new CliError("Specify only one -H");
  const host = hosts[0] ?? (Deno.env.get("BERTH_HOST") || Deno.env.get("DOCKER_HOST") || "");
  if (host !== "") return parseHost(host);
  return ownEndpoint();
}
