/** Turns a container's record into the spec that its shim and init carry out. */
import { invalid } from "../base/errors.ts";
import { RLIMIT_NOFILE } from "../ffi/constants.ts";
import { LOCAL_CONGESTION_CONTROL } from "../net/local_tcp.ts";
import { capabilityHex, type ContainerCapabilities, resolveCapabilities } from "../runtime/capabilities.ts";
import type { ContainerSpec, MountSpec, NamespaceMode, ProcessSpec, RootfsSpec } from "../runtime/spec.ts";
import { processEnv, replaceOrAppendEnv } from "./container_config.ts";
import { containerMounts, type GeneratedFiles, rootPropagation } from "./container_mounts.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { MountPoint } from "./mount_points.ts";
import { DEFAULT_MASKED_PATHS, thermalThrottlePaths } from "./default_paths.ts";
import { DEFAULT_DEVICES, devicesBelow } from "./host_devices.ts";
import { cpuList, type HostFacts } from "./host_facts.ts";
import { findInitProgram } from "./init_program.ts";
import { countNumbers } from "./number_list.ts";
import { cleanPath } from "../base/clean_path.ts";
import { exists } from "../base/exists.ts";
import type { SeccompSpec } from "./seccomp_cache.ts";
import { parseSecurityOptions, type SecurityDefaults } from "./security_options.ts";
import type { ExecCreateRequest, HostConfig } from "./types.ts";
import { RLIMIT_NUMBERS } from "./ulimits.ts";

/**
 * Compiles a seccomp profile for a set of capabilities.
 *
 * @param profile JSON in Docker's format; undefined = the default profile.
 * @param caps names of the container's capabilities ("CAP_CHOWN"), which some rules depend on.
 */
export type SeccompFor = (profile: string | undefined, caps: readonly string[]) => SeccompSpec;

/** What every process of a container depends on, besides its record. */
export interface ProcessInput {
  readonly seccompFor: SeccompFor;
  /** RLIMIT_NOFILE for containers that do not set it: decimal strings, "-1" unlimited. */
  readonly defaultNofile: { readonly soft: string; readonly hard: string };
  readonly security?: SecurityDefaults;
  /** Variables that tell of containers linked to (`--link` on the default bridge). */
  readonly linkedEnv?: readonly string[];
}

export interface ContainerSpecInput extends ProcessInput {
  readonly record: ContainerRecord;
  readonly rootfs: RootfsSpec;
  /** Directories of the host that belong to the image (berth/host). */
  readonly hostMounts: readonly MountSpec[];
  /** The mount of an image, of a point of that type. */
  readonly imageMount: (point: MountPoint) => MountSpec;
  readonly files: GeneratedFiles;
  readonly namespaces: ContainerSpec["namespaces"];
  readonly facts: HostFacts;
  /** What is bound at /dev/shm for `--ipc container:x`; undefined = a tmpfs of its own. */
  readonly shmPath?: string | undefined;
  /** daemon.json's `init`, for containers that do not say. */
  readonly defaultInit?: boolean | undefined;
}

const RLIM_MAX = 2n ** 64n;

/**
 * Spells a container out. Makes missing bind sources; changes nothing else.
 *
 * @throws EngineError invalid: a bind source or a device is missing, no
 * init program, a bad seccomp profile.
 */
