/** What tests see of the processes and mounts of the machine. */

export interface Leftover {
  pid: number;
  /** Why it counts: its command line, or the mount that it holds. */
  what: string;
}

/** How much slower than others this machine is: an emulated one is ten times. */
export const SLOWNESS = Number(Deno.env.get("BERTH_TEST_SLOWNESS") ?? 1);

/**
 * Polls until `condition` is true.
 * @throws Error with `explain()` after `timeout` milliseconds (times {@link SLOWNESS}), and whatever `condition` throws.
 */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  timeout: number,
  explain: () => string = () => "the condition never became true",
): Promise<void> {
  const deadline = Date.now() + timeout * SLOWNESS;
  while (!await condition()) {
    if (Date.now() > deadline) throw new Error(`${explain()} (waited ${timeout} ms)`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whether a process runs: a zombie does not. */
export function processExists(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

/** All processes that this user can see. */
export function pids(): number[] {
  return [...Deno.readDirSync("/proc")].filter((e) => /^[0-9]+$/.test(e.name)).map((e) => Number(e.name));
}

/**
 * Processes that have to do with directory `dir`: it is in their command line or environment, or something below it
 * is mounted in their mount namespace, and the mounts of this process that lie below it.
 */
export function leftovers(dir: string): Leftover[] {
  const found: Leftover[] = [];
  const own = read("/proc/self/mountinfo");
  const isBelow = (line: string) =>
    line.split(/[ ,=:]/).some((word) => word === dir || word.startsWith(`${dir}/`));
  for (const pid of pids()) {
    if (pid === Deno.pid || !processExists(pid)) continue;
    const argv = read(`/proc/${pid}/cmdline`).split("\0");
    const environ = read(`/proc/${pid}/environ`).split("\0");
    const mounts = read(`/proc/${pid}/mountinfo`);
    const mount = mounts === own ? undefined : mounts.split("\n").find(isBelow);
    if (argv.some((word) => word.includes(`${dir}/`))) found.push({ pid, what: argv.join(" ").trim() });
    else if (environ.some((word) => word.includes(`${dir}/`))) {
      found.push({ pid, what: `${argv.join(" ")} (environment)` });
    } else if (mount !== undefined) found.push({ pid, what: `${argv.join(" ").trim()} (mount ${mount})` });
  }
  return found;
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
