/** A container's way into its networks and out of them: what Docker calls allocateNetwork and releaseNetwork. */
import { addressBytes, type Family, parseAddress } from "../base/address.ts";
import { EngineError } from "../base/errors.ts";
import type { ProcessIdentity } from "../base/process_identity.ts";
import {
  checkConnect,
  dnsNamesOf,
  interfaceName,
  isUserDefined,
  type NamedNetwork,
  planEndpoint,
} from "../net/network_endpoint.ts";
import { DEFAULT_GATEWAY, type EndpointAddresses, type SubnetAllocation } from "../net/ipam_network.ts";
import { macOfAddress, randomMac } from "../net/network_mac.ts";
import { OPTION } from "../net/network_options.ts";
import type { SandboxState } from "../net/netd/protocol.ts";
import type { PublishedPort } from "../net/network_host_ports.ts";
import type { EndpointSettings, NetworkRecord } from "../net/network_types.ts";
import {
  type Attachment,
  type ContainerNetwork,
  type Endpoint,
  endpointsOf,
  withoutRun,
} from "./container_network.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { ContainerTable } from "./container_table.ts";
import type { EngineContext } from "./context.ts";
import { newContainerId } from "./names.ts";
import { sandboxDns } from "./network_files.ts";
import { joinedContainer } from "./namespaces.ts";
import { sandboxState, wantsPorts } from "./network_state.ts";

/** Attachments of a new container: the networks that it names, or the one of its mode. */
export function attachmentsOf(
  ctx: Pick<EngineContext, "networks">,
  { config, hostConfig }: Pick<ContainerRecord, "config" | "hostConfig">,
  endpoints: Readonly<Record<string, EndpointSettings | null>>,
): Record<string, Attachment> {
  const mode = hostConfig.NetworkMode || "bridge";
  if (config.NetworkDisabled || joinedContainer(mode) !== undefined) return {};
  const { table } = ctx.networks;
  const named = (name: string) => isUserDefined(name) ? table.tryFind(name)?.name ?? name : name;
  const attachments: Record<string, Attachment> = {};
  for (const [name, settings] of Object.entries(endpoints)) {
    attachments[named(name)] = { networkId: "", settings: settings ?? {}, endpoint: null };
  }
  if (Object.keys(attachments).length === 0) {
    attachments[named(mode)] = { networkId: "", settings: {}, endpoint: null };
  }
  return attachments;
}

/**
 * Gives a container that is about to run its places in its networks. Answers what its record shall say; undefined when it has
 * no network namespace of its own, or none is wanted in it.
 *
 * @throws {EngineError} a network does not exist or has no address left; then nothing is taken.
 */
export function takePlaces(ctx: Pick<EngineContext, "networks">, record: ContainerRecord): ContainerNetwork {
  const { hostConfig, config } = record;
  const { table, settings } = ctx.networks;
  const mode = hostConfig.NetworkMode || "bridge";
  let known: Readonly<Record<string, Attachment>> = withoutRun(record.network).attachments;
  if (config.NetworkDisabled || joinedContainer(mode) !== undefined) {
    return { ...record.network, sandbox: null };
  }
  if (Object.keys(known).length === 0) known = attachmentsOf(ctx, record, {});
  const first = (name: string) => name === "bridge" ? 0 : name === mode ? 1 : 2;
  const names = Object.keys(known).sort((a, b) => first(a) - first(b));
  const attachments: Record<string, Attachment> = {};
  const joined: NamedNetwork[] = [];
  try {
    for (const name of names) {
      const attachment = known[name];
      if (attachment === undefined) continue;
      if (name === "bridge" && !settings.hasBridge) {
        attachments[name] = attachment;
        continue;
      }
      const network = table.find(name);
      checkConnect(mode, joined, network);
      attachments[network.name] = takePlace(ctx, record, network, attachment.settings, attachments);
      joined.push(network);
    }
  } catch (error) {
    givePlacesBack(ctx, attachments);
    throw error;
  }
  return { ...record.network, attachments, sandbox: { id: newContainerId(), published: [] } };
}

/**
 * One place. `others` are the container's attachments: their interfaces' names are taken.
 *
 * @throws {EngineError}
 */
export function takePlace(
  ctx: Pick<EngineContext, "networks">,
  record: Pick<ContainerRecord, "id" | "name" | "config" | "hostConfig">,
  network: NetworkRecord,
  settings: EndpointSettings,
  others: Readonly<Record<string, Attachment>>,
): Attachment {
  const { table } = ctx.networks;
  if (network.configOnly) {
    throw new EngineError(
      "forbidden",
      `cannot connect to network ${network.name}: it holds a configuration only`,
    );
  }
  const plan = planEndpoint(network.name, settings, network);
  const addresses = table.allocate(network, {
    ipv4: plan.ipv4,
    ipv6: plan.ipv6,
    withoutIpv6: record.hostConfig.Sysctls?.["net.ipv6.conf.all.disable_ipv6"] === "1",
  });
  const { driver, driverOptions } = network;
  const isLink = driver !== "host" && driver !== "null";
  const taken = Object.values(others).flatMap(({ endpoint }) => endpoint?.interface || []);
  const prefix = "interfacePrefix" in driverOptions ? driverOptions.interfacePrefix || undefined : undefined;
  const wanted = plan.driverOptions[OPTION.endpointInterface];
  const endpoint: Endpoint = {
    id: newContainerId(),
    networkId: network.id,
    containerId: record.id,
    name: record.name,
    dnsNames: endpointNames(record, network.name, plan.aliases),
    addresses,
    // An ipvlan has the address of its parent.
    mac: plan.mac ?? (isLink && driver !== "ipvlan" ? macFor(addresses) : ""),
    gatewayPriority: plan.gatewayPriority,
    interface: isLink ? wanted || interfaceName(taken, prefix) : "",
    ...gatewaysOf(network),
  };
  table.register(endpoint);
  return { networkId: network.id, settings, endpoint };
}

