import * as z from "zod/mini";
import { type ContainerConfig, type CreateRequest, type HostConfig } from "../../engine/types.ts";
import {
  bool,
  empty,
  int64,
  list,
  map,
  opt,
  struct,
  text,
  textMap,
  textOrTexts,
  texts,
  uint16,
  uint32,
  uint64,
} from "./go.ts";
import { networkingConfig } from "./network.ts";

const healthcheck = struct("container.HealthConfig", {
  Test: opt(texts),
  Interval: opt(int64),
  Timeout: opt(int64),
  StartPeriod: opt(int64),
  StartInterval: opt(int64),
  Retries: opt(int64),
});

const configFields = {
  Hostname: opt(text),
  Domainname: opt(text),
  User: opt(text),
  AttachStdin: opt(bool),
  AttachStdout: opt(bool),
  AttachStderr: opt(bool),
  ExposedPorts: opt(map(empty, {}, "nat.PortSet")),
  Tty: opt(bool),
  OpenStdin: opt(bool),
  StdinOnce: opt(bool),
  Env: opt(texts),
  Cmd: opt(textOrTexts),
  Healthcheck: opt(healthcheck),
  ArgsEscaped: opt(bool),
  Image: opt(text),
  Volumes: opt(map(empty, {}, "map[string]struct {}")),
  WorkingDir: opt(text),
  Entrypoint: opt(textOrTexts),
  NetworkDisabled: opt(bool),
  MacAddress: opt(text),
  OnBuild: opt(texts),
  Labels: opt(textMap),
  StopSignal: opt(text),
  StopTimeout: opt(int64),
  Shell: opt(textOrTexts),
};

const mount = struct("mount.Mount", {
  Type: z._default(text, ""),
  Source: opt(text),
  Target: z._default(text, ""),
  ReadOnly: opt(bool),
  Consistency: opt(text),
  BindOptions: opt(struct("mount.BindOptions", {
    Propagation: opt(text),
    NonRecursive: opt(bool),
    CreateMountpoint: opt(bool),
    ReadOnlyNonRecursive: opt(bool),
    ReadOnlyForceRecursive: opt(bool),
  })),
  VolumeOptions: opt(struct("mount.VolumeOptions", {
    NoCopy: opt(bool),
    Labels: opt(textMap),
    Subpath: opt(text),
    DriverConfig: opt(struct("mount.Driver", { Name: opt(text), Options: opt(textMap) })),
  })),
  TmpfsOptions: opt(struct("mount.TmpfsOptions", {
    SizeBytes: opt(int64),
    Mode: opt(uint32),
    Options: opt(list(texts, [], "[][]string")),
  })),
  ImageOptions: opt(struct("mount.ImageOptions", { Subpath: opt(text) })),
});

const throttles = list(
  struct("blkiodev.ThrottleDevice", { Path: z._default(text, ""), Rate: z._default(uint64, 0) }),
  {},
  "[]*blkiodev.ThrottleDevice",
);
const portBinding = struct("nat.PortBinding", { HostIp: opt(text), HostPort: opt(text) });

