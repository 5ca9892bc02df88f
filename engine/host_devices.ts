/** Device nodes of the host that a container gets. */

/** Bound into every container's /dev (runc: AllowedDevices). */
export const DEFAULT_DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];

/** Of these a container has its own, or they would be the host's console. */
const OWN = [
  "/dev/pts",
  "/dev/shm",
  "/dev/fd",
  "/dev/mqueue",
  "/dev/console",
  "/dev/ptmx",
  "/dev/.udev",
  "/dev/log",
];

/**
 * All device nodes at or below a path, for `--device` of a directory and for `--privileged`. They are not opened:
 * opening a watchdog or a tape does things. What the user may open, the kernel decides when the container tries.
 */
export function devicesBelow(path: string): string[] {
  const found: string[] = [];
  const visit = (each: string) => {
    if (OWN.includes(each)) return;
    let info: Deno.FileInfo;
    try {
      info = Deno.lstatSync(each);
    } catch {
      return; // gone meanwhile
    }
    if (info.isCharDevice || info.isBlockDevice) found.push(each);
    else if (info.isDirectory) {
      try {
        for (const entry of Deno.readDirSync(each)) visit(`${each}/${entry.name}`);
      } catch (error) {
        if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
      }
    }
  };
  visit(path);
  return found.sort();
}
