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
  /** One letter; Z: it has ended, and its parent has not noticed. */
  readonly state: string;
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
    state: text.charAt(close + 2),
  };
}

/** All processes this engine can see. One that ends meanwhile is left out. */
export function readProcesses(): ProcessStat[] {
  const found: ProcessStat[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(Number(name));
    if (stat !== undefined) found.push(stat);
  }
  return found;
}

function readStat(pid: number): ProcessStat | undefined {
  try {
    return parseStat(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return undefined;
  }
}

/** Pids of the children of all threads of a process; none when it has ended. */
function childrenOf(pid: number): number[] {
  const found: number[] = [];
  try {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
      const text = Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`);
      for (const [child] of text.matchAll(/\d+/g)) found.push(Number(child));
    }
  } catch {
    // It, or one of its threads, has ended meanwhile.
  }
  return found;
}

let listsChildren: boolean | undefined;
/** Kernels may be built without lists of children (CONFIG_PROC_CHILDREN). */
function kernelListsChildren(): boolean {
  if (listsChildren === undefined) {
    try {
      Deno.readTextFileSync("/proc/thread-self/children");
      listsChildren = true;
    } catch {
      listsChildren = false;
    }
  }
  return listsChildren;
}

/** {@link containerProcesses}, found by reading what belongs to the container and nothing else of the machine. */
export function findProcesses(
  init: number,
  shim?: ShimProcess | null,
  cgroup?: readonly number[],
): ProcessStat[] {
  const read = (pids: Iterable<number>) =>
    [...pids].flatMap((pid) => readStat(pid) ?? []).sort((a, b) => a.pid - b.pid);
  if (cgroup !== undefined && cgroup.length > 0) return read(cgroup);
  if (!kernelListsChildren()) return containerProcesses(init, shim);
  const members = new Set<number>([init]);
  if (shim && String(readStat(shim.pid)?.startTicks) === shim.startTime) members.add(shim.pid);
  // A set hands out what is added while it is gone through.
  for (const pid of members) for (const child of childrenOf(pid)) members.add(child);
  if (shim && shim.pid !== init) members.delete(shim.pid);
  return read(members);
}

/** A container's shim; its start time (field 22 of stat) tells it from a later process of that pid. */
interface ShimProcess {
  readonly pid: number;
  readonly startTime: string;
}

/**
 * The container's processes: everything below its first process, and below its shim, whose children are the execs.
 * Who has only joined the container's PID namespace has another shim and does not count. With a cgroup it is those that are in it.
 *
 * @param init pid of the container's first process.
 * @param cgroup pids of the container's cgroup, where there is one.
 */
export function containerProcesses(
  init: number,
  shim?: ShimProcess | null,
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
