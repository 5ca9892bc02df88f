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
  if (before("1.48")) {
    for (const [name, settings] of Object.entries(endpoints)) {
      const { GwPriority: _, ...rest } = settings ?? {};
      endpoints[name] = rest;
    }
  }

  const warnings: string[] = [];
  if (!before("1.48") && hasAmbiguousDriver(hostConfig)) {
    warnings.push(
      "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. " +
        "Use '--mount type=volume,volume-driver=...' instead",
    );
  }
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
    // Until 1.43 what is mounted below a read-only bind stayed writable.
    ...(before("1.44") ? { readOnlyAtTop: true } : {}),
  };
  return { request: adaptedRequest, warnings };
}

/** `VolumeDriver` is for volumes of `Binds`: there is a mount of a volume that does not name a driver of its own (moby: handleVolumeDriverBC). */
const hasAmbiguousDriver = ({ VolumeDriver: driver, Mounts: mounts }: HostConfig): boolean =>
  Boolean(driver) &&
  (mounts ?? []).some(({ Type, VolumeOptions: options }) =>
    Type === "volume" && !options?.DriverConfig?.Name
  );

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
    const name = mainEndpoint(before, mode, endpoints);
    endpoints[name] = { ...endpoints[name], MacAddress: mac };
    return config;
  }
  if (!mac) return config;
  if (own) {
    const name = mainEndpoint(
      before,
      mode,
      endpoints,
      "unable to migrate container-wide MAC address to a specific network: ",
    );
    const given = endpoints[name]?.MacAddress || mac;
    if (given !== mac) {
      throw invalid(
        "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
      );
    }
    endpoints[name] = { ...endpoints[name], MacAddress: mac };
  }
  warnings.push(
    "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.",
  );
  return own ? rest : config;
}

/**
 * The name that the endpoint of the container's main network has, or gets (moby: epConfigForNetMode).
 *
 * @param what goes before the complaint.
 * @throws EngineError "invalid" when there are others, of which any could be meant.
 */
function mainEndpoint(before: Before, mode: string, endpoints: Endpoints, what = ""): string {
  const [first] = Object.keys(endpoints);
  if (first === undefined || Object.hasOwn(endpoints, mode)) return mode;
  // There is one at most then, and it was taken under whatever name.
  if (before("1.44")) return first;
  throw invalid(
    `${what}HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks`,
  );
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
  const keys: string[] = [];
  const moved: string[] = [];
  let endpoint: string | undefined;
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
    if (name !== "eth0") {
      throw invalid(
        `unable to determine network endpoint for sysctl ${key}, use driver option '${OPTION.endpointSysctls}' ` +
          "to set per-interface sysctls",
      );
    }
    endpoint ??= mainEndpoint(before, mode, endpoints, `unable to find a network for sysctl ${key}: `);
    keys.push(key);
    moved.push(`${start}.IFNAME.${end}=${value}`);
  }
  if (endpoint === undefined) return undefined;
  const settings = endpoints[endpoint] ?? {};
  const option = moved.join(",");
  // The endpoint's own come last: of two for the same the later one is in force.
  const known = settings.DriverOpts?.[OPTION.endpointSysctls];
  const all = known === undefined ? option : `${option},${known}`;
  endpoints[endpoint] = {
    ...settings,
    DriverOpts: { ...settings.DriverOpts, [OPTION.endpointSysctls]: all },
  };
  warnings.push(
    `Migrated sysctl ${JSON.stringify(keys.join(","))} to DriverOpts{${
      JSON.stringify(OPTION.endpointSysctls)
    }:${JSON.stringify(option)}}.`,
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
      if (mount.ReadOnly) options["ReadOnlyNonRecursive"] = true;
    }
    adapted["BindOptions"] = options;
  }
  if (before("1.45") && mount.VolumeOptions?.["Subpath"]) {
    throw invalid("VolumeOptions.Subpath needs API v1.45 or newer");
  }
  return adapted as unknown as MountPointSpec;
}
