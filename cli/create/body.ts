/** The body of POST /containers/create, field by field as docker's command line sends it. */

import { CliError } from "../errors.ts";
import { checkMacAddress } from "../flags/checks.ts";
import type { ContainerFlagValues } from "./container_flags.ts";
import { isCdiDevice, parseDevice } from "./devices.ts";
import { withProxies } from "../user_config.ts";
import { readPairs } from "./env_file.ts";
import { splitVolumes, tmpfsMap } from "./mounts.ts";
import { endpoints } from "./networks.ts";
import { parsePorts } from "./ports.ts";
import { securityOptions } from "./security_options.ts";

/** What the caller needs to know of the body it sends. */
export interface CreateBody {
  Image: string;
  Tty: boolean;
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
  OpenStdin: boolean;
  StdinOnce: boolean;
  HostConfig: { AutoRemove: boolean; ConsoleSize: [number, number]; [key: string]: unknown };
  [key: string]: unknown;
}

/** Null for an empty list, as Go's nil slices are encoded. */
const orNull = <T>(values: readonly T[]): readonly T[] | null => values.length === 0 ? null : values;

/**
 * Builds the body.
 *
 * @param changed names of the flags that were given, for those whose absence differs from their default.
 * @param args image, command and its arguments.
 * @param host the engine's address, for which docker's configuration may have proxies.
 * @throws CliError or Error with docker's text when flags contradict each other or a file cannot be read.
 */
export function createBody(
  flags: ContainerFlagValues,
  changed: ReadonlySet<string>,
  args: readonly string[],
  host = "default",
): CreateBody {
  const [image = "", ...command] = args;
  checkRanges(flags);
  const { binds, volumes } = splitVolumes(flags.volume);
  const { exposed, bindings } = parsePorts(flags.publish, flags.expose);
  const attachAll = flags.attach.length === 0;
  const attachStdin = flags.attach.includes("stdin") || flags.interactive;
  const timeout = changed.has("stop-timeout") ? { StopTimeout: flags["stop-timeout"] } : {};
  const health = healthcheck(flags);
  return {
    Hostname: flags.hostname,
    Domainname: flags.domainname,
    User: flags.user,
    AttachStdin: attachStdin,
    AttachStdout: attachAll || flags.attach.includes("stdout"),
    AttachStderr: attachAll || flags.attach.includes("stderr"),
    ...(Object.keys(exposed).length === 0 ? {} : { ExposedPorts: exposed }),
    Tty: flags.tty,
    OpenStdin: flags.interactive,
    // The container's input ends with the client that was attached when it started.
    StdinOnce: flags.interactive && attachStdin,
    Env: orNull(
      withProxies(readPairs(flags["env-file"], flags.env, (key) => Deno.env.get(key)), host),
    ),
    Cmd: orNull(command),
    ...(health === undefined ? {} : { Healthcheck: health }),
    Image: image,
    Volumes: volumes,
    WorkingDir: flags.workdir,
    // --entrypoint "" resets the image's, which the API spells as [""].
    Entrypoint: changed.has("entrypoint") ? [flags.entrypoint] : null,
    OnBuild: null,
    Labels: pairMap(readPairs(flags["label-file"], flags.label)),
    ...(flags["stop-signal"] === "" ? {} : { StopSignal: flags["stop-signal"] }),
    ...timeout,
    HostConfig: hostConfig(flags, changed, binds, bindings),
    NetworkingConfig: {
      EndpointsConfig: endpoints(flags.network, {
        aliases: flags["network-alias"],
        links: flags.link,
        ip: flags.ip,
        ip6: flags.ip6,
        mac: flags["mac-address"],
        linkLocal: flags["link-local-ip"],
      }),
    },
  };
}

