import * as z from "zod/mini";
import { config, hostConfig } from "../../schemas/container.ts";
import { endpoint as endpointSettings } from "../../schemas/network.ts";
import {
  anything,
  bool,
  dateTime,
  integer,
  mapOf,
  maybe,
  number,
  oneOf,
  slice,
  text,
  textMap,
  texts,
  unixTime,
} from "./values.ts";

export const endpoint = z.object({
  ...endpointSettings.def.out.shape,
  NetworkID: text,
  EndpointID: text,
  Gateway: text,
  IPAddress: text,
  IPPrefixLen: integer,
  IPv6Gateway: text,
  GlobalIPv6Address: text,
  GlobalIPv6PrefixLen: integer,
  IPAMConfig: z.nullable(endpointSettings.def.out.shape.IPAMConfig),
  Links: texts,
  Aliases: texts,
  DriverOpts: textMap,
  DNSNames: texts,
});

const port = z.object({
  IP: maybe(text),
  PrivatePort: integer,
  PublicPort: maybe(integer),
  Type: oneOf("tcp", "udp", "sctp"),
});

export const mountPoint = z.object({
  Type: oneOf("bind", "volume", "tmpfs", "image", "npipe", "cluster"),
  Name: maybe(text),
  Source: text,
  Destination: text,
  Driver: maybe(text),
  Mode: text,
  RW: bool,
  Propagation: text,
});

const status = oneOf("created", "running", "paused", "restarting", "removing", "exited", "dead");

export const containerSummary = z.object({
  Id: text,
  Names: z.array(text),
  Image: text,
  ImageID: text,
  Command: text,
  Created: unixTime,
  Ports: z.array(port),
  SizeRw: maybe(integer),
  SizeRootFs: maybe(integer),
  Labels: textMap,
  State: status,
  Status: text,
  HostConfig: z.object({ NetworkMode: text, Annotations: maybe(textMap) }),
  NetworkSettings: z.object({ Networks: mapOf(endpoint) }),
  Mounts: z.array(mountPoint),
});

export const health = z.object({
  Status: oneOf("none", "starting", "healthy", "unhealthy"),
  FailingStreak: integer,
  Log: slice(z.object({ Start: dateTime, End: dateTime, ExitCode: integer, Output: text })),
});

const portMap = mapOf(slice(z.object({ HostIp: text, HostPort: text })));

export const container = z.object({
  Id: text,
  Created: dateTime,
  Path: text,
  Args: z.array(text),
  State: z.object({
    Status: status,
    Running: bool,
    Paused: bool,
    Restarting: bool,
    OOMKilled: bool,
    Dead: bool,
    Pid: integer,
    ExitCode: integer,
    Error: text,
    StartedAt: dateTime,
    FinishedAt: dateTime,
    Health: maybe(health),
  }),
  Image: text,
  ResolvConfPath: text,
  HostnamePath: text,
  HostsPath: text,
  LogPath: text,
  Name: text,
  RestartCount: integer,
  Driver: text,
  Platform: text,
  MountLabel: text,
  ProcessLabel: text,
  AppArmorProfile: text,
  ExecIDs: texts,
  HostConfig: hostConfig,
  GraphDriver: z.object({ Data: textMap, Name: text }),
  SizeRw: maybe(integer),
  SizeRootFs: maybe(integer),
  Mounts: z.array(mountPoint),
  Config: config,
  NetworkSettings: z.object({
    Bridge: text,
    SandboxID: text,
    SandboxKey: text,
    Ports: portMap,
    HairpinMode: bool,
    LinkLocalIPv6Address: text,
    LinkLocalIPv6PrefixLen: integer,
    SecondaryIPAddresses: z.null(),
    SecondaryIPv6Addresses: z.null(),
    EndpointID: text,
    Gateway: text,
    GlobalIPv6Address: text,
    GlobalIPv6PrefixLen: integer,
    IPAddress: text,
    IPPrefixLen: integer,
    IPv6Gateway: text,
    MacAddress: text,
    Networks: mapOf(endpoint),
  }),
});

export const created = z.object({ Id: text, Warnings: z.array(text) });
export const updated = z.object({ Warnings: texts });
export const waited = z.object({ StatusCode: integer, Error: maybe(z.object({ Message: text })) });
export const processes = z.object({ Titles: z.array(text), Processes: z.array(z.array(text)) });
export const changes = slice(z.object({ Path: text, Kind: z.literal([0, 1, 2]) }));
export const containersPruned = z.object({ ContainersDeleted: texts, SpaceReclaimed: integer });
export const identified = z.object({ Id: text });

export const execProcess = z.object({
  ID: text,
  Running: bool,
  ExitCode: z.nullable(integer),
  ProcessConfig: z.object({
    tty: bool,
    entrypoint: text,
    arguments: texts,
    privileged: maybe(bool),
    user: maybe(text),
  }),
  OpenStdin: bool,
  OpenStderr: bool,
  OpenStdout: bool,
  CanRemove: bool,
  ContainerID: text,
  DetachKeys: text,
  Pid: integer,
});

const blkio = slice(z.object({ major: integer, minor: integer, op: text, value: integer }));
const cpu = z.object({
  cpu_usage: z.object({
    total_usage: integer,
    percpu_usage: maybe(slice(integer)),
    usage_in_kernelmode: integer,
    usage_in_usermode: integer,
  }),
  system_cpu_usage: maybe(integer),
  online_cpus: maybe(integer),
  throttling_data: z.object({ periods: integer, throttled_periods: integer, throttled_time: integer }),
});

export const stats = z.object({
  name: text,
  id: text,
  read: dateTime,
  preread: dateTime,
  pids_stats: z.object({ current: maybe(integer), limit: maybe(number) }),
  blkio_stats: z.object({
    io_service_bytes_recursive: blkio,
    io_serviced_recursive: blkio,
    io_queue_recursive: blkio,
    io_service_time_recursive: blkio,
    io_wait_time_recursive: blkio,
    io_merged_recursive: blkio,
    io_time_recursive: blkio,
    sectors_recursive: blkio,
  }),
  num_procs: integer,
  storage_stats: anything,
  cpu_stats: cpu,
  precpu_stats: cpu,
  memory_stats: z.object({
    usage: maybe(integer),
    max_usage: maybe(integer),
    stats: maybe(z.record(z.string(), number)),
    failcnt: maybe(integer),
    limit: maybe(number),
  }),
  networks: maybe(z.record(z.string(), z.record(z.string(), number))),
  pressure_stats: maybe(anything),
});
