/** A process, told from any later one with the same number by its start time (field 22 of /proc/PID/stat). */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** Undefined when there is no such process, or it is a zombie. */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // the command's name stands in parentheses and may hold anything
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const state = fields[0], startTime = fields[19];
    return startTime === undefined || state === "Z" || state === "X" ? undefined : { pid, startTime };
  } catch {
    return undefined;
  }
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTime === identity.startTime;
}
