import { isDoneWithin } from "../base/deadline.ts";
import { EngineError } from "../base/errors.ts";
import { type RawConn } from "./http/byte_source.ts";
import { Connection } from "./http/connection.ts";
import { type Handler } from "./http/exchange.ts";
import { ConstantAnswers } from "./http/response.ts";
import { type BoundListener, listen, type ListenAddress, type ListenSecurity } from "./http/listener.ts";

export interface ServerOptions {
  /** From the first byte of a request's head to its last; default one minute. */
  readonly headTimeoutMs?: number;
  /** The engine's own log; default standard error. */
  readonly log?: (message: string, error?: unknown) => void;
  /** Default: unix sockets only. */
  readonly security?: ListenSecurity;
  /** Unix sockets to listen on as well, each only when it is free. */
  readonly spare?: readonly string[];
}

export interface Server {
  /** Where clients connect, in the order of the listeners: `unix:///…`, `tcp://127.0.0.1:port`. */
  readonly addresses: readonly string[];
  /**
   * Stops accepting, ends streams, lets requests that are being answered finish for at most `graceMs`
   * (default 5000), then closes what is left.
   */
  close(options?: { graceMs?: number }): Promise<void>;
}

/**
 * Serves HTTP/1.1 on all `listeners`, or on none: when one cannot be opened the others are closed again.
 *
 * @throws EngineError when an address cannot be used.
 */
export async function serveHttp(
  handler: Handler,
  listeners: readonly ListenAddress[],
  options: ServerOptions = {},
): Promise<Server> {
  const log = options.log ?? ((message, error) => console.error(`api: ${message}`, error ?? ""));
  const bound: BoundListener[] = [];
  try {
    const security = { plainTcp: false, log, ...options.security };
    for (const address of listeners) bound.push(...await listen(address, security));
  } catch (error) {
    for (const listener of bound) listener.close();
    throw error;
  }
  for (const path of options.spare ?? []) {
    try {
      bound.push(...await listen({ kind: "unix", path }));
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      // Somebody else's, as it may be.
    }
  }
  const connections = new Map<Connection, Promise<void>>();
  let closing = false;
  const { headTimeoutMs = 60_000 } = options;
  const connectionOptions = { handler, headTimeoutMs, log, constants: new ConstantAnswers() };

  async function acceptAll(listener: BoundListener): Promise<void> {
    while (!closing) {
      let conn: RawConn;
      try {
        conn = await listener.accept();
      } catch (error) {
        if (closing) return;
        // Out of descriptors, most likely: some connection has to end first. Everything else passes as well.
        log("accept failed", error);
        await Promise.race([...connections.values(), new Promise((resolve) => setTimeout(resolve, 1_000))]);
        continue;
      }
      // It came in the moment in which the listener was closed: nobody would close it later.
      if (closing) return conn.close();
      const connection = new Connection(conn, connectionOptions);
      connections.set(connection, connection.run().finally(() => connections.delete(connection)));
    }
  }
  const accepting = bound.map(acceptAll);

  async function closeAll(graceMs: number): Promise<void> {
    closing = true;
    for (const listener of bound) listener.close();
    for (const connection of connections.keys()) connection.shutdown();
    const answering = [...connections].flatMap(([{ takenOver }, run]) => takenOver ? [] : [run]);
    await isDoneWithin(Promise.all(answering), graceMs);
    for (const connection of connections.keys()) connection.close();
    await Promise.all(accepting);
  }
  let closed: Promise<void> | undefined;

  return {
    addresses: bound.map((listener) => listener.address),
    close: ({ graceMs = 5_000 } = {}) => closed ??= closeAll(graceMs),
  };
}
