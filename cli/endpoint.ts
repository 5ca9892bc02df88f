/** Where the engine listens: what -H, --context, the environment and contexts name. */

import { hints } from "../base/hints.ts";
import { defaultPaths } from "../base/paths.ts";
import { chosenContext, type ContextEndpoint, contextEndpoint } from "./contexts.ts";
import type { EngineConnection } from "./connection.ts";
import { CliError, ConnectError } from "./errors.ts";
import { type ClientTls, clientTls } from "./client_tls.ts";
import type { TlsFlagValues } from "./tls_flags.ts";

export interface Endpoint {
  /** As the user wrote it, for messages. */
  readonly url: string;
  /** Value of the HTTP Host header. */
  readonly httpHost: string;
  /** The user's own engine, which the command line starts when nothing answers. */
  readonly isDefault: boolean;
  dial(): Promise<EngineConnection>;
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
const DEFAULT_TLS_PORT = 2376;
const MAX_PORT = 65535;
const unresolved = (reason: string) =>
  new CliError(`Failed to initialize: unable to resolve docker endpoint: ${reason}`);

/**
 * Reads `unix:///path`, `/path`, `ssh://[user@]host[:port][/path]`, `tcp://host:port`, `http://host:port`, `host:port` or `host`. What an address leaves out is the user's own
 * socket, localhost, and port 2375, with TLS 2376.
 *
 * @param tls how to speak TLS with an address of TCP; absent: without.
 * @throws CliError with docker's text.
 */
export function parseHost(host: string, tls?: ClientTls): Endpoint {
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
      return tcpEndpoint(scheme, rest, tls);
    case "https":
      return tcpEndpoint(scheme, rest, tls ?? {});
    case "ssh":
      return sshEndpoint(text);
    case "npipe":
    case "fd":
      throw new CliError(
        `Failed to initialize: protocol not available: ${scheme} (use unix://, tcp:// or ssh://)`,
      );
    default:
      throw unresolved(`invalid bind address format: ${text}`);
  }
}

/** An engine of another machine, reached through ssh as docker does: no port of it need be open. */
function sshEndpoint(url: string): Endpoint {
  return {
    url,
    httpHost: "docker.example.com",
    isDefault: false,
    dial: async () => (await import("./ssh_dial.ts")).dialSsh(url),
  };
}

function tcpEndpoint(scheme: string, rest: string, tls: ClientTls | undefined): Endpoint {
  const [, authority = "", path = ""] = /^([^/]*)(.*)$/.exec(rest) ?? [];
  const address = /^(?:[^@]*@)?(\[[0-9a-fA-F:.]+\]|[^:]*)(:.*)?$/.exec(authority);
  if (!address) throw unresolved(`invalid bind address format: ${scheme}://${rest}`);
  const name = address[1] || "localhost";
  const digits = address[2]?.slice(1) ?? "";
  if (!/^[0-9]*$/.test(digits)) {
    throw unresolved(`parse "${scheme}://${rest}": invalid port "${address[2]}" after host`);
  }
  const port = digits === "" ? tls === undefined ? DEFAULT_PORT : DEFAULT_TLS_PORT : Number(digits);
  return {
    url: `${scheme}://${name}:${port}${path}`,
    httpHost: `${name}:${port}`,
    isDefault: false,
    dial: async () => {
      if (port > MAX_PORT) {
        throw new ConnectError(`error during connect: dial tcp: address ${port}: invalid port`);
      }
      const hostname = name.replace(/^\[|\]$/g, "");
      if (tls !== undefined) return await (await import("./tls_dial.ts")).dialTls(hostname, port, tls);
      const conn = await Deno.connect({ hostname, port });
      conn.setNoDelay(true);
      return conn;
    },
  };
}

function ownEndpoint(): Endpoint {
  const uid = Deno.uid() ?? 0;
  const { execRoot, socket, probedSocket } = defaultPaths(uid);
  const endpoint = unixEndpoint(socket, true);
  if (uid === 0 || probedSocket !== undefined) return endpoint;
  return {
    ...endpoint,
    dial: async () => {
      requireOwnDirectory(execRoot, uid);
      return await endpoint.dial();
    },
  };
}

/**
 * Without XDG_RUNTIME_DIR the socket is below /tmp, where anybody could have made its directory first and would be told what is meant for
 * the user's own engine: passwords of registries, for instance.
 *
 * @throws {CliError} it is not the user's alone; {Deno.errors.NotFound} there is none
 */
export function requireOwnDirectory(path: string, uid: number): void {
  const { isDirectory, uid: owner, mode } = Deno.lstatSync(path);
  if (isDirectory && owner === uid && ((mode ?? 0) & 0o022) === 0) return;
  const problem = owner !== uid
    ? `it belongs to user ${owner}, not to you`
    : isDirectory
    ? "others may write to it"
    : "it is no directory";
  throw new CliError(
    `cannot use the engine's socket in ${path}: ${problem}\n\n${hints.runtimeDirectoryMissing}`,
  );
}

/** What of the flags before the command says where the engine is. */
export interface EndpointFlags {
  readonly values: Readonly<Required<TlsFlagValues>> & {
    readonly host: readonly string[];
    readonly context: string;
  };
  readonly changed: ReadonlySet<string>;
}

/** Name of the context that counts: --context or -H; BERTH_HOST, DOCKER_HOST; DOCKER_CONTEXT; `context use`; in docker's order. */
export function contextName({ values: { host: hosts, context } }: EndpointFlags): string {
  if (context !== "") return context;
  return (hosts[0] ?? environmentHost()) !== "" ? "default" : chosenContext();
}

/** What the context "default" stands for: -H, the environment, the user's own engine. */
export function defaultHost({ values: { host: hosts } }: EndpointFlags): string {
  return hosts[0] || environmentHost() || ownEndpoint().url;
}

/** @throws {CliError} in docker's words. */
export function chosenEndpoint(flags: EndpointFlags): Endpoint {
  const { values, changed } = flags;
  const { host: hosts, context } = values;
  if (hosts.length > 1) throw new CliError("Specify only one -H");
  if (context !== "" && hosts.length > 0) {
    throw new CliError("conflicting options: cannot specify both --host and --context");
  }
  const named = contextName(flags);
  if (named !== "default") return endpointOfContext(contextEndpoint(named));
  const address = hosts[0] ?? environmentHost();
  return address === "" ? ownEndpoint() : parseHost(address, clientTls(values, changed));
}

const environmentHost = (): string => Deno.env.get("BERTH_HOST") || Deno.env.get("DOCKER_HOST") || "";

const endpointOfContext = ({ host, tls }: ContextEndpoint): Endpoint => parseHost(host, tls);
