/** TLS to a log server. By node:tls, since Deno's own cannot leave the check of the certificate out, which Docker's option asks for. */
import { connect, type TLSSocket } from "node:tls";
import { EngineError } from "../../base/errors.ts";
import { goErrno } from "../../base/go_errno.ts";
import type { LogAddress, LogConnection } from "./address.ts";

export interface TlsFiles {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly skipVerify: boolean;
}

/** @param received gets what the server answers. @throws when the server is not there, or not who it should be. */
export async function dialTls(
  { host, port }: LogAddress,
  files: TlsFiles,
  received: (bytes: Uint8Array) => void = () => {},
): Promise<Pick<LogConnection, "write" | "close">> {
  const options = {
    host,
    port,
    servername: /^[0-9.]+$|:/.test(host) ? "" : host,
    rejectUnauthorized: !files.skipVerify,
    ...(files.ca ? { ca: read(files.ca) } : {}),
    ...(files.cert ? { cert: read(files.cert) } : {}),
    ...(files.key ? { key: read(files.key) } : {}),
  };
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const opening = connect(options, () => resolve(opening));
    opening.once("error", (error) => reject(new Error(`dial tcp ${host}:${port}: ${error.message}`)));
  });
  let gone: Error | undefined;
  socket.on("error", (error) => gone = error);
  socket.on("close", () => gone ??= new Error("connection reset by peer"));
  socket.on("data", received);
  socket.unref();
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        if (gone !== undefined) return reject(gone);
        socket.write(bytes, (error) => error ? reject(error) : resolve());
      }),
    close: () => socket.destroy(),
  };
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new EngineError("system", `could not read ${path}: ${goErrno(error)}`, { cause: error });
  }
}
