import { invalid } from "../base/errors.ts";
import { type CreateRequest, type HostConfig, type MountPointSpec } from "../engine/types.ts";
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
export function adaptCreate(version: string, request: CreateRequest): CreateRequest {
  const before = (other: string) => compareVersions(version, other) < 0;
  const { config, hostConfig, networkingConfig } = request;
  const host: Record<string, unknown> = { ...hostConfig };
  const endpoints = { ...networkingConfig?.EndpointsConfig };

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

  let adapted = config;
  if (before("1.44") && config.Healthcheck?.StartInterval !== undefined) {
    const { StartInterval: _, ...healthcheck } = config.Healthcheck;
    adapted = { ...config, Healthcheck: healthcheck };
  }
  return {
    ...request,
    platform: before("1.41") ? undefined : request.platform,
    config: adapted,
    hostConfig: host as HostConfig,
    networkingConfig: networkingConfig === undefined && Object.keys(endpoints).length === 0
      ? undefined
      : { EndpointsConfig: endpoints },
  };
}

function adaptMount(mount: MountPointSpec, before: (version: string) => boolean): MountPointSpec {
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
