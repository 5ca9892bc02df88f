/** Commands of berth and of podman in turns, with what they take: time, and the engine's memory. */

import type { Engine } from "../tests/support/engine.ts";
import { waitFor } from "../tests/support/processes.ts";
import { runAs, type RunResult, type User } from "../tests/support/users.ts";
import { pssOf } from "./memory.ts";
import { lastLine, versionOf } from "./peers.ts";
import { median, timed } from "./stats.ts";

export const DEADLINE = 600_000;

/** How often the engine's memory is looked at. Looking takes the kernel a millisecond. */
const SAMPLE_MS = 100;

/** A command line and its store. */
export interface Tool {
  readonly name: string;
  run(args: string[]): Promise<RunResult>;
}

/** Runs a command that must succeed, and answers its milliseconds. */
export async function time(tool: Tool, args: string[]): Promise<number> {
  let result: RunResult | undefined;
  const ms = await timed(async () => result = await tool.run(args));
  if (result?.code !== 0) {
    throw new Error(`${tool.name} ${args.join(" ")}: ${lastLine(result?.stderr || result?.stdout || "")}`);
  }
  return ms;
}

export function berthTool(engine: Engine): Tool {
  return { name: "berth", run: (args) => engine.berth(args, { timeout: DEADLINE }) };
}

/**
 * podman's stores of one benchmark: a new one whenever it is asked for, and none is removed before the end. On ext4 files are made slowly
 * for some minutes wherever many have been removed, which would tell about the file system and the order of the runs.
 */
export class PodmanStores implements AsyncDisposable {
  readonly #user: User;
  readonly #dir: string;
  #made = 0;

  private constructor(user: User, dir: string) {
    this.#user = user;
    this.#dir = dir;
  }

  /** Undefined when podman is not installed. */
  static async open(user: User, dir: string): Promise<PodmanStores | undefined> {
    if (await versionOf(user, "podman") === undefined) return undefined;
    // subdirectories go to places of the disk of their own, as berth's layers do; ext4 only
    await runAs(user, ["sh", "-c", `mkdir -p '${dir}' && chattr +T '${dir}' 2>/dev/null`]);
    return new PodmanStores(user, dir);
  }

  fresh(): Tool {
    const args = this.#argv(this.#made++);
    return {
      name: "podman",
      run: (more) => runAs(this.#user, [...args, ...more], { timeout: DEADLINE }),
    };
  }

  #argv(number: number): string[] {
    return [
      "podman",
      ...["--root", `${this.#dir}/${number}`, "--runroot", `${this.#dir}/run-${number}`],
      ...["--storage-driver", "overlay", "--cgroup-manager=cgroupfs", "--events-backend=file"],
      "--log-level=error",
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let i = 0; i < this.#made; i++) {
      await runAs(this.#user, [...this.#argv(i), "system", "reset", "--force"], { timeout: DEADLINE }).catch(
        () => {},
      );
    }
    await runAs(this.#user, [...this.#argv(0), "system", "migrate"]).catch(() => {});
    await runAs(this.#user, ["rm", "-rf", this.#dir]);
  }
}

/** The most memory that a process had at once: resident, and with shared pages divided. In MiB. */
class Peak {
  readonly #pid: number;
  readonly #timer: ReturnType<typeof setInterval>;
  #pss = 0;

  constructor(pid: number) {
    this.#pid = pid;
    // the kernel forgets the highest resident size
    Deno.writeTextFileSync(`/proc/${pid}/clear_refs`, "5");
    this.#timer = setInterval(() => this.#pss = Math.max(this.#pss, pssOf(pid) / 1024), SAMPLE_MS);
  }

  stop(): { rss: number; pss: number } {
    clearInterval(this.#timer);
    const status = Deno.readTextFileSync(`/proc/${this.#pid}/status`);
    return { rss: Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1024, pss: this.#pss };
  }
}

/** One measurement. Each action answers milliseconds of what counts; what it needs before, it does itself. */
export interface Contest {
  readonly what: string;
  /** What is moved. */
  readonly bytes: number;
  readonly rounds: number;
  readonly goal?: number;
  /** Called once for each round; `measure` times one command. */
  berth(measure: (tool: Tool, args: string[]) => Promise<number>): Promise<number>;
  podman?: (() => Promise<number>) | undefined;
}

/** Waits until nothing of the round before is going on: files that are removed in the background, and pages that wait for the disk. */
async function settle(engine: Engine): Promise<void> {
  const trash = `${engine.dataRoot}/trash`;
  const empty = () => {
    try {
      return [...Deno.readDirSync(trash)].length === 0;
    } catch {
      return true;
    }
  };
  await waitFor(empty, DEADLINE, () => `${trash} is not emptied`);
  await runAs(engine.user, ["sync", "-f", engine.dir]);
}

function loadAverage(): string {
  return Deno.readTextFileSync("/proc/loadavg").split(" ")[0] ?? "?";
}

export function printHead(title: string): void {
  console.log(`\n${title}\n`);
  console.log(
    `  ${"".padEnd(34)}${"berth".padStart(20)}${"podman".padStart(20)}   speed (best)   engine's peak   load`,
  );
}

/** Runs both in turns and prints a line: medians, the ratio of speeds, that of the best runs, the engine's peak (resident, PSS). */
export async function contest(
  engine: Engine,
  { what, bytes, rounds, goal, berth, podman }: Contest,
): Promise<void> {
  const ours: number[] = [], theirs: number[] = [];
  let rss = 0, pss = 0;
  await settle(engine);
  const load = loadAverage();
  const measure = async (tool: Tool, args: string[]): Promise<number> => {
    await settle(engine);
    const peak = new Peak(engine.pid);
    try {
      return await time(tool, args);
    } finally {
      const seen = peak.stop();
      rss = Math.max(rss, seen.rss);
      pss = Math.max(pss, seen.pss);
    }
  };
  for (let round = 0; round < rounds; round++) {
    ours.push(await berth(measure));
    await settle(engine);
    if (podman) theirs.push(await podman());
  }
  const cell = (times: readonly number[]) => {
    const ms = median(times);
    if (Number.isNaN(ms)) return "-".padStart(20);
    return `${(ms / 1000).toFixed(2)} s ${(bytes / 1000 / ms).toFixed(0).padStart(4)} MB/s`.padStart(20);
  };
  const times = (ratio: number) =>
    Number.isNaN(ratio) || !Number.isFinite(ratio) ? "-" : `${ratio.toFixed(2)}×`;
  const ratio = median(theirs) / median(ours);
  const best = Math.min(...theirs) / Math.min(...ours);
  const wanted = goal === undefined ? "" : `   (goal: ${goal}×, 250 MB)`;
  console.log(
    `  ${what.padEnd(34)}${cell(ours)}${cell(theirs)}   ${times(ratio)} (${times(best)})`.padEnd(92) +
      `${rss.toFixed(0).padStart(5)}, ${pss.toFixed(0)} MiB   ${load}${wanted}`,
  );
}
