import { invalid } from "../base/errors.ts";
import {
  type ContainerConfig,
  type CreateRequest,
  type HostConfig,
  type MountPointSpec,
} from "../engine/types.ts";
import { isUserDefined } from "../net/network_endpoint.ts";
import { OPTION } from "../net/network_options.ts";
import type { EndpointSettings } from "../net/network_types.ts";
import { compareVersions } from "./version.ts";

/** Which kind of mount each group of options belongs to. */
const OPTIONS_OF: readonly [keyof MountPointSpec, string][] = [
  ["VolumeOptions", "volume"],
  ["BindOptions", "bind"],
  ["TmpfsOptions", "tmpfs"],
];

/**
 * Turns a create request of an older API version into what it means today: fields that the version did not have are
 * ignored, defaults that it had are put in (moby: api/server/router/container/container_routes.go).
 *
 * @throws EngineError "invalid" where Docker refuses a combination.
 */
export function adaptCreate(
  version: string,
  request: CreateRequest,
): { request: CreateRequest; warnings: string[] } {
  const before = (other: string) => compareVersions(version, other) < 0;
  const { config, hostConfig, networkingConfig } = request;
  const host: Record<string, unknown> = { ...hostConfig };
  const endpoints: Endpoints = { ...networkingConfig?.EndpointsConfig };

  // "default" means the default network of the platform; from here on it has a name.
  if (
    hostConfig.NetworkMode === undefined || hostConfig.NetworkMode === "" ||
    hostConfig.NetworkMode === "default"
  ) {
    host["NetworkMode"] = "bridge";
    if ("default" in endpoints) {
      endpoints["bridge"] = endpoints["default"];
      delete endpoints["default"];
    }
  }
  // Before 1.25 the client removed the container itself.
  if (before("1.25")) delete host["AutoRemove"];
  if (before("1.40") && !hostConfig.IpcMode) host["IpcMode"] = "shareable";
  if (before("1.40")) delete host["KernelMemoryTCP"];
  if (before("1.42")) delete host["ConsoleSize"];
  else delete host["KernelMemory"];
  if (before("1.43")) delete host["Annotations"];
  // 0 and -1 both say "unlimited", which is also what nothing says.
  if (typeof hostConfig.PidsLimit === "number" && hostConfig.PidsLimit <= 0) delete host["PidsLimit"];
  if (hostConfig.Mounts) host["Mounts"] = hostConfig.Mounts.map((mount) => adaptMount(mount, before));
  if (before("1.44") && Object.keys(endpoints).length > 1) {
    const names = Object.keys(endpoints).join(", ");
    throw invalid(`Container cannot be created with multiple network endpoints: ${names}`);
  }

  const warnings: string[] = [];
  const mode = String(host["NetworkMode"]);
  let adapted = moveMac(before, config, mode, endpoints, warnings);
  const sysctls = moveSysctls(before, hostConfig.Sysctls, mode, endpoints, warnings);
  if (sysctls !== undefined) host["Sysctls"] = sysctls;
  if (before("1.44") && config.Healthcheck?.StartInterval !== undefined) {
    const { StartInterval: _, ...healthcheck } = config.Healthcheck;
    adapted = { ...adapted, Healthcheck: healthcheck };
  }
  const adaptedRequest: CreateRequest = {
    ...request,
    platform: before("1.41") ? undefined : request.platform,
    config: adapted,
    hostConfig: host as HostConfig,
    networkingConfig: networkingConfig === undefined && Object.keys(endpoints).length === 0
      ? undefined
      : { EndpointsConfig: endpoints },
  };
  return { request: adaptedRequest, warnings };
}

type Endpoints = Record<string, EndpointSettings | null>;
type Before = (version: string) => boolean;

/**
 * The container's hardware address has become its endpoint's with 1.44 (moby: handleMACAddressBC).
 * Changes `endpoints`; answers the configuration.
 */
