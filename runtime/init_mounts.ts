/** The mounts of a container, made one by one inside its root before it becomes the root. */
import { cleanPath } from "../base/clean_path.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  O_DIRECTORY,
  O_PATH,
  OPEN_TREE_CLONE,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_SYMLINKS,
} from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { copyInto } from "./init_copy_up.ts";
import { InitFailure, inStage } from "./init_failure.ts";
import { mountOverlay, openOverlay } from "./init_overlay.ts";
import { refuseProcMount } from "./init_proc_guard.ts";
import { mountOptions, propagation } from "./mount_flags.ts";
import { fdPath, isDirectory, makeInRoot, openInRoot } from "./rootfs_path.ts";
import type { ContainerSpec, MountSpec } from "./spec.ts";

/** Attaches a detached mount to what `target` is a descriptor of. */
export function attachTree(kernel: ProcessSyscalls, tree: number, target: number): void {
  kernel.moveMount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/**
 * What a mount takes from the host's side, as a detached copy: made before anything is mounted, so that a volume of the host's
 * root does not hold the container's root as well.
 */
export type MountSource = number | undefined;

/** Takes the host paths of all mounts, in order. Their descriptors are closed by {@link applyMounts}. */
export function openMountSources(
  kernel: ProcessSyscalls,
  mounts: readonly MountSpec[],
  takeProc?: () => number,
): MountSource[] {
  return mounts.map((mount) => {
    if (mount.type === "proc" && takeProc !== undefined) return inStage("mount", "", takeProc);
    const path = hostPath(mount);
    return path === undefined
      ? undefined
      : inStage("mount", "", () => copyTree(kernel, path, isRecursive(mount)));
  });
}

const isRecursive = ({ flags }: MountSpec): boolean => flags.includes("rbind") || !flags.includes("bind");

/** A detached copy of what is mounted at `path`, a path or an O_PATH descriptor. */
function copyTree(kernel: ProcessSyscalls, path: string | number, recursive: boolean): number {
  const flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  if (typeof path === "number") return kernel.openTree(path, "", flags);
  const found = kernel.open(path, O_PATH);
  try {
    return kernel.openTree(found, "", flags);
  } finally {
    kernel.close(found);
  }
}

function hostPath(mount: MountSpec): string | undefined {
  switch (mount.type) {
    case "bind":
    case "image-dir":
      if (mount.source === undefined) {
        throw new InitFailure("mount", `mount of ${mount.target} has no source`);
      }
      return mount.source;
    case "overlay":
      // For the read-only bind that takes its place where an overlay is refused.
      return mount.overlay?.lower[0];
    default:
      return undefined;
  }
}

/** Makes all mounts inside `root`. */
export function applyMounts(
  kernel: ProcessSyscalls,
  root: number,
  spec: ContainerSpec,
  sources: readonly MountSource[],
): void {
  const rootPath = kernel.readlink(fdPath(root));
  for (const [index, mount] of spec.mounts.entries()) {
    const source = sources[index];
    try {
      applyMount(kernel, root, rootPath, spec, mount, source);
    } catch (error) {
      if (mount.onError === "ignore") continue;
      const from = mount.source ?? mount.type;
      throw new InitFailure(
        "mount",
        `error mounting ${JSON.stringify(from)} to rootfs at ${JSON.stringify(mount.target)}: ${
          error instanceof Error ? error.message : error
        }`,
        error instanceof SysError || error instanceof InitFailure ? error.errno : 0,
        error,
      );
    } finally {
      if (source !== undefined) kernel.close(source);
    }
  }
}

function applyMount(
  kernel: ProcessSyscalls,
  root: number,
  rootPath: string,
  spec: ContainerSpec,
  mount: MountSpec,
  source: MountSource,
): void {
  const kind = source === undefined || isDirectory(kernel, source) ? "directory" : "file";
  const path = cleanPath(`/${mount.target}`);
  if (mount.type === "proc" || mount.type === "sysfs") refuseLink(kernel, root, path, mount.type);
  const target = makeInRoot(kernel, root, path, kind);
  try {
    refuseProcMount(kernel, rootPath, mount, target, source);
    if (isDirectory(kernel, target) !== (kind === "directory")) {
      throw new InitFailure(
        "mount",
        "not a directory: are you trying to mount a directory onto a file (or vice-versa)? " +
          "Check if the specified host path exists and is the expected type",
      );
    }
    switch (mount.type) {
      case "bind":
      case "image-dir":
        return bind(kernel, mount, source, target);
      case "overlay":
        return overlay(kernel, mount, source, target);
      case "tmpfs":
        return tmpfs(kernel, root, path, mount, target);
      case "devpts":
        return devpts(kernel, mount, target);
      case "proc":
        return source === undefined ? proc(kernel, spec, mount, target) : bind(kernel, mount, source, target);
      case "sysfs":
        return sysfs(kernel, mount, target);
      case "mqueue":
        return fresh(kernel, "mqueue", mount, target);
      case "cgroup2":
        return fresh(kernel, "cgroup2", mount, target);
    }
  } finally {
    kernel.close(target);
  }
}

/**
 * An image that makes /proc a link to where its own files are could keep masked paths from being masked: runc refuses it, and
 * in these words.
 */
function refuseLink(kernel: ProcessSyscalls, root: number, path: string, type: string): void {
  try {
    kernel.close(
      kernel.openat2(root, path, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS),
    );
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.is("ENOENT")) return;
    throw new InitFailure(
      "mount",
      `filesystem ${JSON.stringify(type)} must be mounted on ordinary directory`,
      error.errno,
      error,
    );
  }
}

