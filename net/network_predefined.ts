/** The networks that are always there: bridge, host and none, made as dockerd makes them at its start (moby: daemon/daemon_unix.go). */
import type { Family, Prefix } from "../base/address.ts";
import type { NetworkRequest, SubnetConfig } from "./ipam_network.ts";
import type { AddressPool } from "./ipam_pools.ts";
import { familiesWithoutGateway, OPTION, parseDriverOptions } from "./network_options.ts";
import { type NetworkPlan, PREDEFINED } from "./network_types.ts";

/** Settings of the engine for the default bridge. */
export interface DefaultBridge {
  /** `--mtu`, bytes. */
  readonly mtu: number;
  /** `--icc`, `--ip-masq`. */
  readonly icc?: boolean;
  readonly masquerade?: boolean;
  /** `--ip`: where ports are published by default. */
  readonly hostBinding?: string;
  readonly ipv6?: boolean;
  /** `--bip`, `--fixed-cidr` and such; without it a pool is chosen, which is 172.17.0.0/16 unless the host uses that. */
  readonly v4?: readonly SubnetConfig[];
  readonly v6?: readonly SubnetConfig[];
}

/** The three networks, still without addresses. @throws {EngineError} invalid, by a wrong `hostBinding` */
export function predefinedNetworks(bridge: DefaultBridge): NetworkPlan[] {
  const options = {
    [OPTION.defaultBridge]: "true",
    [OPTION.enableIcc]: String(bridge.icc ?? true),
    [OPTION.masquerade]: String(bridge.masquerade ?? true),
    [OPTION.hostBinding]: bridge.hostBinding ?? "0.0.0.0",
    [OPTION.bridgeName]: "docker0",
    [OPTION.mtu]: String(bridge.mtu),
  };
  return Object.entries(PREDEFINED).map(([name, driver]): NetworkPlan => {
    const isBridge = driver === "bridge";
    const own = isBridge ? options : {};
    return {
      name,
      driver,
      scope: "local",
      internal: false,
      attachable: false,
      ingress: false,
      configOnly: false,
      configFrom: "",
      enableIPv4: true,
      enableIPv6: isBridge && (bridge.ipv6 ?? false),
      options: own,
      labels: {},
      ipamDriver: "default",
      ipamOptions: null,
      v4: isBridge ? bridge.v4 ?? [] : [],
      v6: isBridge ? bridge.v6 ?? [] : [],
      driverOptions: parseDriverOptions(driver, own, false),
    };
  });
}

/** What IPAM shall allocate for a network: nothing for those without addresses of their own. */
export function addressRequest(
  plan: NetworkPlan,
  pools: readonly AddressPool[],
  reserved: readonly Prefix[],
): NetworkRequest {
  const addressed = plan.driver !== "host" && plan.driver !== "null" && plan.ipamDriver !== "null";
  const withoutGateway: Family[] = familiesWithoutGateway(plan.driverOptions, plan.internal);
  return {
    name: plan.name,
    v4: addressed && plan.enableIPv4 ? plan.v4 : undefined,
    v6: addressed && plan.enableIPv6 ? plan.v6 : undefined,
    withoutGateway,
    pools,
    reserved,
  };
}
