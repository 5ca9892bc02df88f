import * as z from "zod/mini";
import { containerSummary } from "./containers.ts";
import { imageSummary } from "./images.ts";
import { volume } from "./networks.ts";
import {
  bool,
  dateTime,
  integer,
  mapOf,
  maybe,
  oneOf,
  slice,
  text,
  textMap,
  texts,
  unixTime,
} from "./values.ts";

/** Every refusal. Clients show the message as it is. */
export const errorBody = z.object({ message: text });

export const version = z.object({
  Platform: z.object({ Name: text }),
  Components: z.array(z.object({ Name: text, Version: text, Details: maybe(textMap) })),
  Version: text,
  ApiVersion: text,
  MinAPIVersion: text,
  GitCommit: text,
  GoVersion: text,
  Os: text,
  Arch: text,
  KernelVersion: text,
  Experimental: maybe(bool),
  BuildTime: maybe(text),
});

const commit = z.object({ ID: text, Expected: maybe(text) });

export const info = z.object({
  ID: text,
  Containers: integer,
  ContainersRunning: integer,
  ContainersPaused: integer,
  ContainersStopped: integer,
  Images: integer,
  Driver: text,
  DriverStatus: slice(z.array(text)),
  Plugins: z.object({ Volume: texts, Network: texts, Authorization: texts, Log: texts }),
  MemoryLimit: bool,
  SwapLimit: bool,
  CpuCfsPeriod: bool,
  CpuCfsQuota: bool,
  CPUShares: bool,
  CPUSet: bool,
  PidsLimit: bool,
  OomKillDisable: bool,
  IPv4Forwarding: bool,
  BridgeNfIptables: maybe(bool),
  BridgeNfIp6tables: maybe(bool),
  Debug: bool,
  NFd: integer,
  NGoroutines: integer,
  SystemTime: dateTime,
  LoggingDriver: text,
  CgroupDriver: oneOf("cgroupfs", "systemd", "none"),
  CgroupVersion: maybe(text),
  NEventsListener: integer,
  KernelVersion: text,
  OperatingSystem: text,
  OSVersion: text,
  OSType: text,
  Architecture: text,
  IndexServerAddress: text,
  RegistryConfig: z.object({
    InsecureRegistryCIDRs: texts,
    IndexConfigs: mapOf(z.object({ Name: text, Mirrors: texts, Secure: bool, Official: bool })),
    Mirrors: texts,
    AllowNondistributableArtifactsCIDRs: maybe(z.null()),
    AllowNondistributableArtifactsHostnames: maybe(z.null()),
  }),
  NCPU: integer,
  MemTotal: integer,
  GenericResources: slice(z.unknown()),
  DockerRootDir: text,
  HttpProxy: text,
  HttpsProxy: text,
  NoProxy: text,
  Name: text,
  Labels: texts,
  ExperimentalBuild: bool,
  ServerVersion: text,
  Runtimes: mapOf(z.object({ path: text })),
  DefaultRuntime: text,
  Swarm: z.object({
    NodeID: text,
    NodeAddr: text,
    LocalNodeState: text,
    ControlAvailable: bool,
    Error: text,
    RemoteManagers: slice(z.unknown()),
  }),
  LiveRestoreEnabled: bool,
  Isolation: text,
  InitBinary: text,
  ContainerdCommit: commit,
  RuncCommit: commit,
  InitCommit: commit,
  SecurityOptions: texts,
  DefaultAddressPools: maybe(slice(z.object({ Base: text, Size: integer }))),
  CDISpecDirs: texts,
  Warnings: texts,
});

/** One line of `GET /events`; `status`, `id` and `from` are for clients of before 1.52. */
export const event = z.object({
  status: maybe(text),
  id: maybe(text),
  from: maybe(text),
  Type: oneOf("builder", "container", "daemon", "image", "network", "volume"),
  Action: text,
  Actor: z.object({ ID: text, Attributes: z.record(z.string(), z.string()) }),
  scope: oneOf("local", "swarm"),
  time: unixTime,
  timeNano: integer,
});

export const diskUsage = z.object({
  LayersSize: maybe(integer),
  ImageUsage: maybe(z.object({
    ActiveCount: integer,
    TotalCount: integer,
    TotalSize: integer,
    Reclaimable: integer,
  })),
  Images: maybe(slice(imageSummary)),
  Containers: maybe(slice(containerSummary)),
  Volumes: maybe(slice(volume)),
  BuildCache: maybe(slice(z.object({
    ID: text,
    Parents: maybe(texts),
    Type: text,
    Description: text,
    InUse: bool,
    Shared: bool,
    Size: integer,
    CreatedAt: dateTime,
    LastUsedAt: z.nullable(dateTime),
    UsageCount: integer,
  }))),
  BuilderSize: maybe(integer),
  BuildCacheUsage: maybe(z.object({
    ActiveCount: integer,
    TotalCount: integer,
    TotalSize: integer,
    Reclaimable: integer,
  })),
});

export const buildPruned = z.object({ CachesDeleted: texts, SpaceReclaimed: integer });
