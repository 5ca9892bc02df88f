import { certificateDirectory } from "../base/paths.ts";
import type { TlsFlags } from "./serve_options.ts";

/** How the API is served on TCP. */
export interface TlsSettings {
  /**
   * verify: clients show a certificate; encrypt: TLS that lets everybody in; plain: TCP without TLS was asked for by
   * `tls` or `tlsverify` being false, as dockerd wants it; unset: nothing was said, so no TCP.
   */
  readonly mode: "verify" | "encrypt" | "plain" | "unset";
  /** Paths of PEM files. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** dockerd's rules: `tlsverify` alone means `tls` too, and files that are not named lie in ~/.docker. */
export function tlsSettings(
  { tls, tlsverify, tlscacert, tlscert, tlskey }: TlsFlags,
  directory = certificateDirectory(),
): TlsSettings {
  const mode = tlsverify === true
    ? "verify"
    : tls === true
    ? "encrypt"
    : tls === false || tlsverify === false
    ? "plain"
    : "unset";
  return {
    mode,
    ca: tlscacert || `${directory}/ca.pem`,
    cert: tlscert || `${directory}/cert.pem`,
    key: tlskey || `${directory}/key.pem`,
  };
}
