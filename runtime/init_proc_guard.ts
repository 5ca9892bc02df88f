/**
 * Keeps mounts away from a container's /proc. What is mounted there would be taken for the kernel's word by whoever reads it, init
 * itself included: masked paths would be masked somewhere else, settings written to somebody's files.
 */
import { PROC_SUPER_MAGIC } from "../ffi/constants.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { InitFailure } from "./init_failure.ts";
import { fdPath } from "./rootfs_path.ts";
import type { MountSpec } from "./spec.ts";

/** Files that lxcfs and the like put in the place of the kernel's (runc: checkProcMount). */
const PERMITTED = new Set([
  "/proc/cpuinfo",
  "/proc/diskstats",
  "/proc/meminfo",
  "/proc/stat",
  "/proc/swaps",
  "/proc/uptime",
  "/proc/loadavg",
  "/proc/slabinfo",
  "/proc/sys/kernel/ns_last_pid",
  "/proc/sys/crypto/fips_enabled",
]);

/**
 * @param rootPath what the descriptor of the container's root leads to
 * @param target O_PATH descriptor of the mount point that was found: what its path leads to counts, not how it is spelled.
 * @param source detached copy of what is mounted, for a bind
 * @throws {InitFailure} in runc's words
 */
export function refuseProcMount(
  kernel: ProcessSyscalls,
  rootPath: string,
  mount: MountSpec,
  target: number,
  source: number | undefined,
): void {
  const place = kernel.readlink(fdPath(target)).slice(rootPath.length);
  if (place === "/proc") {
    if (mount.type === "proc") return;
    if (mount.type === "bind" && source !== undefined && isProc(kernel, source)) return;
    throw new InitFailure(
      "mount",
      `${JSON.stringify(place)} cannot be mounted because it is not of type proc`,
    );
  }
  if (place.startsWith("/proc/") && !PERMITTED.has(place)) {
    throw new InitFailure("mount", `${JSON.stringify(place)} cannot be mounted because it is inside /proc`);
  }
}

const isProc = (kernel: ProcessSyscalls, fd: number): boolean =>
  kernel.statfs(fdPath(fd)).type === PROC_SUPER_MAGIC;
