/** `GET /info` and `GET /version`. */
import { LOG_DRIVERS } from "./log_options.ts";
import { hints } from "../base/hints.ts";
import { API_VERSION, buildTime, gitCommit, MIN_API_VERSION, packaging, VERSION } from "../base/version.ts";
import type { GraphDriver } from "../fs/graph_driver.ts";
import type { RegistrySettings } from "../image/registry/settings.ts";
import { goArch, type HostFacts } from "./host_facts.ts";
import { findInitProgram } from "./init_program.ts";
import type { Networks } from "./networks.ts";
import type { SecurityDefaults } from "./security_options.ts";
import { registryInfo } from "./registry_config.ts";

export { type HostFacts, readHostFacts } from "./host_facts.ts";

/** What `info` reports besides the machine. */
export interface InfoInput {
  readonly facts: HostFacts;
  /** Identifies this engine for as long as its data root lives. */
  readonly id: string;
  readonly driver: Pick<GraphDriver, "name" | "reason" | "status">;
  readonly dataRoot: string;
  readonly containers: { readonly running: number; readonly paused: number; readonly stopped: number };
  readonly images: number;
  readonly debug: boolean;
  readonly logDriver: string;
  readonly defaultRuntime?: string | undefined;
  readonly security?: SecurityDefaults | undefined;
  readonly eventListeners: number;
  readonly registry: RegistrySettings;
  /** What the start found wanting. */
  readonly warnings: readonly string[];
  readonly networks: Pick<Networks, "problem" | "hello">;
}