export function buildContainerSpec(input: ContainerSpecInput): ContainerSpec {
  const { record, facts, namespaces } = input;
  const { config, hostConfig } = record;
  const privileged = hostConfig.Privileged ?? false;
  const mounts = containerMounts({
    record,
    hostMounts: input.hostMounts,
    imageMount: input.imageMount,
    files: input.files,
    ipc: namespaces.ipc,
    facts,
    shmPath: input.shmPath,
  });
  const ownName = namespaces.uts.kind === "private";
  const masked = hostConfig.MaskedPaths ?? [];
  const useInit = hostConfig.Init ?? input.defaultInit ?? false;
  const initProgram = useInit ? findInitProgram() : undefined;
  // An image made of this machine's directories has the program already, and may be read-only where it would be bound.
  const initInside = initProgram !== undefined &&
    input.hostMounts.some(({ target }) => initProgram.startsWith(`${target}/`));
  const process = containerProcess(input);
  return {
    id: record.id,
    hostname: ownName ? config.Hostname ?? "" : "",
    domainname: ownName ? config.Domainname ?? "" : "",
    rootfs: input.rootfs,
    readonlyRootfs: hostConfig.ReadonlyRootfs ?? false,
    rootPropagation: rootPropagation(mounts),
    mounts,
    devices: devices(hostConfig, privileged),
    symlinks: [
      ["/proc/self/fd", "/dev/fd"],
      ["/proc/self/fd/0", "/dev/stdin"],
      ["/proc/self/fd/1", "/dev/stdout"],
      ["/proc/self/fd/2", "/dev/stderr"],
      ["pts/ptmx", "/dev/ptmx"],
      ["/proc/kcore", "/dev/core"],
    ],
    // The CPUs' throttling goes with Docker's own list, not with one that the user has written.
    maskedPaths: masked.length > 0 && masked.every((path) => DEFAULT_MASKED_PATHS.includes(path))
      ? [...masked, ...throttlePaths()]
      : masked,
    readonlyPaths: hostConfig.ReadonlyPaths ?? [],
    sysctls: sysctls(hostConfig, namespaces.net),
    namespaces,
    ...(initProgram !== undefined && !initInside ? { init: initProgram } : {}),
    process: initInside ? { ...process, args: [initProgram, "--", ...process.args] } : process,
  };
}

let knownThrottlePaths: readonly string[] | undefined;
/** Looked for once: which CPUs there are does not change under a running engine that could tell anybody. Also those that the engine may not use. */
function throttlePaths(): readonly string[] {
  return knownThrottlePaths ??= thermalThrottlePaths(countNumbers(cpuList("possible")), exists);
}

/** Of a container with a network of its own. */
const OWN_NETWORK_SYSCTLS = {
  // as in Docker: low ports are harmless there
  "net.ipv4.ip_unprivileged_port_start": "0",
  "net.ipv4.tcp_congestion_control": LOCAL_CONGESTION_CONTROL,
};

function sysctls(hostConfig: HostConfig, net: NamespaceMode): Record<string, string> {
  const defaults = net.kind === "private" ? OWN_NETWORK_SYSCTLS : {};
  const own = Object.entries(hostConfig.Sysctls ?? {}).map((
    [key, value],
  ) => [key.replaceAll("/", "."), value]);
  return { ...defaults, ...Object.fromEntries(own) };
}

function devices(hostConfig: HostConfig, privileged: boolean): ContainerSpec["devices"] {
  const byTarget = new Map<string, ContainerSpec["devices"][number]>();
  for (const name of DEFAULT_DEVICES) {
    byTarget.set(`/dev/${name}`, { source: `/dev/${name}`, target: `/dev/${name}` });
  }
  if (privileged) {
    for (const source of devicesBelow("/dev")) {
      if (!byTarget.has(source)) byTarget.set(source, { source, target: source, optional: true });
    }
  }
  for (const { PathOnHost: host, PathInContainer: inside } of hostConfig.Devices ?? []) {
    const target = cleanPath(inside || host);
    const found = devicesBelow(host.length > 1 ? host.replace(/\/+$/, "") : host);
    const gathering = `error gathering device information while adding custom device ${JSON.stringify(host)}`;
    if (!exists(host)) throw invalid(`${gathering}: no such file or directory`);
    // A symbolic link such as /dev/disk/by-id/x: init opens what it leads to.
    if (found.length === 0 && !Deno.statSync(host).isCharDevice && !Deno.statSync(host).isBlockDevice) {
      throw invalid(`${gathering}: not a device node`);
    }
    if (found.length === 0) byTarget.set(target, { source: host, target });
    for (const source of found) {
      const place = target + source.slice(host.replace(/\/+$/, "").length);
      byTarget.set(place, { source, target: place });
    }
  }
  return [...byTarget.values()];
}

/** What the container's own process and those of exec have in common. */
function processBase(
  record: ContainerRecord,
  input: ProcessInput,
): Pick<
  ProcessSpec,
  "additionalGroups" | "capabilities" | "noNewPrivileges" | "seccomp" | "seccompFlags" | "rlimits"
> {
  const { hostConfig } = record;
  const privileged = hostConfig.Privileged ?? false;
  // A privileged container has a seccomp profile only when it asks for one itself.
  const defaults = input.security && privileged ? { ...input.security, seccomp: undefined } : input.security;
  const security = parseSecurityOptions(hostConfig.SecurityOpt ?? [], defaults);
  const caps = resolveCapabilities(hostConfig.CapAdd ?? [], hostConfig.CapDrop ?? [], privileged);
  const confined = security.seccomp !== "unconfined" && (!privileged || security.seccomp !== undefined);
  return {
    additionalGroups: hostConfig.GroupAdd ?? [],
    capabilities: masks(caps),
    noNewPrivileges: security.noNewPrivileges,
    ...(confined ? input.seccompFor(security.seccomp, caps.names) : {}),
    rlimits: rlimits(hostConfig, input.defaultNofile),
  };
}