/** A file system of its own. */
function fresh(kernel: ProcessSyscalls, type: string, mount: MountSpec, target: number): void {
  const { ms } = mountOptions(mount.flags);
  kernel.mount(mount.source ?? type, fdPath(target), type, ms, mount.data ?? null);
}

/**
 * Attaches a detached copy, its attributes set before: mount_setattr only adds, so what the
 * kernel has locked on the source (nosuid, nodev… of a mount that came from outside the user namespace) stays.
 */
function bind(kernel: ProcessSyscalls, mount: MountSpec, tree: MountSource, target: number): void {
  if (tree === undefined) throw new InitFailure("mount", "no source");
  const spread = propagation(mount.propagation ?? "rprivate");
  setTree(kernel, tree, { propagation: spread.type }, spread.recursive);
  const { set, clear } = mountOptions(mount.flags);
  const readOnly = set & MOUNT_ATTR_RDONLY;
  if (readOnly !== 0 && mount.recursiveReadOnly) setTree(kernel, tree, { set: readOnly }, true);
  if (set !== 0 || clear !== 0) setTree(kernel, tree, { set, clear }, false);
  attachTree(kernel, tree, target);
}

function setTree(
  kernel: ProcessSyscalls,
  tree: number,
  attr: { set?: number; clear?: number; propagation?: number },
  recursive: boolean,
): void {
  kernel.mountSetattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), attr);
}

/** Copy-on-write of a host directory; where the kernel refuses (no overlay, ids that are not mapped): the directory, read-only. */
function overlay(kernel: ProcessSyscalls, mount: MountSpec, source: MountSource, target: number): void {
  if (mount.overlay === undefined) throw new InitFailure("mount", "no layers");
  const { ms } = mountOptions(mount.flags);
  try {
    const layers = openOverlay(kernel, mount.overlay);
    mountOverlay(kernel, layers, fdPath(target), ms);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    bind(
      kernel,
      { ...mount, flags: ["rbind", "ro", ...mount.flags], recursiveReadOnly: true },
      source,
      target,
    );
  }
}

