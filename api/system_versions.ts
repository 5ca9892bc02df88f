/** What `GET /info` and `GET /system/df` had in older versions of the API (moby: api/server/router/system/system_routes.go). */
import { compareVersions } from "./version.ts";

type View = Record<string, unknown>;

/** `GET /info` as a version of the API has it. */
export function adaptInfo(version: string, info: View): View {
  const before = (other: string) => compareVersions(version, other) < 0;
  const { FirewallBackend, ...rest } = info;
  return {
    ...rest,
    ...(before("1.42") ? { KernelMemory: false } : {}),
    ...(before("1.49") ? {} : { FirewallBackend }),
    ...(before("1.25") ? { SecurityOptions: optionNames(info["SecurityOptions"]) } : {}),
    ...(before("1.47") ? { RegistryConfig: withArtifacts(info["RegistryConfig"]) } : {}),
    ...(before("1.50") ? { BridgeNfIptables: false, BridgeNfIp6tables: false } : {}),
  };
}

/** `["seccomp"]` of `["name=seccomp,profile=builtin"]`. */
function optionNames(options: unknown): string[] {
  return (Array.isArray(options) ? options.map(String) : [])
    .map((option) => /(?:^|,)name=([^,]*)/.exec(option)?.[1] ?? option);
}

const withArtifacts = (registries: unknown): View => ({
  ...(registries as View | undefined),
  AllowNondistributableArtifactsCIDRs: null,
  AllowNondistributableArtifactsHostnames: null,
});

/** `GET /system/df` as a version of the API has it. */
export function adaptDiskUsage(version: string, usage: View): View {
  const before = (other: string) => compareVersions(version, other) < 0;
  const { Images: images, BuilderSize, BuildCache: cache, ...rest } = usage;
  return {
    // What was not asked for is null, as Go's nil slices are.
    LayersSize: 0,
    ...(images === undefined ? { Images: null } : {}),
    Containers: null,
    Volumes: null,
    ...(cache === undefined ? { BuildCache: null } : {}),
    ...rest,
    ...(Array.isArray(cache)
      ? { BuildCache: before("1.42") ? cache.map(({ Parents: _, ...record }: View) => record) : cache }
      : {}),
    ...(Array.isArray(images)
      ? { Images: before("1.44") ? images : images.map(({ VirtualSize: _, ...image }: View) => image) }
      : {}),
    ...(before("1.42") ? { BuilderSize } : {}),
  };
}