function hostConfig(
  flags: ContainerFlagValues,
  changed: ReadonlySet<string>,
  binds: readonly string[] | null,
  bindings: object,
): CreateBody["HostConfig"] {
  const security = securityOptions(flags["security-opt"]);
  const restart = restartPolicy(flags.restart);
  if (flags.rm && restart.Name !== "no" && restart.Name !== "") {
    throw new CliError("conflicting options: cannot specify both --restart and --rm");
  }
  if (flags["log-driver"] === "none" && flags["log-opt"].length > 0) {
    throw new CliError("invalid logging opts for driver none");
  }
  const storage = pairMap(flags["storage-opt"].map((option) => {
    if (!option.includes("=")) throw new CliError("invalid storage option");
    return option;
  }));
  const tmpfs = tmpfsMap(flags.tmpfs);
  return {
    Binds: binds,
    ContainerIDFile: flags.cidfile,
    LogConfig: { Type: flags["log-driver"], Config: pairMap(flags["log-opt"]) },
    NetworkMode: flags.network[0]?.target ?? "default",
    PortBindings: bindings,
    RestartPolicy: restart,
    AutoRemove: flags.rm,
    VolumeDriver: flags["volume-driver"],
    VolumesFrom: orNull(flags["volumes-from"]),
    ConsoleSize: [0, 0],
    ...(Object.keys(flags.annotation).length === 0 ? {} : { Annotations: flags.annotation }),
    CapAdd: orNull(flags["cap-add"]),
    CapDrop: orNull(flags["cap-drop"]),
    CgroupnsMode: flags.cgroupns,
    Dns: flags.dns,
    DnsOptions: flags["dns-option"],
    DnsSearch: flags["dns-search"],
    ExtraHosts: orNull(flags["add-host"]),
    GroupAdd: orNull(flags["group-add"]),
    IpcMode: flags.ipc,
    Cgroup: "",
    Links: orNull(flags.link),
    OomScoreAdj: flags["oom-score-adj"],
    PidMode: flags.pid,
    Privileged: flags.privileged,
    PublishAllPorts: flags["publish-all"],
    ReadonlyRootfs: flags["read-only"],
    SecurityOpt: security.options,
    ...(Object.keys(storage).length === 0 ? {} : { StorageOpt: storage }),
    ...(Object.keys(tmpfs).length === 0 ? {} : { Tmpfs: tmpfs }),
    UTSMode: flags.uts,
    UsernsMode: flags.userns,
    ShmSize: flags["shm-size"],
    ...(Object.keys(flags.sysctl).length === 0 ? {} : { Sysctls: flags.sysctl }),
    ...(flags.runtime === "" ? {} : { Runtime: flags.runtime }),
    Isolation: flags.isolation,
    ...resources(flags),
    ...(flags.mount.length === 0 ? {} : { Mounts: flags.mount }),
    MaskedPaths: security.unconfinedPaths ? [] : null,
    ReadonlyPaths: security.unconfinedPaths ? [] : null,
    ...(changed.has("init") ? { Init: flags.init } : {}),
  };
}

function resources(flags: ContainerFlagValues): object {
  const devices = flags.device.filter((device) => !isCdiDevice(device));
  const cdi = flags.device.filter(isCdiDevice);
  const requests = cdi.length === 0 ? flags.gpus : [
    ...flags.gpus,
    { Driver: "cdi", Count: 0, DeviceIDs: cdi, Capabilities: null, Options: null },
  ];
  return {
    CpuShares: flags["cpu-shares"],
    Memory: flags.memory,
    NanoCpus: flags.cpus,
    CgroupParent: flags["cgroup-parent"],
    BlkioWeight: flags["blkio-weight"],
    BlkioWeightDevice: flags["blkio-weight-device"],
    BlkioDeviceReadBps: flags["device-read-bps"],
    BlkioDeviceWriteBps: flags["device-write-bps"],
    BlkioDeviceReadIOps: flags["device-read-iops"],
    BlkioDeviceWriteIOps: flags["device-write-iops"],
    CpuPeriod: flags["cpu-period"],
    CpuQuota: flags["cpu-quota"],
    CpuRealtimePeriod: flags["cpu-rt-period"],
    CpuRealtimeRuntime: flags["cpu-rt-runtime"],
    CpusetCpus: flags["cpuset-cpus"],
    CpusetMems: flags["cpuset-mems"],
    Devices: devices.map(parseDevice),
    DeviceCgroupRules: orNull(flags["device-cgroup-rule"]),
    DeviceRequests: orNull(requests),
    MemoryReservation: flags["memory-reservation"],
    MemorySwap: flags["memory-swap"],
    MemorySwappiness: flags["memory-swappiness"],
    OomKillDisable: flags["oom-kill-disable"],
    PidsLimit: flags["pids-limit"],
    // A later value of the same limit replaces the earlier one.
    Ulimits: [...new Map(flags.ulimit.map((limit) => [limit.Name, limit])).values()]
      .sort((a, b) => a.Name < b.Name ? -1 : 1),
    CpuCount: flags["cpu-count"],
    CpuPercent: flags["cpu-percent"],
    IOMaximumIOps: flags["io-maxiops"],
    IOMaximumBandwidth: flags["io-maxbandwidth"],
  };
}

