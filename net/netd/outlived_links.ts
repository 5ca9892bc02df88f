/**
 * Interfaces of containers that have ended. The kernel takes them away with their namespace, which is over when nobody is in it, and when connections have
 * been brought to their end: what a container has sent before it ended may still wait for a slow receiver. Others may be in it
 * (`--network container:x`), and then it stays, though its addresses are another container's before long.
 */
import type { EventLoop } from "../../ffi/event_loop.ts";
import * as nl from "../netlink/mod.ts";
import { unless } from "./ensure.ts";
import type { LinkRemoval } from "./link_removal.ts";
import type { EndpointState } from "./protocol.ts";

/** So long they may bring to an end what they have begun. */
const GRACE_MS = 5_000;

export interface OutlivedLinksDeps {
  readonly loop: EventLoop;
  /** Of the rootless host. */
  readonly route: nl.Netlink;
  readonly removal: LinkRemoval;
  /** A container that lives has a link of this name. */
  readonly inUse: (link: string) => boolean;
}

export class OutlivedLinks {
  readonly #deps: OutlivedLinksDeps;
  /** By network and address. */
  readonly #links = new Map<string, string>();

  constructor(deps: OutlivedLinksDeps) {
    this.#deps = deps;
  }

  /** `link`: the endpoint's in the rootless host. It is taken away if it is there when its time is over. */
  add(endpoint: EndpointState, link: string, containerId: string): void {
    const keys = keysOf(endpoint);
    for (const key of keys) this.#links.set(key, link);
    this.#deps.loop.after(GRACE_MS, () => {
      for (const key of keys) if (this.#links.get(key) === link) this.#links.delete(key);
      if (!this.#deps.inUse(link)) this.#deps.removal.remove(link, containerId);
    });
  }

  /** Another container has these addresses from now on: nothing goes to the one that had them before, and nothing comes from there. */
  close(endpoint: EndpointState): void {
    const { route } = this.#deps;
    for (const key of keysOf(endpoint)) {
      const link = this.#links.get(key);
      this.#links.delete(key);
      const index = link === undefined ? undefined : nl.getLink(route, link)?.index;
      if (index === undefined) continue;
      unless(["ENODEV", "ENETDOWN", "EOPNOTSUPP"], () => nl.closeBridgePort(route, index));
    }
  }
}

const keysOf = ({ networkId, ipv4, ipv6 }: EndpointState): string[] =>
  [ipv4, ipv6].flatMap((address) => address === undefined ? [] : [`${networkId} ${address}`]);