/** /etc/os-release by key. */
export function parseOsRelease(text: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [, key = "", value = ""] of text.matchAll(/^([A-Z_]+)=(.*)$/gm)) {
    fields[key] = value.replace(/^(["'])(.*)\1$/, "$2").replace(/\\(["'$`\\])/g, "$1");
  }
  return fields;
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

function osRelease(): Record<string, string> {
  return parseOsRelease(readText("/etc/os-release") || readText("/usr/lib/os-release"));
}

/** Open descriptors of the engine. */
function openFiles(): number {
  try {
    return [...Deno.readDirSync("/proc/self/fd")].length;
  } catch {
    return 0;
  }
}

/** Docker's SystemInfo. */
export function infoView(input: InfoInput): Record<string, unknown> {
  const { facts, containers } = input;
  const os = osRelease();
  const limits = (controller: string) => facts.cgroupControllers.includes(controller);
  return {
    ID: input.id,
    Containers: containers.running + containers.paused + containers.stopped,
    ContainersRunning: containers.running,
    ContainersPaused: containers.paused,
    ContainersStopped: containers.stopped,
    Images: input.images,
    Driver: input.driver.name,
    DriverStatus: [...input.driver.status, ["Chosen because", input.driver.reason]],
    Plugins: {
      Volume: ["local"],
      Network: ["bridge", "host", "ipvlan", "macvlan", "null", "overlay"],
      Authorization: null,
      Log: LOG_DRIVERS,
    },
    MemoryLimit: limits("memory"),
    SwapLimit: facts.swapLimit,
    CpuCfsPeriod: limits("cpu"),
    CpuCfsQuota: limits("cpu"),
    CPUShares: limits("cpu"),
    CPUSet: limits("cpuset"),
    PidsLimit: limits("pids"),
    OomKillDisable: false,
    // In the namespace of the bridges, which is berth's own.
    IPv4Forwarding: true,
    Debug: input.debug,
    NFd: openFiles(),
    NGoroutines: 1,
    SystemTime: new Date().toISOString(),
    LoggingDriver: input.logDriver,
    CgroupDriver: facts.cgroups.driver,
    CgroupVersion: facts.cgroups.version,
    NEventsListener: input.eventListeners,
    KernelVersion: facts.kernel,
    OperatingSystem: os["PRETTY_NAME"] ?? "Linux",
    OSVersion: os["VERSION_ID"] ?? "",
    OSType: "linux",
    Architecture: facts.machine,
    IndexServerAddress: "https://index.docker.io/v1/",
    RegistryConfig: registryInfo(input.registry),
    NCPU: facts.ncpu,
    MemTotal: facts.memTotal,
    GenericResources: null,
    DockerRootDir: input.dataRoot,
    HttpProxy: proxy("HTTP_PROXY"),
    HttpsProxy: proxy("HTTPS_PROXY"),
    NoProxy: proxy("NO_PROXY"),
    Name: Deno.hostname(),
    Labels: [],
    ExperimentalBuild: false,
    ServerVersion: VERSION,
    // Docker's names are taken as well, and mean the same.
    Runtimes: {
      "berth": { path: "berth" },
      "io.containerd.runc.v2": { path: "berth" },
      "runc": { path: "berth" },
    },
    DefaultRuntime: input.defaultRuntime ?? "berth",
    Swarm: {
      NodeID: "",
      NodeAddr: "",
      LocalNodeState: "inactive",
      ControlAvailable: false,
      Error: "",
      RemoteManagers: null,
    },
    LiveRestoreEnabled: true,
    Isolation: "",
    InitBinary: initBinary(),
    ContainerdCommit: { ID: "" },
    RuncCommit: { ID: "" },
    InitCommit: { ID: "" },
    // Containers are in a user namespace even when root has started the engine; "rootless" is said of an ordinary user's.
    SecurityOptions: [
      `name=seccomp,profile=${input.security?.seccompName ?? "builtin"}`,
      ...(facts.isRootless ? ["name=rootless"] : ["name=userns"]),
      "name=cgroupns",
      ...(input.security?.noNewPrivileges ? ["name=no-new-privileges"] : []),
    ],
    FirewallBackend: { Driver: "nftables" },
    CDISpecDirs: [],
    Warnings: [
      ...limitWarnings(facts),
      ...networkWarnings(input.networks),
      ...input.warnings.map((warning) => warning.startsWith("WARNING") ? warning : `WARNING: ${warning}`),
    ],
  };
}

function networkWarnings({ problem, hello }: InfoInput["networks"]): string[] {
  if (problem !== undefined) {
    return [
      `WARNING: No container networks: containers have a loopback interface only, unless started with --network host: ${problem.message}` +
      (problem.hint === undefined ? "" : `: ${problem.hint}`),
    ];
  }
  if (hello?.outbound !== "none") return [];
  const reason = hello.paths.find(({ name, works }) => name === "tproxy" && !works);
  return [
    "WARNING: Containers cannot connect to the outside" +
    (reason === undefined ? "" : `: ${reason.detail}${reason.hint === undefined ? "" : `: ${reason.hint}`}`),
  ];
}

/** In Docker's words where it has some. */
function limitWarnings(facts: HostFacts): string[] {
  const { driver, version, reason } = facts.cgroups;
  if (driver === "none") {
    return [
      version === "1"
        ? "WARNING: Running in rootless-mode without cgroups. To enable cgroups in rootless-mode, you need to boot the system in cgroup v2 mode."
        : "WARNING: Running in rootless-mode without cgroups. Systemd is required to enable cgroups in rootless-mode.",
      `WARNING: No cgroup limits (memory, CPU, processes): ${reason}`,
    ];
  }
  const has = (controller: string) => facts.cgroupControllers.includes(controller);
  const missing = ["cpu", "cpuset", "io", "memory", "pids"].filter((controller) => !has(controller));
  return [
    ...(has("memory") ? [] : ["WARNING: No memory limit support"]),
    ...(facts.swapLimit ? [] : ["WARNING: No swap limit support"]),
    ...(has("cpu") ? [] : [
      "WARNING: No cpu cfs quota support",
      "WARNING: No cpu cfs period support",
      "WARNING: No cpu shares support",
    ]),
    ...(has("cpuset") ? [] : ["WARNING: No cpuset support"]),
    ...(has("pids") ? [] : ["WARNING: No pids limit support"]),
    ...(has("io") ? [] : [
      "WARNING: No io.weight support",
      "WARNING: No io.weight (per device) support",
      "WARNING: No io.max (rbps) support",
      "WARNING: No io.max (wbps) support",
      "WARNING: No io.max (riops) support",
      "WARNING: No io.max (wiops) support",
    ]),
    ...(missing.length === 0
      ? []
      : [`WARNING: Not delegated to you: ${missing.join(", ")}\n${hints.cgroupDelegation}`]),
  ];
}

/** Name of the program that `--init` takes, "" when there is none. */
function initBinary(): string {
  try {
    return findInitProgram().replace(/^.*\//, "");
  } catch {
    return "";
  }
}

/** A proxy as the environment has it, without the password in it. */
function proxy(name: string): string {
  const value = Deno.env.get(name) ?? Deno.env.get(name.toLowerCase()) ?? "";
  return value.replace(/\/\/[^/@]*@/, "//xxxxx:xxxxx@");
}

/** Docker's SystemVersion. */
export function versionView(facts: HostFacts): Record<string, unknown> {
  const arch = goArch(facts.machine);
  const built = buildTime();
  const common = {
    ApiVersion: API_VERSION,
    Arch: arch,
    BuildTime: built,
    Experimental: "false",
    GitCommit: gitCommit(),
    GoVersion: "",
    KernelVersion: facts.kernel,
    MinAPIVersion: MIN_API_VERSION,
    Os: "linux",
  };
  return {
    Platform: { Name: "berth" },
    Components: [
      { Name: "Engine", Version: VERSION, Details: { ...common, Packaging: packaging() } },
      { Name: "Deno", Version: Deno.version.deno, Details: { V8: Deno.version.v8 } },
    ],
    Version: VERSION,
    ApiVersion: API_VERSION,
    MinAPIVersion: MIN_API_VERSION,
    GitCommit: gitCommit(),
    GoVersion: "",
    Os: "linux",
    Arch: arch,
    KernelVersion: facts.kernel,
    ...(built === "" ? {} : { BuildTime: built }),
  };
}
