/** Container specs for tests of the runtime: Docker's defaults around a root directory. */
import type { ContainerSpec, MountSpec, ProcessSpec } from "../../runtime/spec.ts";

/** Docker's 14 default capabilities. */
export const DEFAULT_CAPS = "00000000a80425fb";

export const DEFAULT_MOUNTS: readonly MountSpec[] = [
  { type: "proc", target: "/proc", flags: ["nosuid", "noexec", "nodev"] },
  {
    type: "tmpfs",
    target: "/dev",
    flags: ["nosuid", "strictatime"],
    data: "mode=755,size=65536k",
  },
  {
    type: "devpts",
    target: "/dev/pts",
    flags: ["nosuid", "noexec"],
    data: "newinstance,ptmxmode=0666,mode=0620,gid=5",
  },
  { type: "sysfs", target: "/sys", flags: ["nosuid", "noexec", "nodev", "ro"] },
  {
    type: "cgroup2",
    target: "/sys/fs/cgroup",
    flags: ["ro", "nosuid", "noexec", "nodev"],
    onError: "ignore",
  },
  { type: "mqueue", target: "/dev/mqueue", flags: ["nosuid", "noexec", "nodev"], onError: "ignore" },
  {
    type: "tmpfs",
    target: "/dev/shm",
    source: "shm",
    flags: ["nosuid", "noexec", "nodev"],
    data: "mode=1777,size=67108864",
  },
];

export function processSpec(args: readonly string[], overrides: Partial<ProcessSpec> = {}): ProcessSpec {
  return {
    args,
    env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=test"],
    cwd: "/",
    user: "",
    additionalGroups: [],
    tty: false,
    capabilities: {
      bounding: DEFAULT_CAPS,
      permitted: DEFAULT_CAPS,
      effective: DEFAULT_CAPS,
      inheritable: "0",
      ambient: "0",
    },
    noNewPrivileges: false,
    rlimits: [{ resource: 7, soft: "1024", hard: "4096" }],
    ...overrides,
  };
}

export function containerSpec(
  rootfs: string,
  args: readonly string[],
  overrides: Partial<Omit<ContainerSpec, "process">> & { process?: Partial<ProcessSpec> } = {},
): ContainerSpec {
  const { process, ...rest } = overrides;
  return {
    id: "0123456789abcdef",
    hostname: "test",
    domainname: "",
    rootfs: { kind: "directory", path: rootfs },
    readonlyRootfs: false,
    mounts: DEFAULT_MOUNTS,
    devices: ["null", "zero", "full", "random", "urandom", "tty"].map((name) => ({
      source: `/dev/${name}`,
      target: `/dev/${name}`,
    })),
    symlinks: [
      ["/proc/self/fd", "/dev/fd"],
      ["/proc/self/fd/0", "/dev/stdin"],
      ["/proc/self/fd/1", "/dev/stdout"],
      ["/proc/self/fd/2", "/dev/stderr"],
      ["pts/ptmx", "/dev/ptmx"],
      ["/proc/kcore", "/dev/core"],
    ],
    maskedPaths: [
      "/proc/kcore",
      "/proc/keys",
      "/proc/timer_list",
      "/proc/scsi",
      "/sys/firmware",
      "/proc/none",
    ],
    readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    sysctls: {},
    namespaces: {
      pid: { kind: "private" },
      net: { kind: "private" },
      ipc: { kind: "private" },
      uts: { kind: "private" },
      cgroup: { kind: "private" },
    },
    process: processSpec(args, process),
    ...rest,
  };
}
