/**
 * Checks of a create request that need no other container and no file: what is wrong is said at create, not at
 * start, in the words of moby (daemon/container.go, daemon/daemon_unix.go, runconfig/).
 */
import { IPC_SYSCTLS } from "../base/ipc_sysctls.ts";
import { invalid } from "../base/errors.ts";
import { signalNumber } from "../ffi/signals.ts";
import { completeBindings } from "../net/network_ports.ts";
import { resolveCapabilities } from "../runtime/capabilities.ts";
import { DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS } from "./default_paths.ts";
import { RUNTIMES } from "./dockerd_directives.ts";
import type { HostFacts } from "./host_facts.ts";
import { checkLogConfig } from "./log_options.ts";
import { mountPoints } from "./mount_points.ts";
import { parseSecurityOptions } from "./security_options.ts";
import type { ContainerConfig, CreateRequest, HealthConfig, HostConfig } from "./types.ts";
import { RLIMIT_NUMBERS } from "./ulimits.ts";
import { storageOptionWarnings } from "./storage_options.ts";
import {
  type FindNetwork,
  networkMode,
  parsePort,
  validateExtraHost,
  validateHostName,
  validateNetwork,
} from "./validate_network.ts";
import { validateResources } from "./validate_resources.ts";

/** Docker's /dev/shm. */
const DEFAULT_SHM_SIZE = 64 * 1024 * 1024;

/**
 * Checks a create request and fills in the host configuration's defaults, as inspect shows them after create.
 *
 * @throws EngineError invalid (400) in Docker's words.
 */
export function validateCreate(
  request: CreateRequest,
  facts: HostFacts,
  findNetwork?: FindNetwork,
): { hostConfig: HostConfig; warnings: string[] } {
  refuseNul(request.config, "Config");
  refuseNul(request.hostConfig, "HostConfig");
  validateConfig(request.config);
  const { StorageOpt: storageOptions, ...requested } = request.hostConfig;
  const warnings: string[] = [];
  warnings.push(...storageOptionWarnings(storageOptions ?? {}));
  validateModes(requested);
  validateNetwork(request, warnings, findNetwork);
  const restartPolicy = validateRestart(requested);
  for (const host of requested.ExtraHosts ?? []) validateExtraHost(host);
  for (const key of Object.keys(requested.Annotations ?? {})) {
    if (key === "") {
      throw invalid("invalid Annotations: the empty string is not permitted as an annotation key");
    }
  }
  resolveCapabilities(requested.CapAdd ?? [], requested.CapDrop ?? [], requested.Privileged ?? false);
  const security = parseSecurityOptions(requested.SecurityOpt ?? []);
  const shmSize = requested.ShmSize ?? 0;
  if (shmSize < 0) throw invalid("SHM size can not be less than 0");
  const oom = requested.OomScoreAdj ?? 0;
  if (oom < -1000 || oom > 1000) {
    throw invalid(`Invalid value ${oom}, range for oom score adj is [-1000, 1000]`);
  }
  if (requested.Runtime && !RUNTIMES.includes(requested.Runtime)) {
    throw invalid(`unknown or invalid runtime name: ${requested.Runtime}`);
  }
  validateUlimits(requested.Ulimits ?? []);
  validateSysctls(requested);
  refuseLaterFeatures(requested);
  mountPoints(requested);
  const logConfig = resolveLogConfig(requested);
  const { resources, warnings: limits } = validateResources(requested, facts);
  warnings.push(...limits);

  const privileged = requested.Privileged ?? false;
  const hidden = (given: readonly string[] | null | undefined, normal: readonly string[]) =>
    privileged ? null : security.unconfinedPaths ? [] : given ?? normal;
  const hostConfig: HostConfig = {
    ...EMPTY_HOST_CONFIG,
    ...withoutUndefined(requested),
    ...resources,
    LogConfig: logConfig,
    NetworkMode: networkMode(requested),
    PortBindings: requested.PortBindings ? completeBindings(requested.PortBindings) : null,
    RestartPolicy: restartPolicy,
    ConsoleSize: requested.ConsoleSize ?? [0, 0],
    CgroupnsMode: requested.CgroupnsMode ||
      (privileged && facts.cgroups.version === "1" ? "host" : "private"),
    IpcMode: requested.IpcMode || "private",
    ShmSize: shmSize || DEFAULT_SHM_SIZE,
    Runtime: requested.Runtime || "berth",
    Dns: requested.Dns ?? null,
    DnsOptions: requested.DnsOptions ?? null,
    DnsSearch: requested.DnsSearch ?? null,
    Devices: requested.Devices ?? null,
    Ulimits: requested.Ulimits ?? null,
    MaskedPaths: hidden(requested.MaskedPaths, DEFAULT_MASKED_PATHS),
    ReadonlyPaths: hidden(requested.ReadonlyPaths, DEFAULT_READONLY_PATHS),
  };
  return { hostConfig, warnings };
}

