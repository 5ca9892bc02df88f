/** Networks and endpoints as the engine records them (the container network model), and requests in the API's shape. */
import type { EndpointAddresses, NetworkAddresses, SubnetConfig } from "./ipam_network.ts";
import type { DriverOptions } from "./network_options.ts";

/** Drivers of networks. Docker's name for the driver of `none` is `null`. */
export const DRIVERS = ["bridge", "host", "null", "macvlan", "ipvlan", "overlay"] as const;
export type DriverName = (typeof DRIVERS)[number];

/** Networks that are always there, by the name of each; users can neither make nor remove them. */
export const PREDEFINED: Readonly<Record<string, DriverName>> = {
  bridge: "bridge",
  host: "host",
  none: "null",
};

/** `docker network create`: the body of POST /networks/create. */
export interface NetworkCreateBody {
  readonly Name: string;
  readonly Driver?: string | null;
  readonly Scope?: string | null;
  readonly Internal?: boolean | null;
  readonly Attachable?: boolean | null;
  readonly Ingress?: boolean | null;
  readonly ConfigOnly?: boolean | null;
  readonly ConfigFrom?: { readonly Network?: string | null } | null;
  readonly EnableIPv4?: boolean | null;
  readonly EnableIPv6?: boolean | null;
  readonly IPAM?: IpamBody | null;
  readonly Options?: Readonly<Record<string, string>> | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

export interface IpamBody {
  readonly Driver?: string | null;
  readonly Options?: Readonly<Record<string, string>> | null;
  readonly Config?: readonly IpamConfigBody[] | null;
}

export interface IpamConfigBody {
  readonly Subnet?: string | null;
  readonly IPRange?: string | null;
  readonly Gateway?: string | null;
  readonly AuxiliaryAddresses?: Readonly<Record<string, string>> | null;
}

/** One value of a container's `NetworkingConfig.EndpointsConfig`, or the body of /networks/{id}/connect. */
export interface EndpointSettings {
  readonly IPAMConfig?:
    | {
      readonly IPv4Address?: string | null;
      readonly IPv6Address?: string | null;
      readonly LinkLocalIPs?: readonly string[] | null;
    }
    | null;
  readonly Links?: readonly string[] | null;
  readonly Aliases?: readonly string[] | null;
  readonly MacAddress?: string | null;
  readonly DriverOpts?: Readonly<Record<string, string>> | null;
  readonly GwPriority?: number | null;
}

/** A network to make: checked, with defaults filled in, before anything is allocated. */
export interface NetworkPlan {
  readonly name: string;
  readonly driver: DriverName;
  readonly scope: "local" | "global";
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly ingress: false;
  /** Holds a configuration for other networks, and no containers. */
  readonly configOnly: boolean;
  /** Name of the network that the configuration is taken from; empty for none. */
  readonly configFrom: string;
  readonly enableIPv4: boolean;
  readonly enableIPv6: boolean;
  /** As given, for inspect. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly ipamDriver: "default" | "null";
  readonly ipamOptions: Readonly<Record<string, string>> | null;
  readonly v4: readonly SubnetConfig[];
  readonly v6: readonly SubnetConfig[];
  readonly driverOptions: DriverOptions;
}

/** A network that exists. */
export interface NetworkRecord extends NetworkPlan {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** RFC 3339, nanoseconds. */
  readonly created: string;
  readonly addresses: NetworkAddresses;
}

/** One container's place in one network. */
export interface EndpointRecord {
  readonly id: string;
  readonly networkId: string;
  readonly containerId: string;
  /** The container's name. */
  readonly name: string;
  /** Names that other containers of the network reach it by; the first one answers PTR queries. */
  readonly dnsNames: readonly string[];
  readonly addresses: EndpointAddresses;
  readonly mac: string;
  readonly gatewayPriority: number;
}
