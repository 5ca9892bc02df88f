/** A network process of paper: for the rehearsal, and for tests. */
import type { NetdOrder, NetdResult } from "../net/netd/client.ts";
import type { NetdHello, SandboxState } from "../net/netd/protocol.ts";
import { EPHEMERAL_PORTS, type PublishedPort } from "../net/network_host_ports.ts";
import type { OpenPlane } from "./network_plane.ts";

const HELLO: NetdHello = { protocol: 0, version: "", pid: 0, hostPid: 0, outbound: "none", paths: [] };

/** Grants every wish, and makes nothing. `heed` hears each request first; what it throws is the answer. */
export function paperPlane(heed: (order: NetdOrder) => void = () => {}): OpenPlane {
  let next: number = EPHEMERAL_PORTS.first;
  const publish = ({ publish: { ports, assigned } }: SandboxState): readonly PublishedPort[] => {
    if (assigned.length > 0) return assigned;
    return ports.flatMap(({ port, protocol, hostAddresses, first }) => {
      const hostPort = first || next++;
      return hostAddresses.map((hostAddress) => ({ port, protocol, hostAddress, hostPort }));
    });
  };
  const answer = (order: NetdOrder): unknown => {
    switch (order.op) {
      case "hello":
        return { hello: HELLO };
      case "sync": {
        const published = order.sandboxes.map((sandbox) => [sandbox.containerId, publish(sandbox)]);
        return { problems: [], published: Object.fromEntries(published) };
      }
      case "sandbox.add":
      case "sandbox.update":
        return { ports: publish(order.sandbox) };
      case "stats":
        return { stats: {} };
      default:
        return {};
    }
  };
  // deno-lint-ignore require-await -- what heed throws is to be a rejection
  const request = async <O extends NetdOrder>(order: O): Promise<NetdResult<O>> => {
    heed(order);
    // The shapes are those of the protocol, by the switch above.
    return { seq: 0, ok: true, ...answer(order) as object } as unknown as NetdResult<O>;
  };
  return async (onRestart) => {
    const netd = { hello: HELLO, request };
    await onRestart(netd);
    return { ...netd, close: () => {} };
  };
}
