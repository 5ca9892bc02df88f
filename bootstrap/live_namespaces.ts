/**
 * Finds a process of an earlier engine that still holds the user and mount namespace of this exec root.
 */
import { isAlive, type ProcessIdentity } from "../base/process_identity.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";

/** Open descriptors of the namespaces of a live shim: they stay, whatever becomes of it. */
export interface HeldNamespaces {
  readonly user: number;
  readonly mount: number;
}

/**
 * The namespaces of a live shim below `<execRoot>/shims` that has a container: the next engine must enter them, because
 * a container's processes and mounts can be reached from their own user namespace only. Shims without a container end
 * with their engine. undefined when nobody holds anything.
 */
export function openHeldNamespaces(kernel: Syscalls, execRoot: string): HeldNamespaces | undefined {
  for (const { pid, startTime } of shimsOf(execRoot)) {
    const fds: number[] = [];
    try {
      const user = kernel.open(`/proc/${pid}/ns/user`, 0);
      fds.push(user);
      const mount = kernel.open(`/proc/${pid}/ns/mnt`, 0);
      fds.push(mount);
      const foreign = Deno.readLinkSync(`/proc/self/fd/${user}`) !== Deno.readLinkSync("/proc/self/ns/user");
      // Asked after the opening: only now it is certain whose namespaces they are.
      if (foreign && isAlive({ pid, startTime })) return { user, mount };
    } catch (error) {
      // Ended meanwhile, or not ours.
      if (!(error instanceof SysError)) throw error;
    }
    for (const fd of fds) kernel.close(fd);
  }
  return undefined;
}

function* shimsOf(execRoot: string): Generator<ProcessIdentity> {
  let entries: Iterable<Deno.DirEntry>;
  try {
    entries = [...Deno.readDirSync(`${execRoot}/shims`)];
  } catch {
    return;
  }
  for (const entry of entries) {
    try {
      const state: unknown = JSON.parse(Deno.readTextFileSync(`${execRoot}/shims/${entry.name}/state.json`));
      if (typeof state !== "object" || state === null) continue;
      const { shimPid, shimStartTime, containerId } = state as Record<string, unknown>;
      if (
        typeof shimPid === "number" && typeof shimStartTime === "string" && typeof containerId === "string"
      ) {
        yield { pid: shimPid, startTime: shimStartTime };
      }
    } catch {
      // Half-made or being removed: not a shim to hold on to.
    }
  }
}
