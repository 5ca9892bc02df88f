/** How much memory the engine and the shims take, as the proportional set size (PSS): shared pages are divided. */

import type { Engine } from "../tests/support/engine.ts";
import { pids } from "../tests/support/processes.ts";
import { median } from "./stats.ts";

/** Kilobytes of PSS of a process; 0 when it is gone or may not be read. */
export function pssOf(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Processes of berth in a role, below the engine's exec root. */
export function processesOf(role: string, engine: Engine): number[] {
  return pids().filter((pid) => {
    try {
      const argv = Deno.readTextFileSync(`/proc/${pid}/cmdline`);
      return argv.includes(`\0@${role}\0`) &&
        (argv.includes(engine.dir) || Deno.readTextFileSync(`/proc/${pid}/environ`).includes(engine.dir) ||
          isBelow(pid, engine.pid));
    } catch {
      return false;
    }
  });
}

/** Whether `ancestor` is among the parents of `pid`. */
function isBelow(pid: number, ancestor: number): boolean {
  for (let at = pid; at > 1;) {
    const parent = Number(/^PPid:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${at}/status`))?.[1] ?? 0);
    if (parent === ancestor) return true;
    at = parent;
  }
  return false;
}

/** Starts containers up to each of `counts` and prints what berth's processes take. */
export async function printMemory(engine: Engine, image: string, counts: readonly number[]): Promise<void> {
  console.log("\nMemory (PSS), containers running `sleep`\n");
  console.log("  containers   engine   each shim   all shims and inits   whole berth");
  let running = 0;
  const totals: [number, number][] = [];
  for (const count of counts) {
    while (running < count) {
      const { code, stderr } = await engine.berth([
        "run",
        "-d",
        "--network",
        "none",
        image,
        "sleep",
        "10000",
      ]);
      if (code !== 0) throw new Error(`container ${running + 1} does not start: ${stderr}`);
      running += 1;
    }
    const own = pssOf(engine.pid);
    const shims = processesOf("shim", engine).map(pssOf);
    const inits = processesOf("init", engine).map(pssOf);
    const rest = [...shims, ...inits].reduce((a, b) => a + b, 0);
    const mb = (kilobytes: number, width: number) => `${(kilobytes / 1024).toFixed(1)} MB`.padStart(width);
    const shim = shims.length === 0 ? "-".padStart(12) : mb(median(shims), 12);
    console.log(`  ${String(count).padStart(10)}${mb(own, 9)}${shim}${mb(rest, 22)}${mb(own + rest, 14)}`);
    totals.push([count, own + rest]);
  }
  const [first, last] = [totals[0], totals.at(-1)];
  if (first !== undefined && last !== undefined && last[0] > first[0]) {
    const each = (last[1] - first[1]) / (last[0] - first[0]) / 1024;
    console.log(`\n  each further container: ${each.toFixed(1)} MB (goal: at most 12 MB)`);
  }
}
