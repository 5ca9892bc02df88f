/**
 * Listening by node:net and node:tls, for what Deno.listen cannot do: ask clients for certificates, and take over a
 * socket that was opened by somebody else. Loaded only when one of them is wanted.
 */
import type { Server, Socket } from "node:net";
import type { TlsOptions } from "node:tls";
import { EngineError, messageOf } from "../../base/errors.ts";
import { nodeBuiltin } from "../../base/node_builtin.ts";
import type { BoundListener, ListenSecurity } from "./listener.ts";
import { NodeConn } from "./node_conn.ts";

const { createServer } = nodeBuiltin("node:net");
const { createServer: createTlsServer } = nodeBuiltin("node:tls");

/** A client that does not finish its handshake is no client. */
const HANDSHAKE_MS = 10_000;

/**
 * Starts listening with TLS when `security` has it.
 *
 * @param place host and port, or a descriptor that listens already.
 * @param address where clients connect, `tcp://…` or `unix://…`; port 0 is replaced by the one that was given.
 * @throws EngineError when the address is taken or the certificates are unusable.
 */
export async function listenByNode(
  place: { readonly host: string; readonly port: number } | { readonly fd: number },
  address: string,
  { tls, log = () => {} }: Omit<ListenSecurity, "plainTcp">,
): Promise<BoundListener> {
  const queue: Socket[] = [];
  const waiting: PromiseWithResolvers<NodeConn>[] = [];
  const take = (socket: Socket) => {
    // Errors of a connection belong to whoever reads or writes it; before that it is gone, no more.
    socket.on("error", () => {});
    const next = waiting.shift();
    if (next === undefined) queue.push(socket);
    else next.resolve(new NodeConn(socket));
  };
  let server: Server;
  try {
    server = tls === undefined
      ? createServer({ allowHalfOpen: true }, take)
      : createTlsServer(tlsOptions(tls), take);
  } catch (error) {
    throw new EngineError("invalid", `cannot use the certificates for ${address}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  server.on("tlsClientError", (error: Error) => log(`TLS handshake error on ${address}: ${error.message}`));
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: Error & { code?: string }) => {
      const inUse = error.code === "EADDRINUSE";
      const what = inUse ? "bind: address already in use" : error.message;
      const text = `listen ${address.replace(/^(\w+):\/\//, "$1 ")}: ${what}`;
      reject(new EngineError(inUse ? "conflict" : "system", text, { cause: error }));
    });
    server.listen("fd" in place ? place : { ...place, exclusive: true }, () => resolve());
  });
  server.on("error", (error) => log(`listener of ${address} failed`, error));
  const bound = server.address();
  return {
    address: typeof bound === "object" && bound !== null && "port" in place
      ? address.replace(/:\d+$/, `:${bound.port}`)
      : address,
    accept() {
      const socket = queue.shift();
      if (socket !== undefined) return Promise.resolve(new NodeConn(socket));
      const next = Promise.withResolvers<NodeConn>();
      waiting.push(next);
      return next.promise;
    },
    close() {
      server.close();
      for (const socket of queue.splice(0)) socket.destroy();
      for (const { reject } of waiting.splice(0)) reject(new Deno.errors.BadResource("listener is closed"));
    },
  };
}

function tlsOptions({ ca, cert, key }: { cert: string; key: string; ca?: string }): TlsOptions {
  return {
    cert,
    key,
    ...(ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }),
    minVersion: "TLSv1.2",
    handshakeTimeout: HANDSHAKE_MS,
    allowHalfOpen: true,
  } as TlsOptions;
}
