/** The mounts of a container, in the order in which init makes them (moby: daemon/oci_linux.go WithMounts). */
import { invalid, messageOf } from "../base/errors.ts";
import type { MountSpec, NamespaceMode } from "../runtime/spec.ts";
import type { ContainerRecord } from "./container_record.ts";
import { type HostFacts, kernelVersion } from "./host_facts.ts";
import { mountsOf, mountSource } from "./container_volumes.ts";
import { mergeTmpfsOptions, type MountPoint } from "./mount_points.ts";

/** Since 5.12 mount_setattr(2) can make a whole tree of mounts read-only. */
const RECURSIVE_READ_ONLY_KERNEL = [5, 12] as const;

/** Where programs in containers look for their engine, and users bind it from (clients probe both). */
const DOCKER_SOCKETS = ["/var/run/docker.sock", "/run/docker.sock"];

/** Host paths of the files made for the container; "" = leave the image's. */
export interface GeneratedFiles {
  readonly hostname: string;
  readonly hosts: string;
  readonly resolvConf: string;
}

export interface ContainerMountsInput {
  readonly record: ContainerRecord;
  /** Directories of the host that belong to the image (berth/host). */
  readonly hostMounts: readonly MountSpec[];
  readonly files: GeneratedFiles;
  readonly ipc: NamespaceMode;
  readonly facts: HostFacts;
  /** The mount of an image, of a point of that type. */
  readonly imageMount: (point: MountPoint) => MountSpec;
  /** Host path bound at /dev/shm in place of a tmpfs of its own: another container's, or the host's. */
  readonly shmPath?: string | undefined;
}

/**
 * All mounts: the image's host directories, Docker's own, the generated files, the user's. A mount of the user's
 * takes the place of Docker's at the same target, and of everything of Docker's below it.
 *
 * Makes the missing sources of `Binds`, as Docker does.
 *
 * @throws EngineError invalid: a source is missing or cannot be made.
 */
export function containerMounts(input: ContainerMountsInput): MountSpec[] {
  const { hostConfig } = input.record;
  const user = mountsOf(input.record);
  const covered = (target: string) =>
    user.some(({ target: own }) => own === target || (own === "/dev" && target.startsWith("/dev/")));
  const generated = generatedMounts(input.files, hostConfig.ReadonlyRootfs ?? false);
  return [
    ...input.hostMounts,
    ...defaultMounts(input).filter(({ target }) => !covered(target)),
    ...generated.filter(({ target }) => !user.some((point) => point.target === target)),
    ...user.map((point) =>
      point.type === "image"
        ? input.imageMount(point)
        : userMount(point, mountSource(input.record, point), input.facts)
    ),
  ];
}

function defaultMounts(input: ContainerMountsInput): MountSpec[] {
  const { record: { hostConfig }, facts, ipc } = input;
  // --privileged leaves /sys and the cgroups writable, as far as the kernel lets this user write.
  const protect = hostConfig.Privileged && !hostConfig.ReadonlyRootfs ? [] : ["ro"];
  const secure = ["nosuid", "noexec", "nodev"];
  const mounts: MountSpec[] = [
    { type: "proc", source: "proc", target: "/proc", flags: secure },
    {
      type: "tmpfs",
      source: "tmpfs",
      target: "/dev",
      flags: ["nosuid", "strictatime"],
      data: "mode=755,size=65536k",
    },
    {
      type: "devpts",
      source: "devpts",
      target: "/dev/pts",
      flags: ["nosuid", "noexec"],
      data: "newinstance,ptmxmode=0666,mode=0620,gid=5",
    },
    { type: "sysfs", source: "sysfs", target: "/sys", flags: [...secure, ...protect] },
  ];
  // Programs take a cgroup2 mount for a machine of version 2, so there is none on the others.
  if (facts.cgroups.version === "2") {
    mounts.push({
      type: "cgroup2",
      source: "cgroup",
      target: "/sys/fs/cgroup",
      flags: [...secure, ...protect],
      onError: "ignore",
    });
  }
  mounts.push({ type: "mqueue", source: "mqueue", target: "/dev/mqueue", flags: secure, onError: "ignore" });
  const shmPath = input.shmPath ?? (ipc.kind === "host" ? "/dev/shm" : undefined);
  if (shmPath !== undefined) {
    mounts.push({
      type: "bind",
      source: shmPath,
      target: "/dev/shm",
      flags: ["rbind"],
      propagation: "rprivate",
    });
  } else if (hostConfig.IpcMode !== "none") {
    mounts.push({
      type: "tmpfs",
      source: "shm",
      target: "/dev/shm",
      flags: secure,
      data: `mode=1777,size=${hostConfig.ShmSize}`,
    });
  }
  return mounts;
}

