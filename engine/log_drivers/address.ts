/** Addresses of log servers, and connections to them. */
import { invalid } from "../../base/errors.ts";

/** `host` and `port`, or the path of a unix socket. */
export interface LogAddress {
  readonly scheme: string;
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

/** `scheme://host[:port]`; undefined when it is not of that form. */
export function parseAddress(text: string, defaultPort: number): LogAddress | undefined {
  const match = /^([a-z][a-z0-9+.-]*):\/\/(?:[^@/]*@)?(\[[0-9a-fA-F:.]+\]|[^:/]*)(?::(\d{1,5}))?(\/.*)?$/i
    .exec(text);
  if (match === null) return undefined;
  const [, scheme = "", host = "", port, path = ""] = match;
  if (Number(port ?? defaultPort) > 65_535) {
    throw invalid(`parse "${text}": invalid port ":${port}" after host`);
  }
  return {
    scheme: scheme.toLowerCase(),
    host: host.replace(/^\[|\]$/g, ""),
    port: Number(port ?? defaultPort),
    path,
  };
}

/** A stream socket that knows when its other end has gone: what is written into that is lost without a word. */
export class LogConnection {
  readonly #conn: Deno.Conn;
  #gone: Error | undefined;

  private constructor(conn: Deno.Conn, received: (bytes: Uint8Array) => void) {
    this.#conn = conn;
    void this.#watch(received);
  }

  /**
   * @param received gets what the server answers; the bytes are its own only until it returns.
   * @throws in Docker's words: `dial tcp 127.0.0.1:514: connect: connection refused`.
   */
  static async dial(
    { scheme, host, port, path }: LogAddress,
    received: (bytes: Uint8Array) => void = () => {},
  ): Promise<LogConnection> {
    const where = scheme === "unix" ? path : `${host}:${port}`;
    try {
      return new LogConnection(
        scheme === "unix"
          ? await Deno.connect({ transport: "unix", path })
          : await Deno.connect({ hostname: host, port }),
        received,
      );
    } catch (error) {
      throw new Error(`dial ${scheme === "unix" ? "unix" : "tcp"} ${where}: ${reasonOf(error)}`);
    }
  }

  async #watch(received: (bytes: Uint8Array) => void): Promise<void> {
    const space = new Uint8Array(512);
    try {
      for (let count = await this.#conn.read(space); count !== null; count = await this.#conn.read(space)) {
        received(space.subarray(0, count));
      }
      this.#gone = new Error("connection reset by peer");
    } catch (error) {
      this.#gone = error instanceof Error ? error : new Error(String(error));
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    // The read that ends with the connection gets its turn.
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (this.#gone !== undefined) throw this.#gone;
    for (let sent = 0; sent < bytes.length;) sent += await this.#conn.write(bytes.subarray(sent));
  }

  close(): void {
    try {
      this.#conn.close();
    } catch {
      // Closed by the other end.
    }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.ConnectionRefused) return "connect: connection refused";
  if (error instanceof Deno.errors.NotFound) return "connect: no such file or directory";
  if (error instanceof Deno.errors.PermissionDenied) return "connect: permission denied";
  return error instanceof Error ? error.message : String(error);
}

/** UDP to one address. Nobody says whether anybody listens. */
export class DatagramSender {
  readonly #socket: { send(bytes: Uint8Array): Promise<void>; close(): void };

  private constructor(socket: { send(bytes: Uint8Array): Promise<void>; close(): void }) {
    this.#socket = socket;
  }

  /** @throws when the name has no address. */
  static async open({ host, port }: LogAddress): Promise<DatagramSender> {
    const { createSocket } = await import("node:dgram");
    const { promises: dns } = await import("node:dns");
    const { address, family } = await dns.lookup(host || "localhost").catch((error) => {
      throw new Error(`dial udp: lookup ${host}: ${error instanceof Error ? error.message : error}`);
    });
    const socket = createSocket(family === 6 ? "udp6" : "udp4");
    // An answer that nobody listens comes by ICMP, to a later datagram; the log is not for that.
    socket.on("error", () => {});
    socket.unref();
    return new DatagramSender({
      send: (bytes) =>
        new Promise((resolve, reject) =>
          socket.send(bytes, port, address, (error) => error ? reject(error) : resolve())
        ),
      close: () => socket.close(),
    });
  }

  send(bytes: Uint8Array): Promise<void> {
    return this.#socket.send(bytes);
  }

  close(): void {
    this.#socket.close();
  }
}
