/**
 * Finds a process of an earlier engine that still holds the user and mount namespace of this exec root.
 */

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

/**
 * Pid of a live shim below `<execRoot>/shims` that lives in another user namespace than the caller: the next engine must
 * enter it, because a container's processes and mounts can be reached from their own user namespace only.
 */
export function findNamespaceHolder(execRoot: string): number | undefined {
  for (const holder of shimsOf(execRoot)) {
    if (processStartTime(holder.pid) !== holder.startTime) continue;
    try {
      if (Deno.readLinkSync(`/proc/${holder.pid}/ns/user`) !== Deno.readLinkSync("/proc/self/ns/user")) {
        return holder.pid;
      }
    } catch {
      // Ended meanwhile, or not ours.
    }
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
      const { shimPid, shimStartTime } = state as { shimPid?: unknown; shimStartTime?: unknown };
      if (typeof shimPid === "number" && typeof shimStartTime === "string") {
        yield { pid: shimPid, startTime: shimStartTime };
      }
    } catch {
      // Half-made or being removed: not a shim to hold on to.
    }
  }
}
