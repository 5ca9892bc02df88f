/** Every field that a container can be created with, and what becomes of it: docs/api.md says the same (house_api_docs.test.ts). */
import type * as z from "zod/mini";
import { createBody } from "../../api/schemas/container.ts";

/**
 * - done: it takes effect, and inspect shows it;
 * - limit: done where a cgroup with the controller is delegated, warned elsewhere;
 * - warned: accepted without effect, and told so;
 * - refused: 400;
 * - ignored: of other systems or other times, as in Docker on Linux.
 */
export type State = "done" | "limit" | "warned" | "refused" | "ignored";

export interface FieldRow {
  readonly state: State;
  /** Value of the field; of a field in a list or an object, the whole of that. */
  readonly value: unknown;
  /** What inspect shows in its place; default: the value. */
  readonly shown?: unknown;
  /** In the warning or the refusal. */
  readonly says?: RegExp;
}

const done = (value: unknown, shown: unknown = value): FieldRow => ({ state: "done", value, shown });
const limit = (value: unknown): FieldRow => ({
  state: "limit",
  value,
  says: /^Your kernel does not support /,
});
const warned = (value: unknown, says: RegExp): FieldRow => ({ state: "warned", value, says });
const refused = (value: unknown, says: RegExp): FieldRow => ({ state: "refused", value, says });
const ignored = (value: unknown): FieldRow => ({ state: "ignored", value });

const GIB = 1024 ** 3;
const bind = (rest: object) => [{ Type: "bind", Source: "/tmp", Target: "/m", ...rest }];
const volume = (options: object) => [{ Type: "volume", Source: "vol", Target: "/m", VolumeOptions: options }];
const tmpfs = (options: object) => [{ Type: "tmpfs", Target: "/m", TmpfsOptions: options }];
const throttle = [{ Path: "/dev/null", Rate: 1_000_000 }];

