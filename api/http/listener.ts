import { EngineError, messageOf } from "../../base/errors.ts";
import type { RawConn } from "./byte_source.ts";
import type { InheritedSocket } from "./inherited_sockets.ts";

/** Where the server listens. */
export type ListenAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly hostname: string; readonly port: number }
  /** Sockets of socket activation: all ("" or "*"), or one by its name or number. */
  | { readonly kind: "fd"; readonly name: string };

/** How TCP may be listened on. */
export interface ListenSecurity {
  /** TCP without TLS was asked for, for this machine alone. */
  readonly plainTcp: boolean;
  /** Contents of PEM files; with `ca` clients must show a certificate that it has signed. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string };
  readonly inherited?: readonly InheritedSocket[];
  /** Receives what went wrong with a client before it was one. */
  readonly log?: (message: string, error?: unknown) => void;
}

/** A listening socket, with the address that clients use (`unix:///run/x.sock`, `tcp://127.0.0.1:2375`). */
export interface BoundListener {
  readonly address: string;
  accept(): Promise<RawConn>;
  close(): void;
}

/** `sockaddr_un.sun_path` holds 108 bytes, the closing NUL included (unix(7)). */
const MAX_SOCKET_PATH = 107;
const PLAIN_PORT = 2375;
const TLS_PORT = 2376;
/** Owner and group may read and write, nobody else: 0777 without this is 0660, as dockerd's socket. */
const SOCKET_UMASK = 0o117;

/**
 * Reads one value of `-H`: `unix:///path`, `tcp://host:port`, `fd://name`. Without a port it is 2375, with TLS 2376.
 *
 * @throws EngineError "invalid" for everything else.
 */
export function parseListenAddress(text: string, tls = false): ListenAddress {
  const unix = /^unix:\/\/(\/.+)$/.exec(text);
  if (unix?.[1] !== undefined) return { kind: "unix", path: unix[1] };
  const inherited = /^fd:\/\/([^/]*)$/.exec(text);
  if (inherited?.[1] !== undefined) return { kind: "fd", name: inherited[1] };
  const tcp = /^tcp:\/\/(\[[0-9a-fA-F:.]+\]|[^:/\[\]]*)(?::([0-9]{1,5}))?\/?$/.exec(text);
  if (tcp !== null) {
    const hostname = (tcp[1] || "127.0.0.1").replace(/^\[|\]$/g, "");
    const port = tcp[2] === undefined ? tls ? TLS_PORT : PLAIN_PORT : Number(tcp[2]);
    if (port <= 65535) return { kind: "tcp", hostname, port };
  }
  throw new EngineError("invalid", `invalid bind address format: ${text}`, {
    hint: "use unix:///path/to/berth.sock or tcp://127.0.0.1:2375",
  });
}

/**
 * Starts listening. A socket file that nobody answers on any more is replaced; one that somebody answers on is not.
 *
 * @throws EngineError "conflict" when the address is taken, "invalid" when it may not be used.
 */
export async function listen(
  address: ListenAddress,
  security: ListenSecurity = { plainTcp: false },
): Promise<readonly BoundListener[]> {
  if (address.kind === "unix") return [await listenUnix(address.path)];
  if (address.kind === "fd") return await takeInherited(address.name, security);
  const { hostname, port } = address;
  if (security.tls === undefined) {
    refuseOpenTcp(hostname, port, security);
    return [listenTcp(hostname, port)];
  }
  if (security.tls.ca === undefined) refuseOpenTcp(hostname, port, { plainTcp: true });
  const { listenByNode } = await import("./node_listener.ts");
  return [await listenByNode({ host: hostname, port }, tcpAddress(hostname, port), security)];
}

