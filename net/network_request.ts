/** Checks of a request for a network, with Docker's words and statuses (moby 28: daemon/network.go, libnetwork/controller.go). */
import { conflict, EngineError, invalid, notFound } from "../base/errors.ts";
import { validateBridgeIpv6 } from "./network_bridge.ts";
import { validateIpamConfig } from "./network_ipam_config.ts";
import { goBoolean, OPTION, parseDriverOptions } from "./network_options.ts";
import {
  type DriverName,
  DRIVERS,
  type NetworkCreateBody,
  type NetworkPlan,
  type NetworkRecord,
  PREDEFINED,
} from "./network_types.ts";

const forbidden = (message: string): EngineError => new EngineError("forbidden", message);

export interface NetworkContext {
  /** Networks that there are. */
  readonly existing: readonly NetworkRecord[];
  /** `default-network-opts` of daemon.json: options by driver, for networks that do not set them. */
  readonly defaultOptions?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/**
 * Checks a request and fills in what it leaves open.
 * @throws {EngineError} of all kinds
 */
export function planNetwork(
  body: NetworkCreateBody,
  { existing, defaultOptions = {} }: NetworkContext,
): NetworkPlan {
  const name = body.Name;
  if (isPredefined(name)) throw forbidden(`operation is not permitted on predefined ${name} network `);
  const driver = body.Driver || "bridge";
  if (driver === "overlay") {
    throw forbidden(
      `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" ` +
        "to connect this node to swarm and try again.",
    );
  }
  const configFrom = body.ConfigFrom?.Network ?? "";
  const options: Record<string, string> = {
    ...(configFrom === "" ? defaultOptions[driver] : {}),
    ...body.Options,
  };
  const enableIPv4 = familyEnabled(body.EnableIPv4, options, OPTION.enableIpv4, true);
  const enableIPv6 = familyEnabled(body.EnableIPv6, options, OPTION.enableIpv6, false);
  const configs = body.IPAM?.Config ?? [];
  const subnets = validateIpamConfig(configs, enableIPv6);
  if (name.trim() === "") throw invalid("invalid name: name is empty");
  if (existing.some((network) => network.name === name)) {
    throw conflict(`network with name ${name} already exists`);
  }
  const plan = {
    name,
    internal: body.Internal ?? false,
    attachable: body.Attachable ?? false,
    ingress: false as const,
    configOnly: body.ConfigOnly ?? false,
    configFrom,
    enableIPv4,
    enableIPv6,
    options,
    labels: body.Labels ?? {},
    ipamDriver: ipamDriver(body.IPAM?.Driver ?? ""),
    ipamOptions: body.IPAM?.Options ?? null,
    v4: subnets.filter(({ family }) => family === 4).map(({ config }) => config),
    v6: subnets.filter(({ family }) => family === 6).map(({ config }) => config),
  };
  if (plan.configOnly) return configurationNetwork(body, plan);
  if (configFrom !== "" && hasConfiguration(body, plan)) {
    throw forbidden(
      Object.keys(options).length > 0
        ? "network driver options are not supported if the network depends on a configuration network"
        : "user specified configurations are not supported if the network depends on a configuration network",
    );
  }
  const known = driverName(driver);
  const scope = body.Scope || "local";
  if (body.Ingress) throw forbidden("Ingress network can only be global scope network");
  if (scope === "swarm") throw forbidden("cannot create a swarm scoped network when swarm is not active");
  if (scope !== "local" && scope !== "global") throw invalid(`invalid scope: ${scope}`);
  if (known === "host" || known === "null") {
    throw forbidden(`only one instance of "${known}" network is allowed`);
  }
  const from = configFrom === "" ? plan : existing.find((one) => one.name === configFrom && one.configOnly);
  if (!from) throw notFound(`configuration network ${JSON.stringify(configFrom)} does not exist`);
  const whole = configFrom === "" ? plan : {
    ...plan,
    enableIPv4: from.enableIPv4,
    enableIPv6: from.enableIPv6,
    options: from.options,
    labels: from.labels,
    ipamDriver: from.ipamDriver,
    ipamOptions: from.ipamOptions,
    v4: from.v4,
    v6: from.v6,
  };
  const driverOptions = parseDriverOptions(known, whole.options, whole.internal);
  if (driverOptions.driver === "bridge") {
    if (!whole.enableIPv4 && !whole.enableIPv6) throw invalid("IPv4 or IPv6 must be enabled");
    if (whole.v4.length > 1 || (whole.enableIPv6 && whole.v6.length > 1)) {
      throw forbidden("bridge driver doesn't support multiple subnets");
    }
    if (whole.enableIPv6) { for (const { subnet } of whole.v6) validateBridgeIpv6(subnet ?? ""); }
  }
  // Without a link below, these networks end at the host.
  const alone = (driverOptions.driver === "macvlan" || driverOptions.driver === "ipvlan") &&
    driverOptions.parent === "";
  return { ...whole, driver: known, scope, internal: whole.internal || alone, driverOptions };
}

/** Is it one of the networks that are always there, or `default`, which means one of them? */
export const isPredefined = (name: string): boolean => name === "default" || Object.hasOwn(PREDEFINED, name);

/** @throws {EngineError} not-found, for drivers of plugins and such that are none */
export function driverName(text: string): DriverName {
  const known = DRIVERS.find((name) => name === text);
  if (!known) throw notFound(`plugin ${JSON.stringify(text)} not found`);
  return known;
}

function ipamDriver(text: string): "default" | "null" {
  if (text === "" || text === "default") return "default";
  if (text === "null") return "null";
  throw notFound(`plugin ${JSON.stringify(text)} not found`);
}

function familyEnabled(
  given: boolean | null | undefined,
  options: Record<string, string>,
  key: string,
  fallback: boolean,
): boolean {
  const text = options[key];
  if (given !== undefined && given !== null) {
    // The option would have no effect, and look wrong in inspect.
    delete options[key];
    return given;
  }
  if (text === undefined) return fallback;
  try {
    return goBoolean(text);
  } catch {
    throw invalid(`driver-opt ${JSON.stringify(key)} is not a valid bool`);
  }
}

/** A network that holds a configuration has no driver and no addresses. */
function configurationNetwork(
  body: NetworkCreateBody,
  plan: Omit<NetworkPlan, "driver" | "scope" | "driverOptions">,
): NetworkPlan {
  if (body.Ingress || plan.internal || plan.attachable || body.Scope) {
    throw forbidden(
      "configuration network can only contain network specific fields. Network operator fields like " +
        "[ ingress | internal | attachable | scope ] are not supported.",
    );
  }
  if (plan.configFrom !== "") {
    throw forbidden("a configuration network cannot depend on another configuration network");
  }
  return { ...plan, driver: "null", scope: "local", driverOptions: { driver: "null" } };
}

function hasConfiguration(
  body: NetworkCreateBody,
  plan: { enableIPv4: boolean; enableIPv6: boolean },
): boolean {
  const filled = (value: object | null | undefined) => value ? Object.keys(value).length > 0 : false;
  return !plan.enableIPv4 || plan.enableIPv6 || filled(body.Labels) || filled(body.Options) ||
    filled(body.IPAM?.Options) || filled(body.IPAM?.Config) || (body.IPAM?.Driver ?? "default") === "null";
}

/**
 * May the network be removed? `endpoints` are what is connected to it.
 * @throws {EngineError} forbidden
 */
export function checkRemovable(
  { name, configOnly }: Pick<NetworkRecord, "name" | "configOnly">,
  endpoints: readonly { readonly name: string; readonly id: string }[],
  existing: readonly Pick<NetworkRecord, "configFrom">[],
): void {
  if (isPredefined(name)) throw forbidden(`${name} is a pre-defined network and cannot be removed`);
  if (configOnly && existing.some(({ configFrom }) => configFrom === name)) {
    throw forbidden(`error while removing network: configuration network ${JSON.stringify(name)} is in use`);
  }
  if (endpoints.length > 0) {
    const list = endpoints.map((endpoint) =>
      `name:${JSON.stringify(endpoint.name)} id:${JSON.stringify(endpoint.id.slice(0, 12))}`
    );
    throw forbidden(
      `error while removing network: network ${name} has active endpoints (${list.join(", ")})`,
    );
  }
}