export const hostConfig = struct("container.HostConfig", {
  Binds: opt(texts),
  ContainerIDFile: opt(text),
  LogConfig: opt(struct("container.LogConfig", { Type: opt(text), Config: opt(textMap) })),
  NetworkMode: opt(text),
  PortBindings: opt(map(z.nullable(list(portBinding, {}, "[]nat.PortBinding")), null, "nat.PortMap")),
  RestartPolicy: opt(struct("container.RestartPolicy", { Name: opt(text), MaximumRetryCount: opt(int64) })),
  AutoRemove: opt(bool),
  VolumeDriver: opt(text),
  VolumesFrom: opt(texts),
  ConsoleSize: opt(list(uint16, 0, "[2]uint")),
  Annotations: opt(textMap),
  CapAdd: opt(textOrTexts),
  CapDrop: opt(textOrTexts),
  CgroupnsMode: opt(text),
  Dns: opt(texts),
  DnsOptions: opt(texts),
  DnsSearch: opt(texts),
  ExtraHosts: opt(texts),
  GroupAdd: opt(texts),
  IpcMode: opt(text),
  Cgroup: opt(text),
  Links: opt(texts),
  OomScoreAdj: opt(int64),
  PidMode: opt(text),
  Privileged: opt(bool),
  PublishAllPorts: opt(bool),
  ReadonlyRootfs: opt(bool),
  SecurityOpt: opt(texts),
  StorageOpt: opt(textMap),
  Tmpfs: opt(textMap),
  UTSMode: opt(text),
  UsernsMode: opt(text),
  ShmSize: opt(int64),
  Sysctls: opt(textMap),
  Runtime: opt(text),
  Isolation: opt(text),
  CpuShares: opt(int64),
  Memory: opt(int64),
  NanoCpus: opt(int64),
  CgroupParent: opt(text),
  BlkioWeight: opt(uint16),
  BlkioWeightDevice: opt(list(
    struct("blkiodev.WeightDevice", { Path: z._default(text, ""), Weight: z._default(uint16, 0) }),
    {},
    "[]*blkiodev.WeightDevice",
  )),
  BlkioDeviceReadBps: opt(throttles),
  BlkioDeviceWriteBps: opt(throttles),
  BlkioDeviceReadIOps: opt(throttles),
  BlkioDeviceWriteIOps: opt(throttles),
  CpuPeriod: opt(int64),
  CpuQuota: opt(int64),
  CpuRealtimePeriod: opt(int64),
  CpuRealtimeRuntime: opt(int64),
  CpusetCpus: opt(text),
  CpusetMems: opt(text),
  Devices: opt(list(
    struct("container.DeviceMapping", {
      PathOnHost: z._default(text, ""),
      PathInContainer: opt(text),
      CgroupPermissions: opt(text),
    }),
    {},
    "[]container.DeviceMapping",
  )),
  DeviceCgroupRules: opt(texts),
  DeviceRequests: opt(list(
    struct("container.DeviceRequest", {
      Driver: opt(text),
      Count: opt(int64),
      DeviceIDs: opt(texts),
      Capabilities: opt(list(texts, [], "[][]string")),
      Options: opt(textMap),
    }),
    {},
    "[]container.DeviceRequest",
  )),
  KernelMemory: opt(int64),
  KernelMemoryTCP: opt(int64),
  MemoryReservation: opt(int64),
  MemorySwap: opt(int64),
  MemorySwappiness: opt(int64),
  OomKillDisable: opt(bool),
  PidsLimit: opt(int64),
  Ulimits: opt(list(
    struct("units.Ulimit", {
      Name: z._default(text, ""),
      Hard: z._default(int64, 0),
      Soft: z._default(int64, 0),
    }),
    {},
    "[]*units.Ulimit",
  )),
  CpuCount: opt(int64),
  CpuPercent: opt(int64),
  IOMaximumIOps: opt(uint64),
  IOMaximumBandwidth: opt(uint64),
  Mounts: opt(list(mount, {}, "[]mount.Mount")),
  MaskedPaths: opt(texts),
  ReadonlyPaths: opt(texts),
  Init: opt(bool),
});

/** Body of POST /containers/{id}/update: what of it may be changed later. */
export const updateBody = struct("container.UpdateConfig", {
  RestartPolicy: opt(struct("container.RestartPolicy", { Name: opt(text), MaximumRetryCount: opt(int64) })),
  CpuShares: opt(int64),
  Memory: opt(int64),
  NanoCpus: opt(int64),
  BlkioWeight: opt(uint16),
  CpuPeriod: opt(int64),
  CpuQuota: opt(int64),
  CpusetCpus: opt(text),
  CpusetMems: opt(text),
  MemoryReservation: opt(int64),
  MemorySwap: opt(int64),
  PidsLimit: opt(int64),
});

/** `Config` of what is inspected: a request says the same beside `HostConfig`. */
export const config = struct("container.Config", configFields);

/** Body of POST /containers/create: the configuration's own fields, and two more. */
export const createBody = struct("container.CreateRequest", {
  ...configFields,
  HostConfig: opt(hostConfig),
  NetworkingConfig: opt(networkingConfig),
});

export type CreateBody = z.output<typeof createBody>;

/** Splits a body into what the engine keeps apart. `config` is undefined when no field of it was given. */
export function splitCreateBody(
  body: CreateBody,
): {
  config: ContainerConfig | undefined;
  hostConfig: HostConfig;
  networkingConfig: CreateRequest["networkingConfig"];
} {
  const { HostConfig: hostConfig = {}, NetworkingConfig: networking, ...config } = body;
  const given = Object.keys(config).length > 0;
  return { config: given ? config : undefined, hostConfig, networkingConfig: networking };
}

/** Body of POST /containers/{id}/exec. */
export const execCreateBody = struct("container.ExecOptions", {
  AttachStdin: opt(bool),
  AttachStdout: opt(bool),
  AttachStderr: opt(bool),
  ConsoleSize: opt(list(uint16, 0, "[2]uint")),
  DetachKeys: opt(text),
  Tty: opt(bool),
  Env: opt(texts),
  Cmd: opt(textOrTexts),
  Privileged: opt(bool),
  User: opt(text),
  WorkingDir: opt(text),
});

/** Body of POST /exec/{id}/start. */
export const execStartBody = struct("container.ExecStartOptions", {
  Detach: opt(bool),
  Tty: opt(bool),
  ConsoleSize: opt(list(uint16, 0, "[2]uint")),
});
