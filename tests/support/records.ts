/** Records, images and facts for tests of the engine's pure modules. */
import { NO_NETWORK } from "../../engine/container_network.ts";
import type { ContainerRecord, ContainerState } from "../../engine/container_record.ts";
import { CREATED_STATE } from "../../engine/container_record.ts";
import type { HostFacts } from "../../engine/host_facts.ts";
import type { ContainerConfig, CreateRequest, Filters, HostConfig } from "../../engine/types.ts";
import { validateCreate } from "../../engine/validate.ts";
import type { Image } from "../../image/types.ts";

export const FACTS: HostFacts = {
  ncpu: 2,
  cpus: "0-1",
  memoryNodes: "0",
  memTotal: 8 * 1024 ** 3,
  cgroupControllers: [],
  swapLimit: false,
  deviceFilter: false,
  cgroups: { version: "2", driver: "none", controllers: [], path: "", reason: "not delegated" },
  kernel: "6.1.0-18-amd64",
  machine: "x86_64",
  isRootless: true,
  singleId: false,
};

export function createRequest(config: ContainerConfig = {}, hostConfig: HostConfig = {}): CreateRequest {
  return { name: undefined, platform: undefined, config, hostConfig, networkingConfig: undefined };
}

export const ID = "ab12".padEnd(64, "0");

const NOT_JOINED = { networkId: "", settings: {}, endpoint: null };

/** A record as create makes it, with the host configuration's defaults filled in. */
export function containerRecord(
  parts: {
    readonly config?: ContainerConfig;
    readonly hostConfig?: HostConfig;
    readonly state?: Partial<ContainerState>;
  } & Partial<Omit<ContainerRecord, "config" | "hostConfig" | "state">> = {},
): ContainerRecord {
  const { config = {}, hostConfig = {}, state = {}, ...rest } = parts;
  const mode = hostConfig.NetworkMode?.startsWith("container:")
    ? undefined
    : hostConfig.NetworkMode ?? "bridge";
  const [path = "sh", ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  return {
    id: ID,
    name: "merry_ship",
    createdAt: "2026-01-02T03:04:05.678901234Z",
    imageId: `sha256:${"1".repeat(64)}`,
    imageRef: "busybox:latest",
    path,
    args,
    config: { Hostname: ID.slice(0, 12), ...config },
    hostConfig: validateCreate(createRequest(config, hostConfig), FACTS).hostConfig,
    network: { ...NO_NETWORK, attachments: mode === undefined ? {} : { [mode]: NOT_JOINED } },
    driver: "overlay",
    platform: "linux",
    state: { ...CREATED_STATE, ...state },
    dir: `/data/containers/${ID}`,
    logPath: `/data/containers/${ID}/${ID}-json.log`,
    hostnamePath: `/data/containers/${ID}/hostname`,
    hostsPath: `/data/containers/${ID}/hosts`,
    resolvConfPath: `/data/containers/${ID}/resolv.conf`,
    exitFile: "",
    shim: null,
    restartCount: 0,
    starts: 0,
    warnings: [],
    ...rest,
  };
}

export function image(parts: Partial<Image> = {}): Image {
  return {
    id: `sha256:${"1".repeat(64)}`,
    config: { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: ["sha256:aa"] } },
    configJson: "{}",
    chainIds: ["sha256:aa"],
    size: 1000,
    createdAt: "2026-01-01T00:00:00Z",
    repoTags: ["busybox:latest"],
    repoDigests: [],
    lastTagTime: undefined,
    parent: "",
    hostDirs: [],
    ...parts,
  };
}

export function filters(entries: Readonly<Record<string, readonly string[]>>): Filters {
  return new Map(Object.entries(entries));
}