/** By path. Containers `other` and the network `net` (10.99.0.0/24, fd99::/64) exist. */
export const FIELDS: Readonly<Record<string, FieldRow>> = {
  Hostname: done("name"),
  Domainname: done("example.org"),
  User: done("1000:1000"),
  AttachStdin: done(true),
  AttachStdout: done(true),
  AttachStderr: done(true),
  ExposedPorts: done({ "80/tcp": {} }),
  Tty: done(true),
  OpenStdin: done(true),
  StdinOnce: done(true),
  Env: done(["A=b"], ["A=b", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]),
  Cmd: done(["true"]),
  "Healthcheck.Test": done(["CMD", "true"]),
  "Healthcheck.Interval": done(2e9),
  "Healthcheck.Timeout": done(2e9),
  "Healthcheck.StartPeriod": done(2e9),
  "Healthcheck.StartInterval": done(2e9),
  "Healthcheck.Retries": done(2),
  ArgsEscaped: ignored(true),
  Image: done("busybox"),
  Volumes: done({ "/v": {} }),
  WorkingDir: done("/tmp"),
  Entrypoint: done(["sh"]),
  NetworkDisabled: done(true),
  MacAddress: warned("02:42:ac:11:00:99", /^The container-wide MacAddress field is now deprecated/),
  OnBuild: done(["RUN true"]),
  Labels: done({ a: "b" }),
  StopSignal: done("SIGINT"),
  StopTimeout: done(3),
  Shell: done(["/bin/sh", "-c"]),
  "HostConfig.Binds": done(["/tmp:/m:ro"]),
  "HostConfig.ContainerIDFile": done("/tmp/id"),
  "HostConfig.LogConfig": done({ Type: "json-file", Config: { "max-size": "1m" } }),
  "HostConfig.NetworkMode": done("none"),
  "HostConfig.PortBindings": done({ "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "0" }] }),
  "HostConfig.RestartPolicy": done({ Name: "on-failure", MaximumRetryCount: 2 }),
  "HostConfig.AutoRemove": done(true),
  "HostConfig.VolumeDriver": done("local"),
  "HostConfig.VolumesFrom": done(["other"]),
  "HostConfig.ConsoleSize": done([30, 100]),
  "HostConfig.Annotations": done({ a: "b" }),
  "HostConfig.CapAdd": done(["CAP_SYS_PTRACE"]),
  "HostConfig.CapDrop": done(["CAP_CHOWN"]),
  "HostConfig.CgroupnsMode": done("private"),
  "HostConfig.Dns": done(["192.0.2.1"]),
  "HostConfig.DnsOptions": done(["ndots:2"]),
  "HostConfig.DnsSearch": done(["example.org"]),
  "HostConfig.ExtraHosts": done(["a:192.0.2.1"]),
  "HostConfig.GroupAdd": done(["1000"]),
  "HostConfig.IpcMode": done("shareable"),
  "HostConfig.Cgroup": ignored("x"),
  "HostConfig.Links": done(["other:alias"], ["/other:/name/alias"]),
  "HostConfig.OomScoreAdj": done(100),
  "HostConfig.PidMode": done("host"),
  "HostConfig.Privileged": done(true),
  "HostConfig.PublishAllPorts": done(true),
  "HostConfig.ReadonlyRootfs": done(true),
  "HostConfig.SecurityOpt": done(["no-new-privileges"]),
  "HostConfig.StorageOpt": warned({ size: "1g" }, /size/),
  "HostConfig.Tmpfs": done({ "/m": "size=1m" }),
  "HostConfig.UTSMode": done("host"),
  "HostConfig.UsernsMode": done("host"),
  "HostConfig.ShmSize": done(1_048_576),
  "HostConfig.Sysctls": done({ "net.ipv4.ip_unprivileged_port_start": "0" }),
  "HostConfig.Runtime": done("runc"),
  "HostConfig.Isolation": refused("hyperv", /^invalid isolation \(hyperv\): linux only supports 'default'$/),
  "HostConfig.CpuShares": limit(512),
  "HostConfig.Memory": limit(GIB),
  "HostConfig.NanoCpus": { state: "limit", value: 500_000_000, says: /^NanoCPUs can not be set/ },
  "HostConfig.CgroupParent": done("/test"),
  "HostConfig.BlkioWeight": limit(300),
  "HostConfig.BlkioWeightDevice": limit([{ Path: "/dev/null", Weight: 300 }]),
  "HostConfig.BlkioDeviceReadBps": limit(throttle),
  "HostConfig.BlkioDeviceWriteBps": limit(throttle),
  "HostConfig.BlkioDeviceReadIOps": limit(throttle),
  "HostConfig.BlkioDeviceWriteIOps": limit(throttle),
  "HostConfig.CpuPeriod": limit(50_000),
  "HostConfig.CpuQuota": limit(50_000),
  "HostConfig.CpuRealtimePeriod": refused(1000, /^Your kernel does not support CPU real-time scheduler$/),
  "HostConfig.CpuRealtimeRuntime": refused(1000, /^Your kernel does not support CPU real-time scheduler$/),
  "HostConfig.CpusetCpus": limit("0"),
  "HostConfig.CpusetMems": limit("0"),
  "HostConfig.Devices": done([{
    PathOnHost: "/dev/null",
    PathInContainer: "/dev/x",
    CgroupPermissions: "rwm",
  }]),
  "HostConfig.DeviceCgroupRules": warned(["c 1:3 rwm"], /Device cgroup rules discarded\.$/),
  "HostConfig.DeviceRequests": refused(
    [{ Driver: "nvidia", Count: 1 }],
    /^could not select device driver "nvidia"/,
  ),
  "HostConfig.KernelMemory": ignored(GIB),
  "HostConfig.KernelMemoryTCP": ignored(GIB),
  "HostConfig.MemoryReservation": limit(GIB),
  "HostConfig.MemorySwap": done(-1),
  "HostConfig.MemorySwappiness": warned(10, /Memory swappiness discarded\.$/),
  "HostConfig.OomKillDisable": warned(true, /OomKillDisable discarded\.$/),
  "HostConfig.PidsLimit": limit(100),
  "HostConfig.Ulimits": done([{ Name: "nofile", Soft: 100, Hard: 200 }]),
  "HostConfig.CpuCount": ignored(1),
  "HostConfig.CpuPercent": ignored(1),
  "HostConfig.IOMaximumIOps": refused(1, /^Invalid QoS settings/),
  "HostConfig.IOMaximumBandwidth": refused(1, /^Invalid QoS settings/),
  "HostConfig.Mounts.Type": refused(
    [{ Type: "npipe", Source: "a", Target: "/m" }],
    /^invalid mount config for type "npipe"/,
  ),
  "HostConfig.Mounts.Source": done(bind({})),
  "HostConfig.Mounts.Target": done(bind({ Target: "/elsewhere" })),
  "HostConfig.Mounts.ReadOnly": done(bind({ ReadOnly: true })),
  "HostConfig.Mounts.Consistency": ignored(bind({ Consistency: "cached" })),
  "HostConfig.Mounts.BindOptions.Propagation": done(bind({ BindOptions: { Propagation: "rslave" } })),
  "HostConfig.Mounts.BindOptions.NonRecursive": done(bind({ BindOptions: { NonRecursive: true } })),
  "HostConfig.Mounts.BindOptions.CreateMountpoint": done(bind({ BindOptions: { CreateMountpoint: true } })),
  "HostConfig.Mounts.BindOptions.ReadOnlyNonRecursive": done(
    bind({ ReadOnly: true, BindOptions: { ReadOnlyNonRecursive: true } }),
  ),
  "HostConfig.Mounts.BindOptions.ReadOnlyForceRecursive": done(
    bind({ ReadOnly: true, BindOptions: { ReadOnlyForceRecursive: true } }),
  ),
  "HostConfig.Mounts.VolumeOptions.NoCopy": done(volume({ NoCopy: true })),
  "HostConfig.Mounts.VolumeOptions.Labels": done(volume({ Labels: { a: "b" } })),
  "HostConfig.Mounts.VolumeOptions.Subpath": done(volume({ Subpath: "a" })),
  "HostConfig.Mounts.VolumeOptions.DriverConfig": done(volume({ DriverConfig: { Name: "local" } })),
  "HostConfig.Mounts.TmpfsOptions.SizeBytes": done(tmpfs({ SizeBytes: 1_048_576 })),
  "HostConfig.Mounts.TmpfsOptions.Mode": done(tmpfs({ Mode: 0o700 })),
  "HostConfig.Mounts.TmpfsOptions.Options": done(tmpfs({ Options: [["noexec"]] })),
  "HostConfig.Mounts.ImageOptions": refused(
    [{ Type: "image", Source: "busybox", Target: "/m", ImageOptions: { Subpath: "bin" } }],
    /^invalid mount config for type "image": a subpath is not available/,
  ),
  "HostConfig.MaskedPaths": done(["/proc/kcore"]),
  "HostConfig.ReadonlyPaths": done(["/proc/sys"]),
  "HostConfig.Init": done(true),
  "NetworkingConfig.EndpointsConfig.IPAMConfig": done({ IPAMConfig: { IPv4Address: "10.99.0.77" } }),
  "NetworkingConfig.EndpointsConfig.Links": done({ Links: ["other:alias"] }),
  "NetworkingConfig.EndpointsConfig.Aliases": done({ Aliases: ["a"] }),
  "NetworkingConfig.EndpointsConfig.MacAddress": done({ MacAddress: "02:42:ac:11:00:98" }),
  "NetworkingConfig.EndpointsConfig.DriverOpts": done({
    DriverOpts: { "com.docker.network.endpoint.ifname": "x0" },
  }),
  "NetworkingConfig.EndpointsConfig.GwPriority": done({ GwPriority: 5 }),
};

/** Paths whose parts have rows of their own. */
const SPLIT =
  /^(Healthcheck|HostConfig|HostConfig\.Mounts(\.(Bind|Volume|Tmpfs)Options)?|NetworkingConfig(\.EndpointsConfig)?)$/;

/** The paths of {@link createBody} that are to be in {@link FIELDS}, as the schema has them. */
export function fieldsOfSchema(): string[] {
  const paths: string[] = [];
  const walk = (schema: z.core.$ZodType, at: string): void => {
    const { def } = schema._zod as z.core.$ZodTypeInternals & { def: Parts };
    const inner = def.out ?? def.element ?? def.valueType ?? def.innerType;
    if (def.type !== "object") {
      if (inner !== undefined) walk(inner, at);
      return;
    }
    for (const [key, field] of Object.entries(def.shape ?? {})) {
      const path = at === "" ? key : `${at}.${key}`;
      if (SPLIT.test(path)) walk(field, path);
      else paths.push(path);
    }
  };
  walk(createBody, "");
  return paths;
}

/** Where the kinds of schemas keep what they are made of. */
interface Parts {
  readonly type: string;
  readonly shape?: Record<string, z.core.$ZodType>;
  readonly out?: z.core.$ZodType;
  readonly element?: z.core.$ZodType;
  readonly valueType?: z.core.$ZodType;
  readonly innerType?: z.core.$ZodType;
}
