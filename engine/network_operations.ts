/** `docker network …`: what the API's /networks does (moby: daemon/network.go, daemon/network/filter.go). */
import { EngineError, invalid, notFound } from "../base/errors.ts";
import { reservedPrefixes } from "../net/ipam_pools.ts";
import { checkBridgeConflicts, refuseOwnPrefixes } from "../net/network_bridge.ts";
import { addressRequest } from "../net/network_predefined.ts";
import { checkRemovable, isPredefined, planNetwork } from "../net/network_request.ts";
import type { EndpointSettings, NetworkCreateBody, NetworkRecord } from "../net/network_types.ts";
import { networkView } from "../net/network_view.ts";
import { nowRfc3339 } from "./clock.ts";
import { matchesLabels } from "./container_filters.ts";
import type { EngineContext } from "./context.ts";
import { readHostNetwork } from "./host_routes.ts";
import { newContainerId } from "./names.ts";
import { connectContainer, disconnectContainer } from "./network_connect.ts";
import { networkEvent } from "./network_join.ts";
import type { NetworkOperations } from "./network_types.ts";
import { alone, checkPruneFilters, pruneSelector } from "./prune.ts";
import type { Filters } from "./types.ts";

export function networkOperations(ctx: EngineContext): NetworkOperations {
  const { table } = ctx.networks;
  // Failures are to reach the caller as a rejection: all of these are async.
  return {
    networkList: async (filters, detailed) => await Promise.resolve(listNetworks(ctx, filters, detailed)),
    networkInspect: async (id, { scope }) => {
      const network = await Promise.resolve(table.find(id));
      if (scope !== undefined && network.scope !== scope) throw notFound(`network ${id} not found`);
      return networkView(network, table.endpointsOf(network.id));
    },
    networkCreate: async (body) => await createNetwork(ctx, body),
    networkRemove: async (id) => await removeNetwork(ctx, table.find(id)),
    networkConnect: async (id, container, settings: EndpointSettings | undefined) =>
      await connectContainer(ctx, ctx.containers.find(container), id, settings ?? {}),
    networkDisconnect: async (id, container, force) => await disconnectContainer(ctx, id, container, force),
    pruneNetworks: async (filters, signal) => await pruneNetworks(ctx, filters, signal),
    networkDoctor: async (fresh) => await ctx.networks.probe(fresh),
  };
}

const FILTERS = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/** Networks that pass the filters: every key, any of its values. */
function listNetworks(ctx: EngineContext, filters: Filters, detailed = false): Record<string, unknown>[] {
  for (const key of filters.keys()) if (!FILTERS.includes(key)) throw invalid(`invalid filter '${key}'`);
  const { table } = ctx.networks;
  const any = (key: string, test: (value: string) => boolean) => {
    const values = filters.get(key) ?? [];
    return values.length === 0 || values.some(test);
  };
  for (const type of filters.get("type") ?? []) {
    if (type !== "builtin" && type !== "custom") throw invalid(`invalid filter: 'type'='${type}'`);
  }
  const dangling = (filters.get("dangling") ?? []).map((value) => {
    if (!/^(1|0|t|f|true|false)$/i.test(value)) throw invalid(`invalid filter 'dangling=[${value}]'`);
    return /^(1|t|true)$/i.test(value);
  });
  return table.all().filter((network) => {
    const builtin = isPredefined(network.name);
    const inUse = builtin || table.endpointsOf(network.id).length > 0;
    return any("driver", (value) => value === network.driver) &&
      any("id", (value) => matches(network.id, value)) &&
      any("name", (value) => matches(network.name, value)) &&
      any("scope", (value) => value === network.scope) &&
      any("type", (value) => (value === "builtin") === builtin) &&
      matchesLabels(filters.get("label") ?? [], network.labels) &&
      (dangling.length === 0 || dangling.includes(!inUse));
  }).map((network) => networkView(network, detailed ? table.endpointsOf(network.id) : []));
}

/** A regular expression, as Go's regexp.MatchString; what is none matches as text. */
function matches(text: string, pattern: string): boolean {
  if (text === pattern) return true;
  try {
    return new RegExp(pattern).test(text);
  } catch {
    return false;
  }
}

async function createNetwork(
  ctx: EngineContext,
  body: NetworkCreateBody,
): Promise<{ Id: string; Warning: string }> {
  const { networks } = ctx;
  const { table, settings } = networks;
  const plan = planNetwork(body, { existing: table.all(), defaultOptions: settings.defaultOptions });
  const id = newContainerId();
  const reserved = plan.configOnly ? [] : reservedPrefixes(readHostNetwork());
  const request = plan.configOnly
    ? { name: plan.name, pools: networks.pools }
    : addressRequest(plan, networks.pools, reserved);
  const network = table.add({ ...plan, id, created: nowRfc3339() }, request);
  try {
    const { v4, v6 } = network.addresses;
    refuseOwnPrefixes(network, [...v4, ...v6].map(({ pool }) => pool.subnet));
    checkBridgeConflicts(network, table.all());
    if (!plan.configOnly) await networks.addNetwork(id);
  } catch (error) {
    if (table.get(id)) table.remove(network);
    throw error;
  }
  networkEvent(ctx, "create", network);
  return { Id: id, Warning: "" };
}

async function removeNetwork(ctx: EngineContext, network: NetworkRecord): Promise<void> {
  const { table } = ctx.networks;
  checkRemovable(network, table.endpointsOf(network.id), table.all());
  // From here on nobody can join it.
  table.remove(network);
  if (!network.configOnly) await ctx.networks.removeNetwork(network.id);
  networkEvent(ctx, "destroy", network);
}

/** Removes what no container is in; configurations of other networks stay, as in Docker. */
function pruneNetworks(
  ctx: EngineContext,
  filters: Filters,
  signal: AbortSignal,
): Promise<{ NetworksDeleted: string[] | null }> {
  checkPruneFilters(filters, ["until", "label", "label!"]);
  const selected = pruneSelector(filters);
  const { table } = ctx.networks;
  return alone("networks", async () => {
    const deleted: string[] = [];
    for (const network of table.all()) {
      if (signal.aborted) break;
      if (isPredefined(network.name) || network.configOnly || table.endpointsOf(network.id).length > 0) {
        continue;
      }
      if (!selected(network.created, network.labels)) continue;
      try {
        await removeNetwork(ctx, network);
      } catch (error) {
        // Somebody has joined it meanwhile.
        if (!(error instanceof EngineError)) throw error;
        continue;
      }
      deleted.push(network.name);
    }
    ctx.events.publish("network", "prune", "", { reclaimed: "0" });
    return { NetworksDeleted: deleted.length > 0 ? deleted : null };
  });
}
