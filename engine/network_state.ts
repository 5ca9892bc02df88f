/** Networks and containers as the network process is told of them. */
import { hostHasIpv6 } from "./host_routes.ts";
import type { ProcessIdentity } from "../base/process_identity.ts";
import { bridgeNameOf } from "../net/network_bridge.ts";
import { type GatewayCandidate, gatewayEndpoints } from "../net/network_endpoint.ts";
import type { EndpointState, NetworkState, SandboxDns, SandboxState } from "../net/netd/protocol.ts";
import { OPTION } from "../net/network_options.ts";
import { portRequests } from "../net/network_ports.ts";
import type { NetworkRecord } from "../net/network_types.ts";
import type { Attachment, Endpoint } from "./container_network.ts";
import type { ContainerRecord } from "./container_record.ts";

/** Undefined for networks in which nothing is to be made. */
export function networkState(network: NetworkRecord): NetworkState | undefined {
  const { id, name, driver, driverOptions, internal, enableIPv6: ipv6, addresses } = network;
  if (driver === "host" || driver === "null") return undefined;
  return {
    id,
    name,
    driver,
    link: linkOf(network),
    options: driverOptions,
    internal,
    ipv6,
    subnets: [...addresses.v4, ...addresses.v6].map(({ pool, gateway }) => ({
      subnet: pool.subnet,
      ...(gateway === undefined ? {} : { gateway }),
    })),
  };
}

/** Without a parent, macvlan and ipvlan have a dummy, named as Docker's. */
function linkOf(network: NetworkRecord): string {
  const { driverOptions, id } = network;
  switch (driverOptions.driver) {
    case "macvlan":
      return driverOptions.parent || `dm-${id.slice(0, 12)}`;
    case "ipvlan":
      return driverOptions.parent || `di-${id.slice(0, 12)}`;
    default:
      return bridgeNameOf(network);
  }
}

/** An endpoint with what there is to know about its network. */
export interface Place {
  readonly network: NetworkRecord;
  readonly attachment: Attachment;
  readonly endpoint: Endpoint;
}

/** The networks in which a running container has an interface, in their order. */
export function placesOf(
  { network: { attachments } }: Pick<ContainerRecord, "network">,
  networkById: (id: string) => NetworkRecord | undefined,
): Place[] {
  return Object.values(attachments).flatMap((attachment) => {
    const { endpoint } = attachment;
    const network = endpoint ? networkById(endpoint.networkId) : undefined;
    return network && endpoint && endpoint.interface !== "" ? [{ network, attachment, endpoint }] : [];
  });
}

/** Which place's gateways are the container's ways outside; its ports are published there. */
export function waysOutside(places: readonly Place[]): { ipv4?: Place; ipv6?: Place } {
  return gatewayEndpoints(places.map((place): Place & GatewayCandidate => ({
    ...place,
    networkName: place.network.name,
    driver: place.network.driver,
    internal: place.network.internal,
    gatewayPriority: place.endpoint.gatewayPriority,
    gateway4: place.endpoint.gateway4 !== undefined,
    gateway6: place.endpoint.gateway6 !== undefined,
  })));
}

export interface SandboxInput {
  readonly networkById: (id: string) => NetworkRecord | undefined;
  /** A process in the container's network namespace. */
  readonly process: ProcessIdentity;
  /** A name in DNS of the container that a user means; the text itself for one that does not exist. */
  readonly nameOf: (reference: string) => string;
  /** Of the DNS server; undefined when the container has none. */
  readonly dns: SandboxDns | undefined;
}

/** Undefined for a container without an interface in any network. */
export function sandboxState(record: ContainerRecord, input: SandboxInput): SandboxState | undefined {
  const { sandbox } = record.network;
  const places = placesOf(record, input.networkById);
  if (sandbox === null) return undefined;
  const ways = waysOutside(places);
  return {
    containerId: record.id,
    name: record.name,
    ...input.process,
    endpoints: places.map((place) => endpointState(place, ways, input.nameOf)),
    ...(input.dns === undefined ? {} : { dns: input.dns }),
    publish: {
      ...publishedAddresses(ways),
      ports: publishedPorts(record, ways),
      assigned: sandbox.published,
    },
  };
}

