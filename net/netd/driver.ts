/** What a kind of network is made of. One of these for each driver that has links in the rootless host; `host` and `none` have none. */
import type { ProcessIdentity } from "../../base/process_identity.ts";
import type { Netlink } from "../netlink/mod.ts";
import type { Undo } from "./ensure.ts";
import type { LinkRemoval } from "./link_removal.ts";
import type { EndpointState, NetworkState } from "./protocol.ts";
import type { RootlessNamespace } from "./rootless_namespace.ts";
import type { Subnet } from "./topology.ts";

/** Where the default routes of bridges lead. */
export interface OutsideRoute {
  readonly link: string;
  /** Undefined: the link takes packets as they are, of both families. With it, those of IPv4 only. */
  readonly gateway4?: Uint8Array;
}

/** What drivers work with. */
export interface DriverDeps {
  readonly host: RootlessNamespace;
  readonly removal: LinkRemoval;
  readonly ipv6: boolean;
  /** Undefined: nowhere, which containers are told at once. By default the TUN device. */
  readonly outside?: () => OutsideRoute | undefined;
  /** Of all networks. */
  readonly subnets?: () => readonly Subnet[];
}

/** A container's network namespace. */
export interface Target {
  readonly process: ProcessIdentity;
  /** netd's descriptor of the namespace, open while something is made there. */
  readonly fd: number;
}

/** An interface that is in a container. */
export interface Plugged {
  /** The end in the rootless host; undefined for drivers whose interfaces have none there. */
  readonly link: string | undefined;
}

export interface NetworkDriver {
  /**
   * Makes what the network needs, or completes what is there.
   *
   * @throws {SysError | EngineError}
   */
  ensure(network: NetworkState, undo: Undo): void;
  /** Takes it down, as far as it is there. Its link is on its way out then: see {@link LinkRemoval}. */
  remove(network: NetworkState): void;
  /** Makes an interface in a container, down and without addresses. `link` is free in the rootless host. */
  plug(network: NetworkState, endpoint: EndpointState, target: Target, link: string): Plugged;
  /**
   * Takes hold of an interface that an earlier netd has made; `inside` is a connection of the container's namespace. Undefined: it is not
   * there, or no more what it was, and nothing of it is left.
   */
  adopt(network: NetworkState, endpoint: EndpointState, link: string, inside: Netlink): Plugged | undefined;
}
