import { afterAll, describe, expect, it } from "vitest";
import { EngineError } from "../../base/errors.ts";
import { commandOf, mergeImageConfig, processEnv } from "../../engine/container_config.ts";
import type { ContainerRecord } from "../../engine/container_record.ts";
import {
  buildContainerSpec,
  buildExecProcess,
  type ContainerSpecInput,
} from "../../engine/container_spec.ts";
import { devicesBelow } from "../../engine/host_devices.ts";
import { findInitProgram, isStaticElf } from "../../engine/init_program.ts";
import { buildLogSpec } from "../../engine/log_options.ts";
import { mergeTmpfsOptions, mountPoints, parseBind } from "../../engine/mount_points.ts";
import type { ContainerConfig, HostConfig } from "../../engine/types.ts";
import { validateCreate } from "../../engine/validate.ts";
import type { ContainerDefaults } from "../../image/types.ts";
import { containerRecord, createRequest, FACTS, ID } from "../support/records.ts";
import { testDir } from "../support/users.ts";

// Below testDir(): afterAll does not run when every test is filtered out.
const root = Deno.makeTempDirSync({ dir: testDir(), prefix: "spec-" });
afterAll(() => Deno.removeSync(root, { recursive: true }));

const PRIVATE = { kind: "private" } as const;
const NAMESPACES = { pid: PRIVATE, net: PRIVATE, ipc: PRIVATE, uts: PRIVATE, cgroup: PRIVATE };

function specInput(record: ContainerRecord, extra: Partial<ContainerSpecInput> = {}): ContainerSpecInput {
  return {
    record,
    rootfs: { kind: "directory", path: "/root-of-it" },
    hostMounts: [],
    imageMount: ({ target }) => ({ type: "overlay", target, flags: [] }),
    files: { hostname: "/c/hostname", hosts: "/c/hosts", resolvConf: "/c/resolv.conf" },
    namespaces: NAMESPACES,
    facts: FACTS,
    seccompFor: (profile, caps) => ({ seccomp: `${profile ?? "default"} for ${caps.length}` }),
    defaultNofile: { soft: "1024", hard: "4096" },
    ...extra,
  };
}

function spec(
  hostConfig: HostConfig = {},
  config: ContainerConfig = {},
  extra: Partial<ContainerSpecInput> = {},
) {
  return buildContainerSpec(specInput(containerRecord({ config, hostConfig }), extra));
}

function create(hostConfig: HostConfig = {}, config: ContainerConfig = {}) {
  return validateCreate(createRequest(config, hostConfig), FACTS);
}

