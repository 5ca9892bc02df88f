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

function pidNamespace(pid: number | "self"): string | undefined {
  try {
    return Deno.readLinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

/**
 * The container's processes: those in its PID namespace (execs too, whose parent is the shim) and their descendants
 * (which may live in further namespaces). With the host's PID namespace only descendants tell.
 *
 * @param init pid of the container's first process.
 */
export function containerProcesses(
  init: number,
  all: readonly ProcessStat[] = readProcesses(),
): ProcessStat[] {
  const namespace = pidNamespace(init);
  const shared = namespace === undefined || namespace === pidNamespace("self");
  const members = new Set<number>([init]);
  if (!shared) {
    for (const { pid } of all) if (pidNamespace(pid) === namespace) members.add(pid);
  }
  for (let grown = true; grown;) {
    grown = false;
    for (const { pid, ppid } of all) {
      if (members.has(ppid) && !members.has(pid)) {
        members.add(pid);
        grown = true;
      }
    }
  }
  return all.filter(({ pid }) => members.has(pid)).sort((a, b) => a.pid - b.pid);
}