/** Every field that Docker's inspect shows although nobody set it. */
const EMPTY_HOST_CONFIG: HostConfig = {
  Binds: null,
  ContainerIDFile: "",
  AutoRemove: false,
  VolumeDriver: "",
  VolumesFrom: null,
  CapAdd: null,
  CapDrop: null,
  ExtraHosts: null,
  GroupAdd: null,
  Cgroup: "",
  Links: null,
  OomScoreAdj: 0,
  PidMode: "",
  Privileged: false,
  PublishAllPorts: false,
  ReadonlyRootfs: false,
  SecurityOpt: null,
  UTSMode: "",
  UsernsMode: "",
  Isolation: "",
  CgroupParent: "",
  DeviceCgroupRules: null,
  DeviceRequests: null,
  CpuRealtimePeriod: 0,
  CpuRealtimeRuntime: 0,
  CpuCount: 0,
  CpuPercent: 0,
  IOMaximumIOps: 0,
  IOMaximumBandwidth: 0,
};

function withoutUndefined(config: HostConfig): HostConfig {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}

/** A NUL ends a string for the kernel: what comes after it would silently be lost. */
function refuseNul(value: unknown, path: string): void {
  if (typeof value === "string") {
    if (value.includes("\0")) throw invalid(`invalid ${path}: contains a NUL byte`);
  } else if (typeof value === "object" && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      refuseNul(key, path);
      refuseNul(inner, Array.isArray(value) ? path : `${path}.${key}`);
    }
  }
}

function validateConfig(config: ContainerConfig): void {
  const { WorkingDir: workingDir = "", StopSignal: stopSignal = "" } = config;
  if (workingDir !== "" && !workingDir.startsWith("/")) {
    throw invalid(`the working directory '${workingDir}' is invalid, it needs to be an absolute path`);
  }
  if (stopSignal !== "" && signalNumber(stopSignal) === undefined) {
    throw invalid(`invalid signal: ${stopSignal}`);
  }
  for (const entry of config.Env ?? []) {
    if (entry === "" || entry.startsWith("=")) throw invalid(`invalid environment variable: ${entry}`);
  }
  validateHostName("hostname", config.Hostname ?? "");
  validateHostName("domainname", config.Domainname ?? "");
  if (config.Healthcheck) validateHealth(config.Healthcheck);
  for (const port of Object.keys(config.ExposedPorts ?? {})) parsePort(port);
  for (const target of Object.keys(config.Volumes ?? {})) {
    if (!target.startsWith("/")) {
      throw invalid(
        `invalid volume specification: '${target}': invalid mount config for type "volume": ` +
          `invalid mount path: '${target}' mount path must be absolute`,
      );
    }
  }
}

/** Docker's smallest interval of a health check, in nanoseconds. */
const MIN_HEALTH_TIME = 1_000_000;

function validateHealth(health: HealthConfig): void {
  for (const key of ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const) {
    const value = health[key] ?? 0;
    if (value !== 0 && value < MIN_HEALTH_TIME) {
      throw invalid(`${key} in Healthcheck cannot be less than 1ms`);
    }
  }
  if ((health.Retries ?? 0) < 0) throw invalid("Retries in Healthcheck cannot be negative");
}

function validateModes(host: HostConfig): void {
  const container = (mode: string) => /^container:.+$/.test(mode);
  const { IpcMode: ipc = "", PidMode: pid = "", UTSMode: uts = "", UsernsMode: userns = "" } = host;
  if (!["", "none", "private", "shareable", "host"].includes(ipc) && !container(ipc)) {
    throw invalid(`invalid IPC mode: ${ipc}`);
  }
  if (!["", "host"].includes(pid) && !container(pid)) throw invalid(`invalid PID mode: ${pid}`);
  if (!["", "host"].includes(uts)) throw invalid(`invalid UTS mode: ${uts}`);
  if (!["", "host"].includes(userns)) throw invalid(`invalid userns mode: ${userns}`);
  const cgroupns = host.CgroupnsMode ?? "";
  if (!["", "private", "host"].includes(cgroupns)) {
    throw invalid(`invalid cgroup namespace mode: ${cgroupns}`);
  }
  const isolation = String(host["Isolation"] ?? "");
  if (!["", "default"].includes(isolation)) {
    throw invalid(`invalid isolation (${isolation}): linux only supports 'default'`);
  }
}

