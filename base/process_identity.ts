/** A pid is used again sooner or later; with its start time (field 22 of /proc/PID/stat) it names one process for ever. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** Start time of a process in clock ticks since boot, its state letter and its parent; undefined when there is no such process. */
export function processStat(pid: number): { startTime: string; state: string; ppid: number } | undefined {
  if (pid <= 0) return undefined;
  let text: string;
  try {
    text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  } catch {
    return undefined;
  }
  // The command name (field 2) may hold spaces and parentheses: fields are counted after its last ")".
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", ppid: Number(fields[1]), startTime: fields[19] ?? "" };
}

/** Who a process is now; undefined when there is none of that number, or it has ended (a zombie counts as ended). */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = processStat(pid);
  return stat === undefined || stat.state === "Z" || stat.state === "X"
    ? undefined
    : { pid, startTime: stat.startTime };
}

/** True while exactly this process lives. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTime === identity.startTime;
}
