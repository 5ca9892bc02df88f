/** The processes of a container, found in the engine's own /proc. */

/** Of /proc/PID/stat, what `top` shows. */
export interface ProcessStat {
  readonly pid: number;
  readonly ppid: number;
  /** Controlling terminal as the kernel numbers it; 0 = none. */
  readonly tty: number;
  /** Clock ticks on the CPU, user and system. */
  readonly cpuTicks: number;
  /** Clock ticks after boot. */
  readonly startTicks: number;
  readonly name: string;
}

/** Parses /proc/PID/stat. The name stands in parentheses and may hold anything, parentheses included. */
export function parseStat(text: string): ProcessStat | undefined {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open < 0 || close < open) return undefined;
  // Fields from the third on: state ppid pgrp session tty_nr … utime(14) stime(15) … starttime(22).
  const fields = text.slice(close + 2).trim().split(" ");
  const field = (number: number) => Number(fields[number - 3]);
  return {
    pid: Number(text.slice(0, open)),
    ppid: field(4),
    tty: field(7),
    cpuTicks: field(14) + field(15),
    startTicks: field(22),
    name: text.slice(open + 1, close),
  };
}

/** All processes this engine can see. One that ends meanwhile is left out. */
export function readProcesses(): ProcessStat[] {
  const found: ProcessStat[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = parseStat(Deno.readTextFileSync(`/proc/${name}/stat`));
      if (stat) found.push(stat);
    } catch {
      continue;
    }
  }
  return found;
}

/**
 * The container's processes: everything below its first process, and below its shim, whose children are the execs.
 * Who has only joined the container's PID namespace has another shim and does not count. With a cgroup it is those that are in it.
 *
 * @param init pid of the container's first process.
 * @param shim the container's shim; its start time (field 22 of stat) tells it from a later process of that pid.
 * @param cgroup pids of the container's cgroup, where there is one.
 */
export function containerProcesses(
  init: number,
  shim?: { readonly pid: number; readonly startTime: string } | null,
  all: readonly ProcessStat[] = readProcesses(),
  cgroup?: readonly number[],
): ProcessStat[] {
  if (cgroup !== undefined && cgroup.length > 0) {
    const inside = new Set(cgroup);
    return all.filter(({ pid }) => inside.has(pid)).sort((a, b) => a.pid - b.pid);
  }
  const roots = new Set<number>([init]);
  if (shim && all.some((p) => p.pid === shim.pid && String(p.startTicks) === shim.startTime)) {
    roots.add(shim.pid);
  }
  const members = new Set(roots);
  for (let grown = true; grown;) {
    grown = false;
    for (const { pid, ppid } of all) {
      if (members.has(ppid) && !members.has(pid)) {
        members.add(pid);
        grown = true;
      }
    }
  }
  if (shim && shim.pid !== init) members.delete(shim.pid);
  return all.filter(({ pid }) => members.has(pid)).sort((a, b) => a.pid - b.pid);
}