function generatedMounts(files: GeneratedFiles, readOnly: boolean): MountSpec[] {
  const paths: [string, string][] = [
    [files.resolvConf, "/etc/resolv.conf"],
    [files.hostname, "/etc/hostname"],
    [files.hosts, "/etc/hosts"],
  ];
  return paths.filter(([source]) => source !== "").map(([source, target]) => ({
    type: "bind",
    source,
    target,
    flags: readOnly ? ["rbind", "ro"] : ["rbind"],
    propagation: "rprivate",
  }));
}

function userMount(point: MountPoint, source: string, facts: HostFacts): MountSpec {
  if (point.type === "tmpfs") {
    const { flags, data, propagation } = mergeTmpfsOptions(point.tmpfsOptions);
    return {
      type: "tmpfs",
      source: "tmpfs",
      target: point.target,
      flags,
      ...(data === "" ? {} : { data }),
      ...(propagation === undefined ? {} : { propagation }),
    };
  }
  // Who binds Docker's socket wants the engine that runs the container, not a Docker beside it.
  const engine = point.type === "bind" && DOCKER_SOCKETS.includes(source) ? facts.apiSocket : undefined;
  if (point.type === "bind" && engine === undefined) ensureSource(point);
  const [major, minor] = kernelVersion(facts.kernel);
  const [wantMajor, wantMinor] = RECURSIVE_READ_ONLY_KERNEL;
  const able = major > wantMajor || (major === wantMajor && minor >= wantMinor);
  if (point.readOnly && point.recursive === "force") {
    if (!able) {
      throw invalid("mount source cannot be made recursively read-only: the kernel is older than 5.12");
    }
    // What is mounted later below the source would arrive writable.
    if (!point.propagation.endsWith("private")) {
      throw invalid("recursively read-only mount needs propagation rprivate");
    }
  }
  return {
    type: "bind",
    source: engine ?? source,
    target: point.target,
    flags: [point.rbind ? "rbind" : "bind", ...(point.readOnly ? ["ro"] : [])],
    propagation: point.propagation || "rprivate",
    ...(point.readOnly && able && point.recursive !== "off" ? { recursiveReadOnly: true } : {}),
  };
}

/**
 * What `--mount type=bind` names must be there when the container is created; a directory that `-v` names is made at the start.
 *
 * @throws {EngineError} invalid, in Docker's words.
 */
export function checkBindSources(
  points: readonly MountPoint[],
  { apiSocket }: Pick<HostFacts, "apiSocket">,
): void {
  for (const point of points) {
    if (point.type !== "bind" || point.from !== "Mounts" || point.createSource) continue;
    if (apiSocket !== undefined && DOCKER_SOCKETS.includes(point.source)) continue;
    ensureSource(point);
  }
}

function ensureSource(point: MountPoint): void {
  try {
    Deno.statSync(point.source);
    return;
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    if (!missing && point.from === "Mounts" && !point.createSource) {
      throw invalid(`invalid mount config for type "bind": stat ${point.source}: ${reason(error)}`);
    }
    if (!point.createSource) {
      throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${point.source}`);
    }
  }
  try {
    Deno.mkdirSync(point.source, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw invalid(
      `error while creating mount source path '${point.source}': mkdir ${point.source}: ${reason(error)}`,
    );
  }
}

/** The kernel's words for what went wrong, as Go prints them. */
function reason(error: unknown): string {
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.NotADirectory) return "not a directory";
  if (error instanceof Deno.errors.AlreadyExists) return "file exists";
  return messageOf(error).replace(/ \(os error \d+\).*$/, "").toLowerCase();
}

/** Propagation of the container's root: a slave or shared bind needs a root that lets mounts through (moby: setMounts). */
export function rootPropagation(mounts: readonly MountSpec[]): string {
  const modes = mounts.map(({ propagation }) => propagation ?? "");
  if (modes.some((mode) => mode.endsWith("shared"))) return "rshared";
  if (modes.some((mode) => mode.endsWith("slave"))) return "rslave";
  return "rprivate";
}