function checkRanges(flags: ContainerFlagValues): void {
  checkMacAddress(flags["mac-address"]);
  const swappiness = flags["memory-swappiness"];
  if (swappiness !== -1 && (swappiness < 0 || swappiness > 100)) {
    throw new CliError(`invalid value: ${swappiness}. Valid memory swappiness range is 0-100`);
  }
  const containerOr = (...names: string[]) => (mode: string) =>
    mode === "" || names.includes(mode) || /^container:.+/.test(mode);
  if (!containerOr("host")(flags.pid)) throw new CliError("--pid: invalid PID mode");
  if (!["", "host"].includes(flags.uts)) throw new CliError("--uts: invalid UTS mode");
  if (!["", "host"].includes(flags.userns)) throw new CliError("--userns: invalid USER mode");
  if (!["", "host", "private"].includes(flags.cgroupns)) {
    throw new CliError("--cgroupns: invalid CGROUP mode");
  }
}

/** `always`, `on-failure:3`. Throws with docker's messages. */
export function restartPolicy(text: string): { Name: string; MaximumRetryCount: number } {
  const colon = text.indexOf(":");
  const name = colon < 0 ? text : text.slice(0, colon);
  const count = colon < 0 ? "" : text.slice(colon + 1);
  if (colon === 0) throw new CliError("invalid restart policy format: no policy provided before colon");
  if (count !== "" && !/^[+-]?\d+$/.test(count)) {
    throw new CliError("invalid restart policy format: maximum retry count must be an integer");
  }
  return { Name: name, MaximumRetryCount: Number(count || "0") };
}

function healthcheck(flags: ContainerFlagValues): object | undefined {
  const timings = {
    Interval: flags["health-interval"],
    Timeout: flags["health-timeout"],
    StartPeriod: flags["health-start-period"],
    StartInterval: flags["health-start-interval"],
    Retries: flags["health-retries"],
  };
  const given = flags["health-cmd"] !== "" || Object.values(timings).some((value) => value !== 0);
  if (flags["no-healthcheck"]) {
    if (given) throw new CliError("--no-healthcheck conflicts with --health-* options");
    return { Test: ["NONE"] };
  }
  if (!given) return undefined;
  const names = ["interval", "timeout", "retries", "start-period", "start-interval"] as const;
  for (const name of names) {
    if (flags[`health-${name}`] < 0) throw new CliError(`--health-${name} cannot be negative`);
  }
  const set = Object.fromEntries(Object.entries(timings).filter(([, value]) => value !== 0));
  return flags["health-cmd"] === "" ? set : { Test: ["CMD-SHELL", flags["health-cmd"]], ...set };
}

function pairMap(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(pairs.map((pair) => {
    const equals = pair.indexOf("=");
    return equals < 0 ? [pair, ""] : [pair.slice(0, equals), pair.slice(equals + 1)];
  }));
}
