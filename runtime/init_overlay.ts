import { MS_BIND, MS_REC } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { fdPath, openDirectory } from "./rootfs_path.ts";
import type { OverlaySpec } from "./spec.ts";

/** Descriptors of an overlay's directories. */
export interface OverlayLayers {
  readonly lower: readonly number[];
  readonly upper: number | undefined;
  readonly work: number | undefined;
  readonly options: readonly string[];
}

export function openOverlay(kernel: ProcessSyscalls, overlay: OverlaySpec): OverlayLayers {
  return {
    lower: overlay.lower.map((path) => openDirectory(kernel, path)),
    upper: overlay.upper === undefined ? undefined : openDirectory(kernel, overlay.upper),
    work: overlay.work === undefined ? undefined : openDirectory(kernel, overlay.work),
    options: overlay.options,
  };
}

/**
 * Mounts the layers at `target` and closes them.
 *
 * The directories are named by descriptor number, relative to /proc/self/fd: mount options are limited to one page,
 * which real paths of a hundred layers exceed; a path with a comma or colon needs no escaping; and what the container sees
 * in its mount table tells nothing about the host.
 */
export function mountOverlay(
  kernel: ProcessSyscalls,
  layers: OverlayLayers,
  target: string,
  flags: number,
): void {
  const { lower, upper, work, options } = layers;
  try {
    const only = lower[0];
    if (only !== undefined && lower.length === 1 && upper === undefined) {
      kernel.mount(fdPath(only), target, null, MS_BIND | MS_REC, null);
      return;
    }
    const data = [
      `lowerdir=${lower.join(":")}`,
      ...(upper === undefined ? [] : [`upperdir=${upper}`]),
      ...(work === undefined ? [] : [`workdir=${work}`]),
      ...options,
    ].join(",");
    kernel.chdir("/proc/self/fd");
    try {
      kernel.mount("overlay", target, "overlay", flags, data);
    } catch (error) {
      if (error instanceof SysError) throw new SysError("mount overlay", error.errno, `(${data})`);
      throw error;
    }
  } finally {
    kernel.chdir("/");
    for (const fd of [...lower, upper, work]) if (fd !== undefined) kernel.close(fd);
  }
}
