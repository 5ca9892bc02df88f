/**
 * What has to be said of an API on TCP: there is no TLS, so whoever reaches the port has the account. moby says it in the same words
 * (daemon/info.go).
 *
 * @param hosts listen addresses, `tcp://127.0.0.1:2375`
 */
export function listenWarnings(hosts: readonly string[]): string[] {
  return hosts.filter((host) => host.startsWith("tcp://")).map((host) =>
    `API is accessible on http://${host.slice("tcp://".length)} without encryption.\n` +
    "         Access to the remote API is equivalent to root access on the host. Refer\n" +
    "         to the 'Docker daemon attack surface' section in the documentation for\n" +
    "         more information: https://docs.docker.com/go/attack-surface/"
  );
}
