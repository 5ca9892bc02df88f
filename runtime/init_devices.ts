/** Device nodes: mknod is refused in a user namespace, so the host's own nodes are bound to files in the container's /dev. */
import { cleanPath } from "../base/clean_path.ts";
import { AT_EMPTY_PATH, MS_PRIVATE, O_PATH, OPEN_TREE_CLONE } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { InitFailure, inStage } from "./init_failure.ts";
import { attachTree } from "./init_mounts.ts";
import { makeInRoot, symlinkInRoot } from "./rootfs_path.ts";
import type { ContainerSpec } from "./spec.ts";

interface OpenDevice {
  readonly fd: number;
  readonly target: string;
}

/** Opens the host's nodes; those that are optional and missing are left out. */
export function openDevices(kernel: ProcessSyscalls, devices: ContainerSpec["devices"]): OpenDevice[] {
  const opened: OpenDevice[] = [];
  for (const { source, target, optional } of devices) {
    try {
      opened.push({ fd: kernel.open(source, O_PATH), target: cleanPath(`/${target}`) });
    } catch (error) {
      if (optional && error instanceof SysError) continue;
      const message = error instanceof Error ? error.message : String(error);
      throw new InitFailure(
        "devices",
        `error gathering device information while adding custom device ${JSON.stringify(source)}: ${message}`,
        error instanceof SysError ? error.errno : 0,
        error,
      );
    }
  }
  return opened;
}

/** Binds each node at its place inside `root` and closes it. */
export function bindDevices(kernel: ProcessSyscalls, root: number, devices: readonly OpenDevice[]): void {
  for (const { fd, target } of devices) {
    inStage("devices", `creating device ${target}`, () => {
      const place = makeInRoot(kernel, root, target, "file");
      const tree = kernel.openTree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
      kernel.mountSetattr(tree, "", AT_EMPTY_PATH, { propagation: MS_PRIVATE });
      attachTree(kernel, tree, place);
      for (const each of [fd, tree, place]) kernel.close(each);
    });
  }
}

/** The usual links of /dev. What an image or a volume has put there stays. */
export function makeSymlinks(
  kernel: ProcessSyscalls,
  root: number,
  symlinks: ContainerSpec["symlinks"],
): void {
  for (const [target, path] of symlinks) symlinkInRoot(kernel, root, target, cleanPath(`/${path}`));
}