function moveMac(
  before: Before,
  config: ContainerConfig,
  mode: string,
  endpoints: Endpoints,
  warnings: string[],
): ContainerConfig {
  const { MacAddress: mac, ...rest } = config;
  const own = mode === "bridge" || isUserDefined(mode);
  if (before("1.44")) {
    // Endpoints had none of their own: what is there was not looked at.
    for (const [name, settings] of Object.entries(endpoints)) {
      endpoints[name] = { ...settings, MacAddress: "" };
    }
    if (!mac) return config;
    if (!own) throw invalid("conflicting options: mac-address and the network mode");
    const [only, ...others] = Object.keys(endpoints);
    const name = mode in endpoints || only === undefined || others.length > 0 ? mode : only;
    endpoints[name] = { ...endpoints[name], MacAddress: mac };
    return config;
  }
  if (!mac) return config;
  if (own) {
    if (Object.keys(endpoints).length > 0 && !(mode in endpoints)) {
      throw invalid(
        "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match " +
          "the identity of a network in NetworkSettings.Networks",
      );
    }
    const given = endpoints[mode]?.MacAddress || mac;
    if (given !== mac) {
      throw invalid(
        "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
      );
    }
    endpoints[mode] = { ...endpoints[mode], MacAddress: mac };
  }
  warnings.push(
    "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.",
  );
  return own ? rest : config;
}

/**
 * Sysctls of an interface are set when there is one: they have become the endpoint's (moby: handleSysctlBC).
 * Changes `endpoints`; answers the other sysctls when there were any of that kind.
 */
function moveSysctls(
  before: Before,
  sysctls: Readonly<Record<string, string>> | null | undefined,
  mode: string,
  endpoints: Endpoints,
  warnings: string[],
): Record<string, string> | undefined {
  const perInterface = /^(net\.(?:ipv4|ipv6|mpls)\.[^.]+)\.(eth\d+)\.(.+)$/;
  const rest: Record<string, string> = {};
  const moved: string[] = [];
  for (const [key, value] of Object.entries(sysctls ?? {})) {
    const [, start, name, end] = perInterface.exec(key) ?? [];
    if (start === undefined || mode === "host" || mode.startsWith("container:")) {
      rest[key] = value;
      continue;
    }
    if (!before("1.48")) {
      throw invalid(
        `interface specific sysctl setting ${
          JSON.stringify(key)
        } must be supplied using driver option '${OPTION.endpointSysctls}'`,
      );
    }
    if (name !== "eth0") throw invalid(`unable to determine network endpoint for sysctl ${key}`);
    moved.push(`${start}.IFNAME.${end}=${value}`);
  }
  if (moved.length === 0) return undefined;
  const endpoint = endpoints[mode] ?? {};
  const known = endpoint.DriverOpts?.[OPTION.endpointSysctls];
  const all = [...(known === undefined ? [] : [known]), ...moved].join(",");
  endpoints[mode] = { ...endpoint, DriverOpts: { ...endpoint.DriverOpts, [OPTION.endpointSysctls]: all } };
  warnings.push(
    `Migrated ${
      moved.map((one) => one.split("=")[0]?.replace("IFNAME", "eth0")).join(", ")
    } to DriverOpts{"${OPTION.endpointSysctls}":"${all}"}.`,
  );
  return rest;
}

function adaptMount(mount: MountPointSpec, before: (version: string) => boolean): MountPointSpec {
  if (mount.Type === "image" && before("1.48")) throw invalid(`Mount type "Image" needs API v1.48 or newer`);
  const adapted: Record<string, unknown> = { ...mount };
  for (const [field, type] of OPTIONS_OF) {
    if (mount[field] === undefined || mount.Type === type) continue;
    if (!before("1.42")) {
      throw invalid(`${field} must not be specified on mount type ${JSON.stringify(mount.Type)}`);
    }
    if (field !== "BindOptions") delete adapted[field];
  }
  if (mount.BindOptions) {
    const options: Record<string, unknown> = { ...mount.BindOptions };
    if (before("1.40")) delete options["NonRecursive"];
    if (before("1.42")) delete options["CreateMountpoint"];
    if (before("1.44")) {
      if (mount.Type === "bind" && mount.BindOptions.ReadOnlyForceRecursive) {
        throw invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
      }
      // Read-only mounts of old clients are read-only at the top only.
      options["ReadOnlyNonRecursive"] = true;
    }
    adapted["BindOptions"] = options;
  }
  if (before("1.45") && mount.VolumeOptions?.["Subpath"]) {
    throw invalid("VolumeOptions.Subpath needs API v1.45 or newer");
  }
  return adapted as unknown as MountPointSpec;
}
