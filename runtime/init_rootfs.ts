/** A container's root: mounted, filled, protected, and made the root. */
import {
  AT_EMPTY_PATH,
  MNT_DETACH,
  MOUNT_ATTR_RDONLY,
  MS_BIND,
  MS_PRIVATE,
  MS_REC,
  MS_SLAVE,
  O_DIRECTORY,
  O_PATH,
} from "../ffi/constants.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { bindDevices, makeSymlinks, openDevices } from "./init_devices.ts";
import { inStage } from "./init_failure.ts";
import { applyMounts, maskPath, openMountSources, protectPath } from "./init_mounts.ts";
import { mountOverlay, openOverlay } from "./init_overlay.ts";
import { applySysctls } from "./init_sysctl.ts";
import { propagationFlags } from "./mount_flags.ts";
import { fdPath, openDirectory, openInRoot } from "./rootfs_path.ts";
import type { ContainerSpec, MountSpec } from "./spec.ts";

/** Where `--init` puts its program, as Docker does. */
export const INIT_PROGRAM = "/sbin/docker-init";

/**
 * Builds the root of `spec` over `mountPoint` and enters it. The calling thread has a mount namespace of its own; after this
 * nothing of the host is reachable by path.
 *
 * @param takeProc for a container that joins a PID namespace: its /proc
 */
export function enterRootfs(
  kernel: ProcessSyscalls,
  spec: ContainerSpec,
  mountPoint: string,
  takeProc?: () => number,
): void {
  // Mounts of the host may still arrive (that is what rslave volumes are for); none may leave.
  inStage("rootfs", "", () => kernel.mount(null, "/", null, MS_REC | MS_SLAVE, null));
  const mounts = withInitProgram(spec);
  const sources = openMountSources(kernel, mounts, takeProc);
  const devices = openDevices(kernel, spec.devices);
  inStage("rootfs", "mounting the root file system", () => mountRoot(kernel, spec, mountPoint));
  const root = inStage("rootfs", "", () => kernel.open(mountPoint, O_PATH | O_DIRECTORY));
  applyMounts(kernel, root, { ...spec, mounts }, sources);
  inStage("devices", "", () => bindDevices(kernel, root, devices));
  inStage("devices", "", () => makeSymlinks(kernel, root, spec.symlinks));
  applySysctls(kernel, root, spec);
  for (const path of spec.readonlyPaths) inStage("mask", "", () => protectPath(kernel, root, path));
  for (const path of spec.maskedPaths) inStage("mask", "", () => maskPath(kernel, root, path));
  if (spec.readonlyRootfs) {
    inStage("rootfs", "", () => kernel.mountSetattr(root, "", AT_EMPTY_PATH, { set: MOUNT_ATTR_RDONLY }));
  }
  inStage("rootfs", "", () => pivot(kernel, root));
  const { rootPropagation } = spec;
  if (rootPropagation !== undefined) {
    inStage("rootfs", "", () => kernel.mount(null, "/", null, propagationFlags(rootPropagation), null));
  }
}

function withInitProgram(spec: ContainerSpec): readonly MountSpec[] {
  if (spec.init === undefined || spec.init === "builtin") return spec.mounts;
  const program: MountSpec = { type: "bind", source: spec.init, target: INIT_PROGRAM, flags: ["bind", "ro"] };
  return [...spec.mounts, program];
}

function mountRoot(kernel: ProcessSyscalls, spec: ContainerSpec, mountPoint: string): void {
  if (spec.rootfs.kind === "overlay") {
    mountOverlay(kernel, openOverlay(kernel, spec.rootfs.overlay), mountPoint, 0);
    return;
  }
  const source = openDirectory(kernel, spec.rootfs.path);
  try {
    kernel.mount(fdPath(source), mountPoint, null, MS_BIND | MS_REC, null);
    kernel.mount(null, mountPoint, null, MS_REC | MS_PRIVATE, null);
  } finally {
    kernel.close(source);
  }
}

/**
 * pivot_root(2) without a directory for the old root: the two are stacked, and the old one is then the one to be
 * taken away (see the NOTES of the manual page).
 */
function pivot(kernel: ProcessSyscalls, root: number): void {
  const old = kernel.open("/", O_DIRECTORY);
  const fresh = openInRoot(kernel, root, "/", O_DIRECTORY);
  kernel.close(root);
  kernel.fchdir(fresh);
  kernel.pivotRoot(".", ".");
  kernel.fchdir(old);
  // Belt and braces: this unmounting must not travel to the host.
  kernel.mount(null, ".", null, MS_SLAVE | MS_REC, null);
  kernel.umount2(".", MNT_DETACH);
  kernel.chdir("/");
  kernel.close(old);
  kernel.close(fresh);
}