describe("mergeImageConfig()", () => {
  const IMAGE: ContainerDefaults = {
    Env: ["PATH=/bin", "A=1", "B=2"],
    Entrypoint: ["/entry"],
    Cmd: ["default"],
    Labels: { x: "image", y: "image" },
    User: "daemon",
    WorkingDir: "/srv",
    Volumes: { "/data": {} },
    ExposedPorts: { "80/tcp": {} },
    StopSignal: "SIGQUIT",
    Healthcheck: { Test: ["CMD", "true"], Interval: 5, Retries: 2 },
  };
  const merge = (own: ContainerConfig) => mergeImageConfig(own, IMAGE, ID);
  const command = (own: ContainerConfig) => {
    const { path, args } = commandOf(merge(own));
    return [path, ...args];
  };

  it.each([
    [{}, ["/entry", "default"]],
    [{ Cmd: ["own"] }, ["/entry", "own"]],
    [{ Entrypoint: ["/mine"] }, ["/mine"]],
    [{ Entrypoint: ["/mine", "-x"], Cmd: ["own"] }, ["/mine", "-x", "own"]],
    [{ Entrypoint: [""], Cmd: ["own"] }, ["own"]],
    [{ Entrypoint: [], Cmd: ["own"] }, ["own"]],
    [{ Cmd: [] }, ["/entry", "default"]],
  ])("makes of %j the command %j", (own, expected) => {
    expect(command(own)).toEqual(expected);
  });

  it("refuses a container without a command", () => {
    expect(() => merge({ Entrypoint: [""] })).toThrow("no command specified");
    expect(() => mergeImageConfig({}, undefined, ID)).toThrow("no command specified");
  });

  it("merges environment by name, the request's first", () => {
    expect(merge({ Env: ["B=9", "C=3"] }).Env).toEqual(["B=9", "C=3", "PATH=/bin", "A=1"]);
    const env = processEnv(merge({ Env: ["A", "C=x=y"], Tty: true }), "box");
    expect(env).toEqual(["PATH=/bin", "HOSTNAME=box", "TERM=xterm", "C=x=y", "B=2"]);
    expect(processEnv({ Env: ["PATH"] }, "")).toEqual([]);
    expect(processEnv({}, "box")[0]).toBe(
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
  });

  it("takes over what the request leaves out", () => {
    const config = merge({
      Labels: { x: "own" },
      ExposedPorts: { "81/udp": {} },
      Healthcheck: { Retries: 7 },
    });
    expect(config).toMatchObject({
      Hostname: ID.slice(0, 12),
      User: "daemon",
      WorkingDir: "/srv",
      StopSignal: "SIGQUIT",
      Labels: { x: "own", y: "image" },
      Volumes: { "/data": {} },
      ExposedPorts: { "80/tcp": {}, "81/udp": {} },
      Healthcheck: { Test: ["CMD", "true"], Interval: 5, Retries: 7 },
    });
    expect(merge({ Healthcheck: { Test: ["NONE"] } }).Healthcheck?.Test).toEqual(["NONE"]);
    expect(merge({ User: "me", WorkingDir: "/x", StopSignal: "9", Hostname: "h" })).toMatchObject({
      User: "me",
      WorkingDir: "/x",
      StopSignal: "9",
      Hostname: "h",
    });
  });
});

describe("validateCreate()", () => {
  it("discards a size limit of the writable layer with a warning, and refuses other storage options", () => {
    const create = (StorageOpt: Record<string, string>) =>
      validateCreate(createRequest({}, { StorageOpt }), FACTS);
    const { hostConfig, warnings } = create({ size: "10G" });
    expect(warnings).toEqual([
      expect.stringMatching(/^Your kernel does not support .*Limitation discarded\.$/),
    ]);
    expect(hostConfig).not.toHaveProperty("StorageOpt");
    expect(() => create({ size: "much" })).toThrow("invalid size: 'much'");
    expect(() => create({ dm: "x" })).toThrow("unknown option dm");
  });

  it("fills in what Docker's inspect shows after create", () => {
    expect(create().warnings).toEqual([]);
    expect(create().hostConfig).toMatchObject({
      Binds: null,
      NetworkMode: "bridge",
      IpcMode: "private",
      CgroupnsMode: "private",
      ShmSize: 67108864,
      Runtime: "berth",
      RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
      LogConfig: { Type: "json-file", Config: {} },
      PortBindings: {},
      CapAdd: null,
      Privileged: false,
      Memory: 0,
      PidsLimit: null,
      OomKillDisable: null,
      BlkioDeviceReadBps: [],
      ConsoleSize: [0, 0],
    });
    expect(create().hostConfig.MaskedPaths).toContain("/proc/kcore");
    expect(create({ MaskedPaths: [], ReadonlyPaths: [] }).hostConfig).toMatchObject({
      MaskedPaths: [],
      ReadonlyPaths: [],
    });
    expect(create({ Privileged: true }).hostConfig.MaskedPaths).toBeNull();
    expect(create({ Annotations: { a: "b" }, Whatever: [1] }).hostConfig).toMatchObject({
      Annotations: { a: "b" },
      Whatever: [1],
    });
  });

  const MB = 1024 * 1024;
  it.each<[HostConfig, string]>([
    [{ Memory: 5 * MB }, "Minimum memory limit allowed is 6MB"],
    [{ Memory: -1 }, "Minimum memory limit allowed is 6MB"],
    [
      { Memory: 10 * MB, MemorySwap: 9 * MB },
      "Minimum memoryswap limit should be larger than memory limit, see usage",
    ],
    [{ MemorySwap: 9 * MB }, "You should always set the Memory limit when using Memoryswap limit, see usage"],
    [{ MemoryReservation: MB }, "Minimum memory reservation allowed is 6MB"],
    [{ MemorySwappiness: 101 }, "Invalid value: 101, valid memory swappiness range is 0-100"],
    [{ NanoCpus: 3e9 }, "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"],
    [
      { NanoCpus: 1e9 },
      "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
    ],
    [{ NanoCpus: 1e9, CpuPeriod: 1000 }, "Conflicting options: Nano CPUs and CPU Period cannot both be set"],
    [
      { CpuPeriod: 10 },
      "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    ],
    [{ CpuQuota: 10 }, "CPU cfs quota can not be less than 1ms (i.e. 1000)"],
    [{ CpusetCpus: "a" }, "Invalid value a for cpuset cpus"],
    [{ BlkioWeight: 5 }, "Range of blkio weight is from 10 to 1000"],
    [{ ShmSize: -1 }, "SHM size can not be less than 0"],
    [{ OomScoreAdj: 1001 }, "Invalid value 1001, range for oom score adj is [-1000, 1000]"],
    [
      { AutoRemove: true, RestartPolicy: { Name: "always" } },
      "can't create 'AutoRemove' container with restart policy",
    ],
    [
      { RestartPolicy: { Name: "never" } },
      "invalid restart policy: unknown policy 'never'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
    ],
    [
      { RestartPolicy: { Name: "always", MaximumRetryCount: 2 } },
      "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    ],
    [{ CapAdd: ["NOPE"] }, 'invalid CapAdd: unknown capability: "CAP_NOPE"'],
    [{ IpcMode: "x" }, "invalid IPC mode: x"],
    [{ PidMode: "private" }, "invalid PID mode: private"],
    [{ UTSMode: "container:a" }, "invalid UTS mode: container:a"],
    [{ UsernsMode: "keep-id" }, "invalid userns mode: keep-id"],
    [{ CgroupnsMode: "x" }, "invalid cgroup namespace mode: x"],
    [{ NetworkMode: "container:" }, "invalid network mode: invalid container format container:<name|id>"],
    [{ NetworkMode: "container:a", Dns: ["1.1.1.1"] }, "conflicting options: dns and the network mode"],
    [
      { NetworkMode: "container:a", PortBindings: { "80/tcp": [{}] } },
      "conflicting options: port publishing and the container type network mode",
    ],
    [{ PortBindings: { "99999/tcp": [] } }, 'invalid port specification: "99999"'],
    [{ PortBindings: { "80/tcp": [{ HostPort: "x" }] } }, 'invalid port specification: "x"'],
    [{ ExtraHosts: ["nothing"] }, 'bad format for add-host: "nothing"'],
    [{ ExtraHosts: ["a:b"] }, 'invalid IP address in add-host: "b"'],
    [{ Runtime: "nvidia" }, "unknown or invalid runtime name: nvidia"],
    [{ Ulimits: [{ Name: "files", Soft: 1, Hard: 1 }] }, "invalid ulimit type: files"],
    [
      { Ulimits: [{ Name: "nofile", Soft: 2, Hard: 1 }] },
      "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
    ],
    [{ Sysctls: { "kernel.panic": "1" } }, 'sysctl "kernel.panic" is not in a separate kernel namespace'],
    [
      { Sysctls: { "net.core.somaxconn": "1" }, NetworkMode: "host" },
      'sysctl "net.core.somaxconn" not allowed in host network namespace',
    ],
    [{ Sysctls: { "net.../../kernel.panic": "1" } }, "invalid sysctl name"],
    [{ SecurityOpt: ["nonsense"] }, 'invalid --security-opt 1: "nonsense"'],
    [{ SecurityOpt: ["a=b"] }, 'invalid --security-opt 2: "a=b"'],
    [
      { SecurityOpt: ["writable-cgroups=true"] },
      "option WritableCgroups conflicts with user namespaces and rootless mode",
    ],
    [{ SecurityOpt: ["no-new-privileges=maybe"] }, 'invalid --security-opt 2: "no-new-privileges=maybe"'],
    [{ LogConfig: { Type: "nolog" } }, 'error looking up logging plugin nolog: plugin "nolog" not found'],
    [
      { LogConfig: { Type: "awslogs" } },
      'error looking up logging plugin awslogs: plugin "awslogs" not found',
    ],
    [
      { LogConfig: { Type: "fluentd", Config: { "fluentd-address": "x://y" } } },
      "invalid fluentd-address (x://y): unsupported scheme: 'x'",
    ],
    [{ LogConfig: { Config: { size: "1" } } }, "unknown log opt 'size' for json-file log driver"],
    [{ LogConfig: { Config: { "max-file": "0" } } }, "max-file cannot be less than 1"],
    [
      { LogConfig: { Config: { compress: "true" } } },
      "compress cannot be true when max-file is less than 2 or max-size is not set",
    ],
    [{ Binds: ["da ta:/data"] }, '"da ta" includes invalid characters for a local volume name'],
    [{ Binds: ["./x:/data"] }, "If you intended to pass a host directory, use absolute path"],
    [
      { Binds: ["/a:b"] },
      `invalid volume specification: '/a:b': invalid mount config for type "bind": invalid mount path: 'b' mount path must be absolute`,
    ],
    [
      { Binds: ["/a:/"] },
      `invalid volume specification: '/a:/': invalid mount config for type "bind": invalid specification: destination can't be '/'`,
    ],
    [{ Binds: ["/a:ro"] }, "invalid volume specification: '/a:ro'"],
    [{ Binds: ["/a:/b:ro:x"] }, "invalid volume specification: '/a:/b:ro:x'"],
    [{ Binds: [":/b"] }, "invalid volume specification: ':/b'"],
    [{ Binds: ["/a:/b:rw,ro"] }, "invalid mode: rw,ro"],
    [{ Binds: ["/a:/b", "/c:/b/"] }, "Duplicate mount point: /b"],
    [{ Binds: ["/a:/b"], Tmpfs: { "/b": "" } }, "Duplicate mount point: /b"],
    [{ Mounts: [{ Type: "x", Target: "/a" }] }, `invalid mount config for type "x": mount type unknown`],
    [
      { Mounts: [{ Type: "bind", Target: "/a" }] },
      `invalid mount config for type "bind": field Source must not be empty`,
    ],
    [
      { Mounts: [{ Type: "bind", Source: "/a", Target: "" }] },
      `invalid mount config for type "bind": field Target must not be empty`,
    ],
    [{ Mounts: [{ Type: "volume", Source: "v", Target: "/a" }] }, "create v: volume name is too short"],
    [{ Tmpfs: { "/a": "sise=1" } }, 'invalid tmpfs option "sise=1"'],
    [{ Binds: ["/a\0:/b"] }, "contains a NUL byte"],
    [
      { DeviceRequests: [{ Driver: "", Count: -1, Capabilities: [["gpu"]] }] },
      'could not select device driver "" with capabilities: [[gpu]]',
    ],
  ])("refuses %j", (hostConfig, message) => {
    expect(() => create(hostConfig)).toThrow(message);
    try {
      create(hostConfig);
    } catch (error) {
      expect(error instanceof EngineError ? error.kind : error).toBe("invalid");
    }
  });

  it.each<[ContainerConfig, string]>([
    [{ WorkingDir: "x" }, "the working directory 'x' is invalid, it needs to be an absolute path"],
    [{ StopSignal: "SIGNOPE" }, "invalid signal: SIGNOPE"],
    [{ Env: ["=x"] }, "invalid environment variable: =x"],
    [{ Hostname: "a\nb" }, "invalid hostname"],
    [{ Hostname: "x".repeat(65) }, "invalid hostname: longer than 64 bytes"],
    [{ Healthcheck: { Interval: 10 } }, "Interval in Healthcheck cannot be less than 1ms"],
    [{ Cmd: ["a\0b"] }, "invalid Config.Cmd: contains a NUL byte"],
    [{ Volumes: { data: {} } }, "mount path must be absolute"],
    [{ ExposedPorts: { "0x50/tcp": {} } }, 'invalid port specification: "0x50"'],
  ])("refuses the configuration %j", (config, message) => {
    expect(() => create({}, config)).toThrow(message);
  });

  it("takes any network name, which start then looks for", () => {
    for (const mode of ["", "default", "bridge", "none", "host", "container:x", "backend"]) {
      const hostConfig = { NetworkMode: mode };
      create(hostConfig);
      spec(hostConfig);
    }
    expect(() => create({ NetworkMode: "a/b" })).toThrow("invalid network mode: a/b");
  });

  it("drops limits it cannot apply, with Docker's warnings", () => {
    const { hostConfig, warnings } = create({
      Memory: 64 * MB,
      MemoryReservation: 32 * MB,
      MemorySwappiness: 10,
      PidsLimit: 100,
      CpuShares: 512,
      CpuQuota: 50_000,
      CpusetCpus: "0-1",
      BlkioWeight: 100,
      OomKillDisable: true,
      BlkioDeviceReadBps: [{ Path: "/dev/sda", Rate: 1 }],
    });
    expect(warnings).toEqual([
      "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
      "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
      "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
      "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
      "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
      "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
      "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
      "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
      "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
      "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
    ]);
    expect(hostConfig).toMatchObject({
      Memory: 0,
      MemorySwap: -1,
      MemoryReservation: 0,
      PidsLimit: null,
      CpuShares: 0,
      CpusetCpus: "",
    });
    expect(create({ PidsLimit: -1, MemorySwappiness: -1 }).warnings).toEqual([]);
  });

  it("keeps limits where controllers are delegated", () => {
    const facts = { ...FACTS, cgroupControllers: ["cpu", "memory", "pids", "cpuset", "io"], swapLimit: true };
    const { hostConfig, warnings } = validateCreate(
      createRequest({}, { Memory: 64 * MB, NanoCpus: 1.5e9, PidsLimit: 9, CpusetCpus: "0" }),
      facts,
    );
    expect(warnings).toEqual([]);
    expect(hostConfig).toMatchObject({
      Memory: 64 * MB,
      MemorySwap: 128 * MB,
      NanoCpus: 1.5e9,
      PidsLimit: 9,
    });
    expect(() => validateCreate(createRequest({}, { CpusetCpus: "0,2" }), facts)).toThrow(
      "Requested CPUs are not available - requested 0,2, available: 0-1",
    );
  });

  it("writes an empty list of bindings down as one for any port, as Docker does", () => {
    const PortBindings = { "80/tcp": [], "81/udp": null, "82/tcp": [{ HostPort: "8082" }] };
    expect(create({ PortBindings }).hostConfig.PortBindings).toEqual({
      "80/tcp": [{ HostIp: "", HostPort: "" }],
      "81/udp": [{ HostIp: "", HostPort: "" }],
      "82/tcp": [{ HostIp: "", HostPort: "8082" }],
    });
  });

  it("warns of ports that are not published, and refuses to publish SCTP", () => {
    const PortBindings = { "80/tcp": [{ HostPort: "8080" }], "81/tcp": [{ HostPort: "8000-8010" }] };
    expect(create({ PortBindings, PublishAllPorts: true }).warnings).toEqual([]);
    expect(create({ PublishAllPorts: true }, { ExposedPorts: { "9/sctp": {} } }).warnings).toEqual([
      "Port 9/sctp is exposed and not published: berth publishes TCP and UDP",
    ]);
    expect(() => create({ PortBindings: { "9/sctp": [] } })).toThrow("SCTP cannot be published");
    expect(create({ PortBindings, NetworkMode: "host" }).warnings).toEqual([
      "Published ports are discarded when using host network mode",
    ]);
  });
});

describe("mountPoints()", () => {
  it("reads binds", () => {
    expect(parseBind("/a/../b//c/:/d/./e:ro,z,rslave")).toMatchObject({
      type: "bind",
      source: "/b/c",
      target: "/d/e",
      readOnly: true,
      propagation: "rslave",
      mode: "ro,z,rslave",
    });
    expect(parseBind("/with space\n😀:/x")).toMatchObject({ source: "/with space\n😀", readOnly: false });
    expect(parseBind("/only")).toMatchObject({ type: "volume", name: "", target: "/only" });
  });

  it("puts a mount before those below it", () => {
    const points = mountPoints({ Binds: ["/x:/a/b/c", "/y:/a"], Tmpfs: { "/a/b": "" } });
    expect(points.map(({ target }) => target)).toEqual(["/a", "/a/b", "/a/b/c"]);
  });

  it("merges tmpfs options with Docker's defaults", () => {
    expect(mergeTmpfsOptions([])).toEqual({
      flags: ["noexec", "nosuid", "nodev"],
      data: "",
      propagation: undefined,
    });
    expect(mergeTmpfsOptions(["exec", "ro", "size=64m", "mode=1777", "uid=5", "size=65m"])).toEqual({
      flags: ["nosuid", "nodev", "ro"],
      data: "size=65m,mode=1777,uid=5",
      propagation: undefined,
    });
  });
});

describe("buildContainerSpec()", () => {
  it("spells out a plain container", () => {
    const plain = spec({}, { Cmd: ["sh", "-c", "x"], Env: ["A=1"], User: "1:2", WorkingDir: "/w/" });
    expect({ ...plain, maskedPaths: [], mounts: [], devices: [], symlinks: [] }).toEqual({
      id: ID,
      hostname: ID.slice(0, 12),
      domainname: "",
      rootfs: { kind: "directory", path: "/root-of-it" },
      readonlyRootfs: false,
      rootPropagation: "rprivate",
      mounts: [],
      devices: [],
      symlinks: [],
      maskedPaths: [],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
      sysctls: { "net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.tcp_congestion_control": "reno" },
      namespaces: NAMESPACES,
      process: {
        additionalGroups: [],
        capabilities: {
          bounding: "00000000a80425fb",
          permitted: "00000000a80425fb",
          effective: "00000000a80425fb",
          inheritable: "0000000000000000",
          ambient: "0000000000000000",
        },
        noNewPrivileges: false,
        seccomp: "default for 14",
        rlimits: [{ resource: 7, soft: "1024", hard: "4096", atMost: true }],
        args: ["sh", "-c", "x"],
        env: [
          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
          `HOSTNAME=${ID.slice(0, 12)}`,
          "A=1",
        ],
        cwd: "/w",
        user: "1:2",
        tty: false,
      },
    });
    expect(plain.devices.map(({ target }) => target)).toEqual(
      ["null", "zero", "full", "random", "urandom", "tty"].map((name) => `/dev/${name}`),
    );
    expect(plain.symlinks).toContainEqual(["pts/ptmx", "/dev/ptmx"]);
    expect(plain.maskedPaths.slice(0, 2)).toEqual(["/proc/acpi", "/proc/asound"]);
  });

  it("makes Docker's mounts in Docker's order", () => {
    const lines = spec().mounts.map((m) =>
      `${m.type} ${m.target} ${m.flags.join(",")} ${m.data ?? ""}`.trim()
    );
    expect(lines).toEqual([
      "proc /proc nosuid,noexec,nodev",
      "tmpfs /dev nosuid,strictatime mode=755,size=65536k",
      "devpts /dev/pts nosuid,noexec newinstance,ptmxmode=0666,mode=0620,gid=5",
      "sysfs /sys nosuid,noexec,nodev,ro",
      "cgroup2 /sys/fs/cgroup nosuid,noexec,nodev,ro",
      "mqueue /dev/mqueue nosuid,noexec,nodev",
      "tmpfs /dev/shm nosuid,noexec,nodev mode=1777,size=67108864",
      "bind /etc/resolv.conf rbind",
      "bind /etc/hostname rbind",
      "bind /etc/hosts rbind",
    ]);
  });

  it("has no cgroup mount where the machine uses version 1", () => {
    const facts = { ...FACTS, cgroups: { ...FACTS.cgroups, version: "1" as const } };
    expect(spec({}, {}, { facts }).mounts.some((m) => m.type === "cgroup2")).toBe(false);
  });

  it("lets the user's mounts take the place of Docker's", () => {
    Deno.writeTextFileSync(`${root}/hosts`, "");
    const { mounts } = spec({
      Binds: [`${root}/hosts:/etc/hosts:ro`, `${root}/new/dir:/data`],
      Tmpfs: { "/dev/shm": "size=1m,exec" },
      Mounts: [{ Type: "tmpfs", Target: "/t", TmpfsOptions: { SizeBytes: 4096, Mode: 0o700 } }],
    });
    const at = (target: string) => mounts.filter((m) => m.target === target);
    expect(at("/etc/hosts")).toEqual([{
      type: "bind",
      source: `${root}/hosts`,
      target: "/etc/hosts",
      flags: ["rbind", "ro"],
      propagation: "rprivate",
      recursiveReadOnly: true,
    }]);
    expect(at("/dev/shm")).toMatchObject([{ type: "tmpfs", flags: ["nosuid", "nodev"], data: "size=1m" }]);
    expect(at("/t")).toMatchObject([{ data: "mode=700,size=4096", flags: ["noexec", "nosuid", "nodev"] }]);
    // Docker makes the missing directory of a bind.
    expect(Deno.statSync(`${root}/new/dir`).isDirectory).toBe(true);
    expect(at("/data")).toHaveLength(1);
    const ownDev = spec({ Binds: [`${root}:/dev`] }).mounts.filter((m) => m.target.startsWith("/dev"));
    expect(ownDev.map(({ target }) => target)).toEqual(["/dev"]);
  });

  it("refuses a missing source of a mount, and one that cannot be made", () => {
    const missing: HostConfig = { Mounts: [{ Type: "bind", Source: `${root}/gone`, Target: "/x" }] };
    expect(() => spec(missing)).toThrow(
      `invalid mount config for type "bind": bind source path does not exist: ${root}/gone`,
    );
    Deno.writeTextFileSync(`${root}/file`, "");
    expect(() => spec({ Binds: [`${root}/file/below:/x`] })).toThrow(
      `error while creating mount source path '${root}/file/below': mkdir ${root}/file/below: not a directory`,
    );
    spec({
      Mounts: [{
        Type: "bind",
        Source: `${root}/made`,
        Target: "/x",
        BindOptions: { CreateMountpoint: true },
      }],
    });
    expect(Deno.statSync(`${root}/made`).isDirectory).toBe(true);
  });

  it("points binds of Docker's socket at the socket that this engine listens on", () => {
    const facts = { ...FACTS, apiSocket: "/run/user/1000/berth/berth.sock" };
    const sourceAt = (target: string, host: HostConfig, given = facts) =>
      spec(host, {}, { facts: given }).mounts.find((mount) => mount.target === target)?.source;
    for (const source of ["/var/run/docker.sock", "/run/docker.sock"]) {
      expect(sourceAt("/s", { Binds: [`${source}:/s`] })).toBe(facts.apiSocket);
      expect(sourceAt("/s", { Mounts: [{ Type: "bind", Source: source, Target: "/s" }] })).toBe(
        facts.apiSocket,
      );
    }
    expect(sourceAt("/var/run/docker.sock", { Binds: ["/tmp:/var/run/docker.sock"] })).toBe("/tmp");
  });

  it("makes read-only binds recursive where the kernel can", () => {
    const bind = (options: Record<string, unknown>, kernel = FACTS.kernel) =>
      spec(
        { Mounts: [{ Type: "bind", Source: root, Target: "/x", ReadOnly: true, BindOptions: options }] },
        {},
        { facts: { ...FACTS, kernel } },
      ).mounts.at(-1);
    expect(bind({})?.recursiveReadOnly).toBe(true);
    expect(bind({ ReadOnlyNonRecursive: true })?.recursiveReadOnly).toBeUndefined();
    expect(bind({}, "5.10.0")?.recursiveReadOnly).toBeUndefined();
    expect(() => bind({ ReadOnlyForceRecursive: true }, "5.10.0")).toThrow("recursively read-only");
    expect(bind({ NonRecursive: true })?.flags).toEqual(["bind", "ro"]);
  });

  it("lets mounts through to a slave bind", () => {
    expect(spec({ Binds: [`${root}:/x:rslave`] }).rootPropagation).toBe("rslave");
    expect(spec({ Binds: [`${root}:/x:rslave`, `${root}:/y:rshared`] }).rootPropagation).toBe("rshared");
  });

  it("takes everything away from a privileged container's walls", () => {
    const privileged = spec({ Privileged: true });
    expect(privileged.maskedPaths).toEqual([]);
    expect(privileged.readonlyPaths).toEqual([]);
    expect(privileged.process.seccomp).toBeUndefined();
    expect(privileged.process.capabilities.effective).toMatch(/^[0-9a-f]+ff$/);
    expect(privileged.mounts.find((m) => m.type === "sysfs")?.flags).not.toContain("ro");
    expect(privileged.devices.length).toBe(new Set(privileged.devices.map(({ target }) => target)).size);
    expect(privileged.devices.find(({ target }) => target === "/dev/ptmx")).toBeUndefined();
    expect(spec({ Privileged: true, SecurityOpt: ["seccomp={}"] }).process.seccomp).toMatch(/^\{\} for/);
  });

  it("follows security options", () => {
    const options = (...SecurityOpt: string[]) => spec({ SecurityOpt });
    expect(options("no-new-privileges").process.noNewPrivileges).toBe(true);
    expect(options("no-new-privileges:true").process.noNewPrivileges).toBe(true);
    expect(options("no-new-privileges=false").process.noNewPrivileges).toBe(false);
    expect(options("seccomp=unconfined").process.seccomp).toBeUndefined();
    expect(options("seccomp:unconfined").process.seccomp).toBeUndefined();
    expect(options("seccomp=builtin", "apparmor=unconfined", "label=disable").process.seccomp).toBe(
      "default for 14",
    );
    expect(options('seccomp={"a":"b=c"}').process.seccomp).toBe('{"a":"b=c"} for 14');
    expect(options("systempaths=unconfined")).toMatchObject({ maskedPaths: [], readonlyPaths: [] });
  });

  it("handles namespaces of others", () => {
    const host = { kind: "host" } as const;
    const ipc = spec({ IpcMode: "host" }, {}, { namespaces: { ...NAMESPACES, ipc: host } });
    expect(ipc.mounts.find((m) => m.target === "/dev/shm")).toMatchObject({
      type: "bind",
      source: "/dev/shm",
    });
    expect(spec({ IpcMode: "none" }).mounts.some((m) => m.target === "/dev/shm")).toBe(false);
    expect(spec({}, {}, { shmPath: "/other/shm" }).mounts.find((m) => m.target === "/dev/shm")?.source)
      .toBe("/other/shm");
    const net = spec({ NetworkMode: "host" }, {}, { namespaces: { ...NAMESPACES, net: host } });
    expect(net.sysctls).toEqual({});
    expect(spec({}, {}, { namespaces: { ...NAMESPACES, uts: host } }).hostname).toBe("");
  });

  it("passes limits, devices, groups, console and sysctls on", () => {
    const made = spec({
      Ulimits: [{ Name: "nofile", Soft: 10, Hard: -1 }, { Name: "core", Soft: 0, Hard: 2 ** 64 }],
      Devices: [{ PathOnHost: "/dev/null", PathInContainer: "/dev/hole", CgroupPermissions: "rwm" }],
      GroupAdd: ["audio", "5"],
      ConsoleSize: [24, 80],
      Sysctls: { "net/core/somaxconn": "128", "net.ipv4.tcp_congestion_control": "cubic" },
      OomScoreAdj: 500,
      ReadonlyRootfs: true,
    }, { Tty: true });
    expect(made.process.rlimits).toEqual([
      { resource: 7, soft: "10", hard: "-1" },
      { resource: 4, soft: "0", hard: "-1" },
    ]);
    expect(made.devices.at(-1)).toEqual({ source: "/dev/null", target: "/dev/hole" });
    expect(made.process).toMatchObject({
      additionalGroups: ["audio", "5"],
      consoleSize: [24, 80],
      oomScoreAdj: 500,
    });
    expect(made.process.env).toContain("TERM=xterm");
    expect(made.sysctls).toMatchObject({
      "net.core.somaxconn": "128",
      "net.ipv4.tcp_congestion_control": "cubic",
    });
    expect(made.mounts.find((m) => m.target === "/etc/hosts")?.flags).toEqual(["rbind", "ro"]);
    expect(() => spec({ Devices: [{ PathOnHost: "/dev/nothing-here" }] })).toThrow(
      'error gathering device information while adding custom device "/dev/nothing-here": no such file or directory',
    );
    expect(() => spec({ Devices: [{ PathOnHost: "/etc/passwd" }] })).toThrow("not a device node");
  });

  it("tells a static program from a dynamic one", () => {
    const head = (path: string) => Deno.readFileSync(path).subarray(0, 4096);
    expect(isStaticElf(head(Deno.execPath()))).toBe(false);
    expect(isStaticElf(new TextEncoder().encode("#!/bin/sh\n".repeat(20)))).toBe(false);
    for (const path of ["/bin/busybox", "/usr/bin/catatonit"]) {
      try {
        expect(isStaticElf(head(path))).toBe(true);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  });

  it("puts the machine's init program first, or names it for binding", (context) => {
    let program: string;
    try {
      program = findInitProgram();
    } catch {
      context.skip("no static init program on this machine");
      return;
    }
    const bound = spec({ Init: true }, { Cmd: ["true"] });
    expect(bound.init).toBe(program);
    expect(bound.process.args).toEqual(["true"]);
    expect(spec({ Init: false }, {}, { defaultInit: true }).init).toBeUndefined();
    expect(spec({}, {}, { defaultInit: true }).init).toBe(program);
    const hostMounts = [{ type: "image-dir", source: "/usr", target: "/usr", flags: ["ro"] }] as const;
    const inside = spec({ Init: true }, { Cmd: ["true"] }, { hostMounts });
    if (program.startsWith("/usr/")) {
      expect(inside.init).toBeUndefined();
      expect(inside.process.args).toEqual([program, "--", "true"]);
    }
    expect(() => findInitProgram(["/etc/passwd", "/nonexistent"])).toThrow("no static init program found");
  });

  it("lists devices without the terminals", () => {
    const devices = devicesBelow("/dev");
    expect(devices).toContain("/dev/null");
    expect(devices.some((path) => path.startsWith("/dev/pts/") || path === "/dev/console")).toBe(false);
  });
});

describe("buildExecProcess()", () => {
  const record = containerRecord({
    config: { Env: ["A=1", "B=2"], User: "app", WorkingDir: "/srv", Tty: true },
    hostConfig: { GroupAdd: ["5"], CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"] },
  });
  const input = specInput(record);

  it("takes over what the request leaves out", () => {
    expect(buildExecProcess(record, { Cmd: ["id"] }, input)).toMatchObject({
      args: ["id"],
      cwd: "/srv",
      user: "app",
      tty: false,
      additionalGroups: ["5"],
      noNewPrivileges: true,
      capabilities: { effective: "0000000000000000" },
      env: [expect.stringMatching(/^PATH=/), expect.stringMatching(/^HOSTNAME=/), "A=1", "B=2"],
    });
  });

  it("follows the request", () => {
    const made = buildExecProcess(
      record,
      {
        Cmd: ["sh"],
        Tty: true,
        Env: ["B=3", "A"],
        User: "0",
        WorkingDir: "/",
        Privileged: true,
        ConsoleSize: [9, 8],
      },
      input,
    );
    expect(made).toMatchObject({
      user: "0",
      cwd: "/",
      tty: true,
      consoleSize: [9, 8],
      seccomp: "default for 0",
    });
    expect(made.capabilities.effective).not.toBe("0000000000000000");
    expect(made.env.slice(2)).toEqual(["TERM=xterm", "B=3"]);
  });

  it("refuses nonsense", () => {
    expect(() => buildExecProcess(record, {}, input)).toThrow("No exec command specified");
    expect(() => buildExecProcess(record, { Cmd: ["a\0"] }, input)).toThrow("NUL");
    expect(() => buildExecProcess(record, { Cmd: ["a"], WorkingDir: "x" }, input)).toThrow("absolute");
  });
});

describe("buildLogSpec()", () => {
  it("reads options in decimal units and attributes by name", () => {
    const record = containerRecord({
      config: { Labels: { app: "web", other: "x" }, Env: ["STAGE=prod", "SECRET=1"] },
      hostConfig: {
        LogConfig: {
          Type: "json-file",
          Config: {
            "max-size": "10m",
            "max-file": "3",
            compress: "true",
            labels: "app,none",
            "env-regex": "^STA",
            tag: "{{.Name}}/{{.ID}}",
          },
        },
      },
    });
    expect(buildLogSpec(record)).toEqual({
      driver: "json-file",
      path: record.logPath,
      maxSize: 10_000_000,
      maxFile: 3,
      compress: true,
      attrs: { app: "web", STAGE: "prod", tag: `merry_ship/${ID.slice(0, 12)}` },
    });
    expect(buildLogSpec(containerRecord())).toMatchObject({ maxSize: 0, maxFile: 1, compress: false });
    expect(buildLogSpec(containerRecord({ hostConfig: { LogConfig: { Type: "none" } } })).driver).toBe(
      "none",
    );
  });
});