function tmpfs(kernel: ProcessSyscalls, root: number, path: string, mount: MountSpec, target: number): void {
  if (!mount.copyUp) return fresh(kernel, "tmpfs", mount, target);
  const { ms } = mountOptions(mount.flags);
  kernel.mount(mount.source ?? "tmpfs", fdPath(target), "tmpfs", ms & ~MS_RDONLY, mount.data ?? null);
  const mounted = openInRoot(kernel, root, path);
  try {
    copyInto(kernel, fdPath(target), fdPath(mounted));
    if ((ms & MS_RDONLY) !== 0) setTree(kernel, mounted, { set: MOUNT_ATTR_RDONLY }, false);
  } finally {
    kernel.close(mounted);
  }
}

/** With a single mapped id the group tty does not exist: then terminals belong to the user's own group. */
function devpts(kernel: ProcessSyscalls, mount: MountSpec, target: number): void {
  try {
    fresh(kernel, "devpts", mount, target);
  } catch (error) {
    const data = mount.data?.split(",").filter((part) => !part.startsWith("gid=")).join(",");
    if (!(error instanceof SysError && error.is("EINVAL")) || data === mount.data) throw error;
    fresh(kernel, "devpts", { ...mount, ...(data === undefined ? {} : { data }) }, target);
  }
}

function proc(kernel: ProcessSyscalls, spec: ContainerSpec, mount: MountSpec, target: number): void {
  try {
    fresh(kernel, "proc", mount, target);
  } catch (error) {
    if (!(error instanceof SysError && error.is("EPERM"))) throw error;
    // Refused where the surrounding /proc is partly covered (berth inside a container). The same /proc will do when
    // the processes are the same.
    if (spec.namespaces.pid.kind === "host") return bindHost(kernel, "/proc", target);
    throw new InitFailure(
      "mount",
      "the kernel refuses a new /proc here because the surrounding /proc is partly covered: run the outer container " +
        "with --security-opt systempaths=unconfined",
      error.errno,
      error,
    );
  }
}

/** A new sysfs shows the devices of a network namespace, and needs one of the container's own. */
function sysfs(kernel: ProcessSyscalls, mount: MountSpec, target: number): void {
  try {
    fresh(kernel, "sysfs", mount, target);
  } catch (error) {
    if (!(error instanceof SysError && error.is("EPERM"))) throw error;
    bindHost(kernel, "/sys", target, mount.flags.includes("ro"));
  }
}

function bindHost(kernel: ProcessSyscalls, path: string | number, target: number, readOnly = false): void {
  const tree = copyTree(kernel, path, true);
  try {
    const flags = readOnly ? ["rbind", "ro"] : ["rbind"];
    bind(kernel, { type: "bind", target: "", flags, recursiveReadOnly: readOnly }, tree, target);
  } finally {
    kernel.close(tree);
  }
}

/** Mounts nothing over a path that must not be read: /dev/null over a file, an empty read-only tmpfs over a directory. */
export function maskPath(kernel: ProcessSyscalls, root: number, path: string): void {
  const target = findExisting(kernel, root, path);
  if (target === undefined) return;
  try {
    if (isDirectory(kernel, target)) {
      kernel.mount(
        "tmpfs",
        fdPath(target),
        "tmpfs",
        MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
        null,
      );
      return;
    }
    const tree = kernel.openTree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE);
    try {
      attachTree(kernel, tree, target);
    } finally {
      kernel.close(tree);
    }
  } finally {
    kernel.close(target);
  }
}

/** Binds a path onto itself, read-only with all below it. */
export function protectPath(kernel: ProcessSyscalls, root: number, path: string): void {
  const target = findExisting(kernel, root, path);
  if (target === undefined) return;
  try {
    bindHost(kernel, target, target, true);
  } finally {
    kernel.close(target);
  }
}

function findExisting(kernel: ProcessSyscalls, root: number, path: string): number | undefined {
  try {
    return openInRoot(kernel, root, path);
  } catch (error) {
    if (error instanceof SysError && error.is("ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}
