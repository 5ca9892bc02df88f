/** Which certificates the command line shows and trusts. */

import { certificateDirectory } from "../base/paths.ts";
import type { TlsFlagValues } from "./tls_flags.ts";
import { exists } from "../base/exists.ts";

/** Paths of PEM files. What is absent: the system's authorities, and no certificate of the client's. */
export interface ClientTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/**
 * What flags and environment say, as docker reads them: DOCKER_TLS_VERIFY and DOCKER_TLS switch it on when they are not empty, files that
 * are not named are those in DOCKER_CERT_PATH or ~/.docker that exist. The server is verified in any case: a connection to whoever
 * answers would give him the account. undefined: no TLS.
 */
export function clientTls(values: TlsFlagValues, changed: ReadonlySet<string>): ClientTls | undefined {
  const set = (name: string) => (Deno.env.get(name) ?? "") !== "";
  const verify = changed.has("tlsverify") ? values.tlsverify === true : set("DOCKER_TLS_VERIFY");
  const tls = changed.has("tls") ? values.tls === true : set("DOCKER_TLS");
  if (!verify && !tls) return undefined;
  const directory = certificateDirectory();
  const file = (given: string | undefined, name: string) => {
    if (given !== undefined && given !== "") return given;
    return exists(`${directory}/${name}`) ? `${directory}/${name}` : undefined;
  };
  return filesOf({
    ca: file(values.tlscacert, "ca.pem"),
    cert: file(values.tlscert, "cert.pem"),
    key: file(values.tlskey, "key.pem"),
  });
}

/** Without the keys of files that there are not. */
export function filesOf(files: { [K in keyof ClientTls]: string | undefined }): ClientTls {
  return Object.fromEntries(Object.entries(files).filter(([, path]) => path !== undefined));
}
