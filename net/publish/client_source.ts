/** As whom a client is known to the container. */
import type { Topology } from "../netd/topology.ts";

/**
 * The client's own address where the container can know it by that. The gateway's instead for clients that are the host's own by way of
 * its loopback, that are in one of berth's subnets (the container would answer them directly), link-local ones, and those of
 * the other family. Undefined: there is no gateway; any address will do.
 *
 * @param client 4 or 16 bytes, as `target`, the container's address
 */
export function sourceFor(
  client: Uint8Array,
  target: Uint8Array,
  topology: Topology,
): Uint8Array | undefined {
  const real = client.length === target.length && !isLocal(client) && topology.subnetOf(client) === undefined;
  return real ? client : topology.subnetOf(target)?.gateway;
}

/** 127.0.0.0/8, ::1 and fe80::/10. */
function isLocal(address: Uint8Array): boolean {
  if (address.length === 4) return address[0] === 127;
  if (address[0] === 0xfe) return ((address[1] ?? 0) & 0xc0) === 0x80;
  return address[15] === 1 && address.every((byte, index) => byte === 0 || index === 15);
}
