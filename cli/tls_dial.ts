/** A TLS connection to an engine; loaded only for one. */

import { messageOf } from "../base/errors.ts";
import type { ClientTls } from "./client_tls.ts";
import { CliError, ConnectError } from "./errors.ts";

/** @throws {CliError} a certificate cannot be used; {ConnectError} the other side is not who it should be, or refuses us. */
export async function dialTls(hostname: string, port: number, tls: ClientTls): Promise<Deno.Conn> {
  const { cert, key } = tls;
  const pair = cert === undefined || key === undefined
    ? {}
    : { cert: read(cert, "certificate"), key: read(key, "key") };
  const caCerts = tls.ca === undefined ? {} : { caCerts: [read(tls.ca, "CA certificate")] };
  const conn = await Deno.connectTls({ hostname, port, ...caCerts, ...pair });
  try {
    await conn.handshake();
  } catch (error) {
    conn.close();
    throw new ConnectError(`error during connect: https://${hostname}:${port}: ${messageOf(error)}`);
  }
  return conn;
}

function read(path: string, what: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new CliError(`Failed to initialize: could not read ${what} "${path}": ${messageOf(error)}`);
  }
}