function masks(caps: ContainerCapabilities): ProcessSpec["capabilities"] {
  return {
    bounding: capabilityHex(caps.bounding),
    permitted: capabilityHex(caps.permitted),
    effective: capabilityHex(caps.effective),
    inheritable: capabilityHex(caps.inheritable),
    ambient: capabilityHex(caps.ambient),
  };
}

function rlimits(hostConfig: HostConfig, nofile: ProcessInput["defaultNofile"]): ProcessSpec["rlimits"] {
  const limits = (hostConfig.Ulimits ?? []).map(({ Name, Soft, Hard }) => ({
    resource: RLIMIT_NUMBERS[Name] ?? -1,
    soft: decimal(Soft),
    hard: decimal(Hard),
  }));
  const own = limits.some(({ resource }) => resource === RLIMIT_NOFILE);
  return own ? limits : [...limits, { resource: RLIMIT_NOFILE, ...nofile, atMost: true }];
}

/** A limit beyond 64 bits can only mean none. */
function decimal(value: number): string {
  return value < 0 || BigInt(Math.trunc(value)) >= RLIM_MAX ? "-1" : String(BigInt(Math.trunc(value)));
}

function containerProcess(input: ContainerSpecInput): ProcessSpec {
  const { record } = input;
  const { config, hostConfig } = record;
  const [rows = 0, cols = 0] = hostConfig.ConsoleSize ?? [];
  const oom = hostConfig.OomScoreAdj ?? 0;
  return {
    ...processBase(record, input),
    args: [record.path, ...record.args],
    env: processEnv(config, config.Hostname ?? "", input.linkedEnv),
    cwd: cleanPath(config.WorkingDir || "/"),
    user: config.User ?? "",
    tty: config.Tty ?? false,
    ...(config.Tty && rows > 0 && cols > 0 ? { consoleSize: [rows, cols] } : {}),
    ...(oom === 0 ? {} : { oomScoreAdj: input.facts.isRootless ? Math.max(oom, ownOomScoreAdj()) : oom }),
  };
}

/** An ordinary user may not make a process less likely to be killed than the one that starts it. */
function ownOomScoreAdj(): number {
  try {
    return Number(Deno.readTextFileSync("/proc/self/oom_score_adj").trim());
  } catch {
    return 0;
  }
}

/**
 * The process of an exec: the container's, with what the request changes. `--privileged` adds all capabilities;
 * the container's seccomp profile stays, as in Docker.
 *
 * @throws EngineError invalid.
 */
export function buildExecProcess(
  record: ContainerRecord,
  request: ExecCreateRequest,
  input: ProcessInput,
): ProcessSpec {
  const { config } = record;
  const args = request.Cmd ?? [];
  if (args.length === 0) throw invalid("No exec command specified");
  for (const text of [...args, ...(request.Env ?? []), request.User ?? "", request.WorkingDir ?? ""]) {
    if (text.includes("\0")) throw invalid("invalid exec configuration: contains a NUL byte");
  }
  for (const entry of request.Env ?? []) {
    if (entry === "" || entry.startsWith("=")) throw invalid(`invalid environment variable: ${entry}`);
  }
  const cwd = request.WorkingDir || config.WorkingDir || "/";
  if (!cwd.startsWith("/")) throw invalid(`Cwd must be an absolute path: ${cwd}`);
  const base = processBase(record, input);
  const tty = request.Tty ?? false;
  const [rows = 0, cols = 0] = request.ConsoleSize ?? [];
  return {
    ...base,
    ...(request.Privileged ? { capabilities: masks(resolveCapabilities([], [], true)) } : {}),
    args,
    env: replaceOrAppendEnv(
      processEnv({ ...config, Tty: tty }, config.Hostname ?? "", input.linkedEnv),
      request.Env ?? [],
    ),
    cwd: cleanPath(cwd),
    user: request.User || config.User || "",
    tty,
    ...(tty && rows > 0 && cols > 0 ? { consoleSize: [rows, cols] } : {}),
  };
}
