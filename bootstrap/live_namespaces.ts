/**
 * Finds a process of an earlier engine that still holds the user and mount namespace of this exec root.
 */
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";

/** A process for ever: a pid may be used again, a pid with its start time may not. */
interface Holder {
  readonly pid: number;
  readonly startTime: string;
}

/** Field 22 of /proc/PID/stat, in clock ticks since boot; undefined when there is no such process. */
export function processStartTime(pid: number): string | undefined {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The second field holds the program's name, which may contain anything: count from its last parenthesis.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

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
      if (foreign && processStartTime(pid) === startTime) return { user, mount };
    } catch (error) {
      // Ended meanwhile, or not ours.
      if (!(error instanceof SysError)) throw error;
    }
    for (const fd of fds) kernel.close(fd);
  }
  return undefined;
}

function* shimsOf(execRoot: string): Generator<Holder> {
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
