/** The text of `info`. */

import { bytesSize } from "./units.ts";

type Text = string | null | undefined;

/** The parts of GET /info that are shown. */
export interface Info {
  Containers?: number;
  ContainersRunning?: number;
  ContainersPaused?: number;
  ContainersStopped?: number;
  Images?: number;
  ServerVersion?: string;
  Driver?: string;
  DriverStatus?: [string, string][] | null;
  LoggingDriver?: string;
  CgroupDriver?: string;
  CgroupVersion?: string;
  Plugins?: Record<string, string[] | null> | null;
  Swarm?: { LocalNodeState?: string };
  Runtimes?: Record<string, unknown> | null;
  DefaultRuntime?: string;
  InitBinary?: string;
  ContainerdCommit?: { ID?: string };
  RuncCommit?: { ID?: string };
  InitCommit?: { ID?: string };
  SecurityOptions?: string[] | null;
  KernelVersion?: string;
  OperatingSystem?: string;
  OSType?: string;
  Architecture?: string;
  NCPU?: number;
  MemTotal?: number;
  Name?: string;
  ID?: string;
  DockerRootDir?: string;
  Debug?: boolean;
  NFd?: number;
  NGoroutines?: number;
  SystemTime?: string;
  NEventsListener?: number;
  HttpProxy?: string;
  HttpsProxy?: string;
  NoProxy?: string;
  Labels?: string[] | null;
  ExperimentalBuild?: boolean;
  RegistryConfig?: {
    InsecureRegistryCIDRs?: string[] | null;
    IndexConfigs?: Record<string, { Name?: string; Secure?: boolean }> | null;
    Mirrors?: string[] | null;
  } | null;
  LiveRestoreEnabled?: boolean;
  DefaultAddressPools?: { Base: string; Size: number }[] | null;
  FirewallBackend?: { Driver?: string; Info?: [string, string][] | null } | null;
  Warnings?: string[] | null;
}

/** Server part, one line each, newline at the end included. */
export function describeInfo(info: Info): string {
  const lines: string[] = [];
  const always = (label: string, value: unknown) => lines.push(` ${label}: ${value ?? ""}`);
  const unlessEmpty = (label: string, value: Text) => {
    if (value) lines.push(` ${label}: ${value}`);
  };
  always("Containers", info.Containers ?? 0);
  lines.push(
    `  Running: ${info.ContainersRunning ?? 0}`,
    `  Paused: ${info.ContainersPaused ?? 0}`,
    `  Stopped: ${info.ContainersStopped ?? 0}`,
  );
  always("Images", info.Images ?? 0);
  unlessEmpty("Server Version", info.ServerVersion);
  unlessEmpty("Storage Driver", info.Driver);
  for (const [key, value] of info.DriverStatus ?? []) lines.push(`  ${key}: ${value}`);
  unlessEmpty("Logging Driver", info.LoggingDriver);
  unlessEmpty("Cgroup Driver", info.CgroupDriver);
  unlessEmpty("Cgroup Version", info.CgroupVersion);
  lines.push(" Plugins:");
  for (const kind of ["Volume", "Network", "Authorization", "Log"]) {
    const names = info.Plugins?.[kind] ?? [];
    if (kind !== "Authorization" || names.length > 0) lines.push(`  ${kind}: ${names.join(" ")}`);
  }
  always("Swarm", info.Swarm?.LocalNodeState ?? "inactive");
  const runtimes = Object.keys(info.Runtimes ?? {});
  if (runtimes.length > 0) {
    always("Runtimes", runtimes.join(" "));
    always("Default Runtime", info.DefaultRuntime);
  }
  unlessEmpty("Init Binary", info.InitBinary);
  unlessEmpty("containerd version", info.ContainerdCommit?.ID);
  unlessEmpty("runc version", info.RuncCommit?.ID);
  unlessEmpty("init version", info.InitCommit?.ID);
  lines.push(...securityLines(info.SecurityOptions ?? []));
  unlessEmpty("Kernel Version", info.KernelVersion);
  unlessEmpty("Operating System", info.OperatingSystem);
  unlessEmpty("OSType", info.OSType);
  unlessEmpty("Architecture", info.Architecture);
  always("CPUs", info.NCPU ?? 0);
  always("Total Memory", bytesSize(info.MemTotal ?? 0));
  unlessEmpty("Name", info.Name);
  unlessEmpty("ID", info.ID);
  always("Docker Root Dir", info.DockerRootDir);
  always("Debug Mode", info.Debug ?? false);
  if (info.Debug) {
    lines.push(
      `  File Descriptors: ${info.NFd ?? 0}`,
      `  Goroutines: ${info.NGoroutines ?? 0}`,
      `  System Time: ${info.SystemTime ?? ""}`,
      `  EventsListeners: ${info.NEventsListener ?? 0}`,
    );
  }
  unlessEmpty("HTTP Proxy", info.HttpProxy);
  unlessEmpty("HTTPS Proxy", info.HttpsProxy);
  unlessEmpty("No Proxy", info.NoProxy);
  if (info.Labels?.length) lines.push(" Labels:", ...info.Labels.map((label) => `  ${label}`));
  always("Experimental", info.ExperimentalBuild ?? false);
  lines.push(...registryLines(info.RegistryConfig));
  always("Live Restore Enabled", info.LiveRestoreEnabled ?? false);
  if (info.DefaultAddressPools?.length) {
    lines.push(" Default Address Pools:");
    for (const { Base, Size } of info.DefaultAddressPools) lines.push(`   Base: ${Base}, Size: ${Size}`);
  }
  if (info.FirewallBackend) {
    always("Firewall Backend", info.FirewallBackend.Driver);
    for (const [key, value] of info.FirewallBackend.Info ?? []) lines.push(`  ${key}: ${value}`);
  }
  return lines.map((line) => `${line}\n`).join("");
}

/** "name=seccomp,profile=builtin" as a name and its profile. */
function securityLines(options: readonly string[]): string[] {
  if (options.length === 0) return [];
  return [
    " Security Options:",
    ...options.flatMap((option) => {
      const pairs = option.split(",").map((pair) => pair.split("=", 2));
      const name = pairs.find(([key]) => key === "name")?.[1] ?? option;
      const profiles = pairs.filter(([key]) => key === "profile").map(([, value]) => `   Profile: ${value}`);
      return [`  ${name}`, ...profiles];
    }),
  ];
}

function registryLines(config: Info["RegistryConfig"]): string[] {
  const lines: string[] = [];
  const insecure = Object.values(config?.IndexConfigs ?? {}).filter(({ Secure }) => !Secure).map(({ Name }) =>
    Name ?? ""
  );
  const ranges = config?.InsecureRegistryCIDRs ?? [];
  if (insecure.length > 0 || ranges.length > 0) {
    lines.push(" Insecure Registries:", ...[...insecure, ...ranges].map((name) => `  ${name}`));
  }
  if (config?.Mirrors?.length) lines.push(" Registry Mirrors:", ...config.Mirrors.map((url) => `  ${url}`));
  return lines;
}