function endpointState(
  place: Place,
  ways: { ipv4?: Place; ipv6?: Place },
  nameOf: (reference: string) => string,
): EndpointState {
  const { endpoint, attachment, network } = place;
  const { ipv4, ipv6 } = endpoint.addresses;
  return {
    id: endpoint.id,
    networkId: network.id,
    interface: endpoint.interface,
    mac: endpoint.mac,
    ...(ipv4 ? { ipv4: `${ipv4.address}/${ipv4.bits}` } : {}),
    ...(ipv6 ? { ipv6: `${ipv6.address}/${ipv6.bits}` } : {}),
    linkLocal: attachment.settings.IPAMConfig?.LinkLocalIPs ?? [],
    ...(ways.ipv4?.endpoint === endpoint && endpoint.gateway4 ? { gateway4: endpoint.gateway4 } : {}),
    ...(ways.ipv6?.endpoint === endpoint && endpoint.gateway6 ? { gateway6: endpoint.gateway6 } : {}),
    dnsNames: endpoint.dnsNames,
    links: Object.fromEntries((attachment.settings.Links ?? []).map((link) => {
      const { name, alias } = parseLink(link);
      return [alias, nameOf(name)];
    })),
    sysctls: endpointSysctls(attachment.settings.DriverOpts?.[OPTION.endpointSysctls] ?? ""),
  };
}

/** `name:alias`, or a name that is its own alias (cli: opts.ParseLink). */
export function parseLink(text: string): { name: string; alias: string } {
  const [name = "", alias = name] = text.split(":");
  const last = alias.slice(alias.lastIndexOf("/") + 1);
  return { name: name.replace(/^\//, ""), alias: last };
}

/** `net.ipv4.conf.IFNAME.log_martians=1,…`; docker's command line writes all of it small. */
function endpointSysctls(text: string): Record<string, string> {
  const entries = text.split(",").filter((entry) => entry.includes("="));
  return Object.fromEntries(entries.map((entry) => {
    const at = entry.indexOf("=");
    return [entry.slice(0, at).replace(".ifname.", ".IFNAME."), entry.slice(at + 1)];
  }));
}

/** Ports lead to bridges only: what is in a macvlan has its place in another network. */
const canPublish = (place: Place | undefined): place is Place => place?.network.driver === "bridge";

function publishedAddresses(ways: { ipv4?: Place; ipv6?: Place }): { ipv4?: string; ipv6?: string } {
  const ipv4 = canPublish(ways.ipv4) ? ways.ipv4.endpoint.addresses.ipv4 : undefined;
  const ipv6 = canPublish(ways.ipv6) ? ways.ipv6.endpoint.addresses.ipv6 : undefined;
  return { ...(ipv4 ? { ipv4: ipv4.address } : {}), ...(ipv6 ? { ipv6: ipv6.address } : {}) };
}

function publishedPorts(
  record: ContainerRecord,
  ways: { ipv4?: Place; ipv6?: Place },
): SandboxState["publish"]["ports"] {
  const place = [ways.ipv4, ways.ipv6].find(canPublish);
  if (place === undefined) return [];
  const { driverOptions } = place.network;
  const { config, hostConfig } = record;
  return portRequests(hostConfig.PortBindings ?? {}, {
    exposed: Object.keys(config.ExposedPorts ?? {}),
    publishAll: hostConfig.PublishAllPorts ?? false,
    defaultAddress: driverOptions.driver === "bridge" ? driverOptions.hostBinding : "",
    hostIpv6: hostHasIpv6(),
  }).requests;
}

/** Whether the container asks for anything that only works with networks. */
export function wantsPorts({ config, hostConfig }: Pick<ContainerRecord, "config" | "hostConfig">): boolean {
  return Object.keys(hostConfig.PortBindings ?? {}).length > 0 ||
    (hostConfig.PublishAllPorts === true && Object.keys(config.ExposedPorts ?? {}).length > 0);
}