/**
 * One address always has the same MAC: what bridge and neighbours remember of a container that had the address before stays true, and
 * nobody waits seconds for their caches.
 */
function macFor({ ipv4, ipv6 }: EndpointAddresses): string {
  const own = ipv4 ?? ipv6;
  // Of an IPv6 address the last four bytes: IPAM counts there.
  return own === undefined ? randomMac() : macOfAddress(addressBytes(parseAddress(own.address)).slice(-4));
}

/** Names in DNS; none on the default bridge. */
export function endpointNames(
  { id, name, config }: Pick<ContainerRecord, "id" | "name" | "config">,
  networkName: string,
  aliases: readonly string[],
): string[] {
  return isUserDefined(networkName) ? dnsNamesOf({ id, name, hostname: config.Hostname ?? "" }, aliases) : [];
}

function gatewaysOf(
  { driver, internal, addresses }: NetworkRecord,
): Pick<Endpoint, "gateway4" | "gateway6"> {
  if (internal) return {};
  const find = (subnets: readonly SubnetAllocation[], family: Family): string | undefined => {
    const named = driver === "bridge" ? subnets[0]?.auxiliary[DEFAULT_GATEWAY[family]] : undefined;
    return named ?? subnets.find(({ gateway }) => gateway !== undefined)?.gateway;
  };
  const [gateway4, gateway6] = [find(addresses.v4, 4), find(addresses.v6, 6)];
  return {
    ...(gateway4 === undefined ? {} : { gateway4 }),
    ...(gateway6 === undefined ? {} : { gateway6 }),
  };
}

/** Takes endpoints out of their networks. */
export function givePlacesBack(
  { networks }: Pick<EngineContext, "networks">,
  attachments: ContainerNetwork["attachments"],
): void {
  for (const { endpoint } of Object.values(attachments)) if (endpoint) networks.table.release(endpoint);
}

/** What the network process is to make for a container; undefined when there is nothing. */
export function sandboxOf(
  ctx: Pick<EngineContext, "networks" | "containers">,
  record: ContainerRecord,
  process: ProcessIdentity,
): SandboxState | undefined {
  const state = sandboxState(record, {
    process,
    networkById: (id) => ctx.networks.table.get(id),
    nameOf: (reference) => {
      try {
        // a name in DNS like the other one, and one that stays
        return ctx.containers.find(reference).record.id.slice(0, 12);
      } catch {
        return reference;
      }
    },
    dns: endpointsOf(record.network).some(({ dnsNames }) => dnsNames.length > 0)
      ? sandboxDns(record, ctx.networks.settings)
      : undefined,
  });
  return state !== undefined && state.endpoints.length > 0 ? state : undefined;
}

/** Whether a start without networks would not be what the user has asked for. */
export function needsNetworks(record: ContainerRecord): boolean {
  const names = Object.keys(record.network.attachments);
  return wantsPorts(record) || names.some(isUserDefined);
}

/** A network event, with the container that it is about. */
export function networkEvent(
  { events }: Pick<EngineContext, "events">,
  action: string,
  network: { readonly id: string; readonly name: string; readonly driver: string },
  extra: Readonly<Record<string, string>> = {},
): void {
  events.publish("network", action, network.id, { ...extra, name: network.name, type: network.driver });
}

/** Tells that a container is in its networks, or no more. */
export function announcePlaces(
  ctx: Pick<EngineContext, "networks" | "events">,
  action: "connect" | "disconnect",
  { id, network }: Pick<ContainerRecord, "id" | "network">,
): void {
  for (const { networkId } of endpointsOf(network)) {
    const found = ctx.networks.table.get(networkId);
    if (found) networkEvent(ctx, action, found, { container: id });
  }
}

/**
 * Takes a container that has ended, or does not start, out of its networks. Answers what its record shall say, and a promise
 * for the time when its published ports are free again.
 */
export function leaveNetworks(
  ctx: Pick<EngineContext, "networks">,
  record: ContainerRecord,
): { network: ContainerNetwork; gone: Promise<void> } {
  // Asked before another container can get the addresses: requests are carried out in their order.
  const gone = ctx.networks.leave(record.id);
  givePlacesBack(ctx, record.network.attachments);
  return { network: withoutRun(record.network), gone };
}

/** Writes down where a running container's ports are, when that is another place than before. */
export function notePublished(
  containers: Pick<ContainerTable, "get" | "noteState">,
  id: string,
  published: readonly PublishedPort[],
): void {
  const container = containers.get(id);
  const network = container?.record.network;
  if (container === undefined || !network?.sandbox || container.record.state.status !== "running") return;
  if (JSON.stringify(network.sandbox.published) === JSON.stringify(published)) return;
  void containers.noteState(container, {}, {
    network: { ...network, sandbox: { ...network.sandbox, published } },
  });
}