/** @throws {EngineError} invalid. */
export function validateRestart(host: HostConfig): { Name: string; MaximumRetryCount: number } {
  const { Name: name = "", MaximumRetryCount: count = 0 } = host.RestartPolicy ?? {};
  switch (name) {
    case "always":
    case "":
    case "no":
    case "unless-stopped":
      if (count !== 0) {
        throw invalid(
          "invalid restart policy: maximum retry count can only be used with 'on-failure'" +
            (count < 0 ? " and cannot be negative" : ""),
        );
      }
      break;
    case "on-failure":
      if (count < 0) throw invalid("invalid restart policy: maximum retry count cannot be negative");
      break;
    default:
      throw invalid(
        `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
      );
  }
  if (host.AutoRemove && name !== "" && name !== "no") {
    throw invalid("can't create 'AutoRemove' container with restart policy");
  }
  return { Name: name || "no", MaximumRetryCount: count };
}

function validateUlimits(ulimits: NonNullable<HostConfig["Ulimits"]>): void {
  for (const { Name: name, Soft: soft, Hard: hard } of ulimits) {
    if (!Object.hasOwn(RLIMIT_NUMBERS, name)) throw invalid(`invalid ulimit type: ${name}`);
    const unlimited = (value: number) => value === -1 ? Infinity : value;
    if (soft < -1 || hard < -1) throw invalid(`invalid ulimit value for ${name}: ${Math.min(soft, hard)}`);
    if (unlimited(soft) > unlimited(hard)) {
      throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
    }
  }
}

function validateSysctls(host: HostConfig): void {
  for (const key of Object.keys(host.Sysctls ?? {})) {
    const name = key.includes("/") && !key.split("/")[0]?.includes(".") ? key.replaceAll("/", ".") : key;
    if (!/^[a-zA-Z0-9_.*/:@-]+$/.test(name) || name.split(/[./]/).includes("") || name.includes("..")) {
      throw invalid(`invalid sysctl name: ${JSON.stringify(key)}`);
    }
    if (IPC_SYSCTLS.includes(name) || name.startsWith("fs.mqueue.")) {
      if (host.IpcMode === "host") throw invalid(`sysctl "${key}" is not allowed in the hosts ipc namespace`);
    } else if (name.startsWith("net.")) {
      if (host.NetworkMode === "host") throw invalid(`sysctl "${key}" not allowed in host network namespace`);
    } else if (name === "kernel.domainname") {
      if (host.UTSMode === "host") throw invalid(`sysctl "${key}" is not allowed in the hosts uts namespace`);
    } else if (name === "kernel.hostname") {
      throw invalid(`sysctl "${key}" is not allowed as it conflicts with the OCI "hostname" field`);
    } else {
      throw invalid(`sysctl "${key}" is not in a separate kernel namespace`);
    }
  }
}

/** What berth cannot do yet is refused: a container that silently lacks a volume is worse than none. */
function refuseLaterFeatures(host: HostConfig): void {
  const requests = host["DeviceRequests"];
  if (Array.isArray(requests) && requests.length > 0) {
    const { Driver: driver = "", Capabilities: caps = [] } = requests[0] ?? {};
    const wanted = (caps as string[][]).map((group) => `[${group.join(" ")}]`).join(" ");
    throw invalid(`could not select device driver "${driver}" with capabilities: [${wanted}]`);
  }
  for (const device of host.Devices ?? []) {
    if (!device.PathOnHost.startsWith("/")) throw invalid(`${device.PathOnHost} is not an absolute path`);
    if (device.CgroupPermissions && !/^[rwm]+$/.test(device.CgroupPermissions)) {
      throw invalid(`invalid device mode: ${device.CgroupPermissions}`);
    }
  }
}

function resolveLogConfig(host: HostConfig): { Type: string; Config: Readonly<Record<string, string>> } {
  const config = host.LogConfig?.Config ?? {};
  const type = host.LogConfig?.Type || "json-file";
  checkLogConfig(type, config);
  return { Type: type, Config: config };
}
