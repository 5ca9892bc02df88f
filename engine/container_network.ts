/** What a container's record keeps of its networks. */
import type { PublishedPort } from "../net/network_host_ports.ts";
import type { EndpointRecord, EndpointSettings } from "../net/network_types.ts";

/** A place in a network while the container runs. */
export interface Endpoint extends EndpointRecord {
  /** `eth0`; empty in the networks `host` and `none`. */
  readonly interface: string;
  /** The network's gateways, where it has a way outside. */
  readonly gateway4?: string;
  readonly gateway6?: string;
}

/** A network that a container belongs to, whether it runs or not. */
export interface Attachment {
  /** Of the network when the container last was in it; empty before. */
  readonly networkId: string;
  /** As the user wants it. */
  readonly settings: EndpointSettings;
  /** null while the container does not run. */
  readonly endpoint: Endpoint | null;
}

/** `--link` on the default bridge. */
export interface Link {
  readonly containerId: string;
  readonly alias: string;
}

export interface ContainerNetwork {
  /** By name of the network, in the order of the interfaces. */
  readonly attachments: Readonly<Record<string, Attachment>>;
  readonly links: readonly Link[];
  /** While it runs and has a network namespace of its own. */
  readonly sandbox: Sandbox | null;
}

export interface Sandbox {
  /** 64 hexadecimal digits. */
  readonly id: string;
  readonly published: readonly PublishedPort[];
}

export const NO_NETWORK: ContainerNetwork = { attachments: {}, links: [], sandbox: null };

/** The endpoints that there are now. */
export function endpointsOf({ attachments }: ContainerNetwork): Endpoint[] {
  return Object.values(attachments).flatMap(({ endpoint }) => endpoint ?? []);
}

/** The same without anything that a run has brought. */
export function withoutRun({ attachments, links }: ContainerNetwork): ContainerNetwork {
  return {
    attachments: Object.fromEntries(
      Object.entries(attachments).map(([name, attachment]) => [name, { ...attachment, endpoint: null }]),
    ),
    links,
    sandbox: null,
  };
}