async function takeInherited(name: string, security: ListenSecurity): Promise<BoundListener[]> {
  const sockets = security.inherited ?? [];
  if (sockets.length === 0) {
    throw new EngineError(
      "invalid",
      "no sockets found via socket activation: make sure the service was started by systemd",
    );
  }
  const wanted = ["", "*"].includes(name)
    ? sockets
    : sockets.filter((one) => one.name === name || String(one.number) === name);
  if (wanted.length === 0) throw new EngineError("invalid", `no socket by the name ${name} was handed over`);
  const { listenByNode } = await import("./node_listener.ts");
  const bound: BoundListener[] = [];
  try {
    for (const { fd, address } of wanted) {
      const { tls: _, ...plain } = security;
      if (address.kind === "unix") bound.push(await listenByNode({ fd }, `unix://${address.path}`, plain));
      else {
        const { hostname, port } = address;
        if (security.tls?.ca === undefined) {
          refuseOpenTcp(hostname, port, security.tls === undefined ? security : { plainTcp: true });
        }
        bound.push(await listenByNode({ fd }, tcpAddress(hostname, port), security));
      }
    }
  } catch (error) {
    for (const listener of bound) listener.close();
    throw error;
  }
  return bound;
}

/** Whoever may connect needs a certificate, or is on this machine and was asked in. */
function refuseOpenTcp(hostname: string, port: number, { plainTcp }: Pick<ListenSecurity, "plainTcp">): void {
  const where = tcpAddress(hostname, port).slice("tcp://".length);
  if (!isLoopback(hostname)) {
    throw new EngineError(
      "invalid",
      `refusing to listen on ${where} without TLS and certificates of clients: ` +
        "whoever reaches the API owns the account it runs under",
      { hint: "use --tlsverify with --tlscacert, --tlscert and --tlskey; or a unix socket and ssh" },
    );
  }
  if (!plainTcp) {
    throw new EngineError(
      "invalid",
      `refusing to listen on ${where} without TLS: every user and program of this machine could use your account`,
      { hint: "use --tlsverify with certificates, or say that it is meant: --tls=false" },
    );
  }
}

function tcpAddress(hostname: string, port: number): string {
  return `tcp://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

async function listenUnix(path: string): Promise<BoundListener> {
  if (new TextEncoder().encode(path).length > MAX_SOCKET_PATH) {
    throw new EngineError("invalid", `socket path is longer than ${MAX_SOCKET_PATH} bytes: ${path}`, {
      hint: "Choose a shorter one:  berth serve -H unix:///short/path/berth.sock",
    });
  }
  await removeStale(path);
  const mask = Deno.umask(SOCKET_UMASK);
  let listener: Deno.UnixListener;
  try {
    listener = Deno.listen({ transport: "unix", path });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) throw taken(path);
    throw new EngineError("system", `listen unix ${path}: ${messageOf(error)}`, { cause: error });
  } finally {
    Deno.umask(mask);
  }
  const inode = Deno.lstatSync(path).ino;
  return {
    address: `unix://${path}`,
    accept: () => listener.accept(),
    close() {
      listener.close();
      try {
        // Another engine may have replaced the file meanwhile: that one stays.
        if (Deno.lstatSync(path).ino === inode) Deno.removeSync(path);
      } catch {
        // Gone already.
      }
    },
  };
}

async function removeStale(path: string): Promise<void> {
  try {
    if (!Deno.lstatSync(path).isSocket) {
      throw new EngineError("conflict", `${path} exists and is not a socket`);
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  try {
    const conn = await Deno.connect({ transport: "unix", path });
    conn.close();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    if (!(error instanceof Deno.errors.ConnectionRefused)) {
      throw new EngineError("conflict", `cannot tell whether ${path} is in use: ${messageOf(error)}`);
    }
    Deno.removeSync(path);
    return;
  }
  throw taken(path);
}

function taken(path: string): EngineError {
  return new EngineError("conflict", `another program is listening on ${path}`, {
    hint: "stop it, or give another address with --host",
  });
}

function listenTcp(hostname: string, port: number): BoundListener {
  let listener: Deno.TcpListener;
  try {
    listener = Deno.listen({ hostname, port });
  } catch (error) {
    const inUse = error instanceof Deno.errors.AddrInUse;
    throw new EngineError(
      inUse ? "conflict" : "system",
      `listen tcp ${hostname}:${port}: ${inUse ? "bind: address already in use" : messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
  const bound = listener.addr;
  return {
    address: tcpAddress(bound.hostname, bound.port),
    async accept() {
      const conn = await listener.accept();
      conn.setNoDelay(true);
      return conn;
    },
    close: () => listener.close(),
  };
}

/** 127.0.0.0/8, ::1 and the name that stands for them (RFC 6761). */
function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" ||
    /^127\.(?:\d{1,3})\.(?:\d{1,3})\.(?:\d{1,3})$/.test(hostname);
}
