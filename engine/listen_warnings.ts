import type { TlsSettings } from "./tls_settings.ts";

/**
 * What has to be said of an API on TCP that lets everybody in who reaches the port. moby says it in the same words
 * (daemon/info.go).
 *
 * @param hosts listen addresses, `tcp://127.0.0.1:2375`
 */
export function listenWarnings(hosts: readonly string[], tls: TlsSettings): string[] {
  if (tls.mode === "verify" || tls.mode === "unset") return [];
  const [scheme, lack] = tls.mode === "encrypt"
    ? ["https", "without TLS client verification"]
    : ["http", "without encryption"];
  return hosts.filter((host) => host.startsWith("tcp://")).map((host) =>
    `API is accessible on ${scheme}://${host.slice("tcp://".length)} ${lack}.\n` +
    "         Access to the remote API is equivalent to root access on the host. Refer\n" +
    "         to the 'Docker daemon attack surface' section in the documentation for\n" +
    "         more information: https://docs.docker.com/go/attack-surface/"
  );
}
