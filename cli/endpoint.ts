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

/** Parses `unix:///path`, `/path`, `tcp://host:port` or `http://host:port`. Throws `CliError`. */
export function parseHost(host: string): Endpoint {
  const text = host.trim();
  const unable = () => new CliError(`unable to parse docker host \`${text}\``);
  if (text.startsWith("/")) return unixEndpoint(text, false);
  const match = /^([a-z0-9+]+):\/\/(.*)$/.exec(text);
  if (!match) throw unable();
  const [, scheme = "", rest = ""] = match;
  if (scheme === "unix") {
    if (rest === "") throw unable();
    return unixEndpoint(rest, false);
  }
  if (scheme === "tcp" || scheme === "http") {
    const authority = rest.replace(/\/.*$/, "");
    const address = /^(\[[0-9a-fA-F:.]+\]|[^:]*)(?::(\d+))?$/.exec(authority);
    if (!address) throw unable();
    const hostname = (address[1] ?? "").replace(/^\[|\]$/g, "") || "127.0.0.1";
    const port = Number(address[2] ?? "2375");
    return {
      url: text,
      httpHost: authority,
      isDefault: false,
      dial: async () => {
        const conn = await Deno.connect({ hostname, port });
        conn.setNoDelay(true);
        return conn;
      },
    };
  }
  throw new CliError(`protocol not available: ${scheme} (use unix:// or tcp://)`);
}

/** -H, then BERTH_HOST, then DOCKER_HOST, then the user's own engine. */
export function chosenEndpoint(hosts: readonly string[]): Endpoint {
  if (hosts.length > 1) throw new CliError("Specify only one -H");
  const host = hosts[0] ?? (Deno.env.get("BERTH_HOST") || Deno.env.get("DOCKER_HOST") || "");
  if (host !== "") return parseHost(host);
  return unixEndpoint(defaultPaths(Deno.uid() ?? 0).socket, true);
}
