import { addressBytes, tryParseAddress } from "../../base/address.ts";
import type { Upstream } from "./resolver.ts";

const DNS_PORT = 53;

/**
 * The servers of a resolv.conf as the forwarder takes them. What is no address is left out, and so is a link-local one
 * at an interface that is not there.
 *
 * @param interfaceIndex of the host's interface with this name.
 */
export function upstreamsAt(
  servers: readonly string[],
  interfaceIndex: (name: string) => number | undefined,
): Upstream[] {
  return servers.flatMap((server): Upstream[] => {
    const address = tryParseAddress(server);
    if (address === undefined) return [];
    const bytes = addressBytes(address);
    if (address.family === 4) return [{ family: "inet", address: bytes, port: DNS_PORT }];
    if (address.zone === "") return [{ family: "inet6", address: bytes, port: DNS_PORT }];
    const scope = interfaceIndex(address.zone);
    return scope === undefined ? [] : [{ family: "inet6", address: bytes, port: DNS_PORT, scope }];
  });
}
