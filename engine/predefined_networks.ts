import { messageOf } from "../base/errors.ts";
import { type AddressPool, reservedPrefixes } from "../net/ipam_pools.ts";
import { refuseOwnPrefixes } from "../net/network_bridge.ts";
import { addressRequest, predefinedNetworks } from "../net/network_predefined.ts";
import type { NetworkPlan, NetworkRecord } from "../net/network_types.ts";
import { nowRfc3339 } from "./clock.ts";
import { readHostNetwork } from "./host_routes.ts";
import type { Logger } from "./log.ts";
import { newContainerId } from "./names.ts";
import type { NetworkSettings } from "./network_settings.ts";
import type { NetworkTable } from "./network_table.ts";

/**
 * Makes bridge, host and none at the first start; later brings the default bridge to what daemon.json says, unless somebody is in it.
 * Ids stay. Never throws: an engine without a default bridge is better than none.
 */
export function ensurePredefined(
  table: NetworkTable,
  settings: NetworkSettings,
  pools: readonly AddressPool[],
  log: Logger,
): void {
  for (const plan of predefinedNetworks(settings.bridge)) {
    const known = table.byName(plan.name);
    if (plan.name === "bridge" && !settings.hasBridge) {
      if (known && table.endpointsOf(known.id).length === 0) table.remove(known);
      continue;
    }
    if (known && isSame(known, plan)) continue;
    if (known && table.endpointsOf(known.id).length > 0) {
      log.warn(`network ${plan.name} changes when no container is in it and the engine starts`);
      continue;
    }
    const { id, created } = known ?? { id: newContainerId(), created: nowRfc3339() };
    try {
      refuseOwnPrefixes({ ...plan, id }, [...plan.v4, ...plan.v6].flatMap(({ subnet }) => subnet ?? []));
      const reserved = plan.name === "bridge" ? reservedPrefixes(readHostNetwork()) : [];
      table.replace({ ...plan, id, created }, addressRequest(plan, pools, reserved));
    } catch (error) {
      log.error(`cannot make network ${plan.name}`, { error: messageOf(error) });
    }
  }
}

function isSame(known: NetworkRecord, plan: NetworkPlan): boolean {
  const wanted = ({ driver, options, enableIPv4, enableIPv6, v4, v6 }: NetworkPlan) =>
    JSON.stringify([driver, Object.entries(options).sort(), enableIPv4, enableIPv6, v4, v6]);
  return wanted(known) === wanted(plan);
}
