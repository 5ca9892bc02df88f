import { EngineError, messageOf } from "../../base/errors.ts";

/** Where the server listens. */
export type ListenAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly hostname: string; readonly port: number };

/** A listening socket, with the address that clients use (`unix:///run/x.sock`, `tcp://127.0.0.1:2375`). */
export interface BoundListener {
  readonly address: string;
  accept(): Promise<Deno.Conn>;
  close(): void;
}

/** `sockaddr_un.sun_path` holds 108 bytes, the closing NUL included (unix(7)). */
const MAX_SOCKET_PATH = 107;
/** Owner and group may read and write, nobody else: 0777 without this is 0660, as dockerd's socket. */
const SOCKET_UMASK = 0o117;

/**
 * Reads one value of `-H`: `unix:///path`, `tcp://host:port`.
 *
 * @throws EngineError "invalid" for everything else.
 */
export function parseListenAddress(text: string): ListenAddress {
  const unix = /^unix:\/\/(\/.+)$/.exec(text);
  if (unix?.[1] !== undefined) return { kind: "unix", path: unix[1] };
  const tcp = /^tcp:\/\/(\[[0-9a-fA-F:.]+\]|[^:/\[\]]*)(?::([0-9]{1,5}))?\/?$/.exec(text);
  if (tcp !== null) {
    const hostname = (tcp[1] || "127.0.0.1").replace(/^\[|\]$/g, "");
    const port = tcp[2] === undefined ? 2375 : Number(tcp[2]);
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
export async function listen(address: ListenAddress): Promise<BoundListener> {
  return address.kind === "unix" ? await listenUnix(address.path) : listenTcp(address.hostname, address.port);
}

async function listenUnix(path: string): Promise<BoundListener> {
  if (new TextEncoder().encode(path).length > MAX_SOCKET_PATH) {
    throw new EngineError("invalid", `socket path is longer than ${MAX_SOCKET_PATH} bytes: ${path}`);
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
  if (!isLoopback(hostname)) {
    throw new EngineError(
      "invalid",
      `refusing to listen on ${hostname}:${port}: whoever reaches the API without TLS owns the account it runs under`,
      { hint: `use tcp://127.0.0.1:${port} and, for other machines, ssh` },
    );
  }
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
  const host = bound.hostname.includes(":") ? `[${bound.hostname}]` : bound.hostname;
  return {
    address: `tcp://${host}:${bound.port}`,
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
