/**
 * `GET /containers/{id}/top`: what `ps -ef` says, read from /proc, since a program that reads all of the machine takes a hundred times as long;
 * with other options the machine's `ps`, filtered to the container.
 */
import { conflict, EngineError, invalid } from "../base/errors.ts";
import { cgroupOf } from "./container_cgroup.ts";
import type { ContainerRecord } from "./container_record.ts";
import { findProcesses, type ProcessStat } from "./process_list.ts";

export interface TopView {
  readonly Titles: string[];
  readonly Processes: string[][];
}

const DEFAULT_PS_ARGS = "-ef";

/**
 * The container's processes in the columns that `ps` gives for `psArgs`.
 *
 * @param ps the program to run; for tests.
 * @throws EngineError conflict when it does not run, invalid for arguments that hide or fake the PID column or
 * that ps does not take, system when there is no ps.
 */
export async function topView(
  record: ContainerRecord,
  psArgs: string | undefined,
  ps = "ps",
): Promise<TopView> {
  if (record.state.status === "restarting") {
    throw conflict(`Container ${record.id} is restarting, wait until the container is running`);
  }
  if (record.state.status !== "running") throw conflict(`container ${record.id} is not running`);
  const args = psArgs || DEFAULT_PS_ARGS;
  checkPsArgs(args);
  const inCgroup = cgroupOf(record)?.processes();
  const processes = findProcesses(record.state.pid, record.shim, inCgroup);
  if (args === DEFAULT_PS_ARGS) return ownView(processes);
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(ps, {
      args: args.split(/[\t\n\v\f\r ]+/).filter((arg) => arg !== ""),
      env: { LC_ALL: "C", COLUMNS: "100000" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
  } catch (error) {
    throw new EngineError("system", "ps: executable file not found in $PATH", {
      cause: error,
      hint: "Install it:  sudo apt-get install procps",
    });
  }
  const decoder = new TextDecoder();
  if (!output.success) {
    const [line = "failed"] = decoder.decode(output.stderr).trim().split("\n");
    // options of the client's own that ps does not take
    throw invalid(`ps: ${line}`);
  }
  return parsePsOutput(decoder.decode(output.stdout), new Set(processes.map(({ pid }) => pid)));
}

/** `-o pid=TITLE` and the like would let a column claim to be PID (moby: validatePSArgs). */
function checkPsArgs(args: string): void {
  for (const [, column, title] of ` ${args}`.matchAll(/\s+(\S*)=\s*(PID\S*)/g)) {
    if (column !== "pid") throw invalid(`specifying "${column}=${title}" is not allowed`);
  }
}

/**
 * Cuts ps's output into rows and keeps those of the given processes. The last column takes the rest of its line.
 *
 * @throws EngineError invalid when there is no PID column: the client's options have left it out.
 */
export function parsePsOutput(output: string, pids: ReadonlySet<number>): TopView {
  const words = (line: string) => line.split(/[\t\n\v\f\r ]+/).filter((word) => word !== "");
  const [head = "", ...lines] = output.split("\n");
  const titles = words(head);
  const column = titles.indexOf("PID");
  if (column < 0) throw invalid("Couldn't find PID field in ps output");
  const rows: string[][] = [];
  // `ps m` lists threads below their process, with "-" for a pid.
  let before = false;
  for (const line of lines) {
    const fields = words(line);
    if (fields.length === 0) continue;
    const pid = fields[column] ?? "";
    if (pid === "-" ? before : pids.has(Number(pid))) {
      rows.push([...fields.slice(0, titles.length - 1), fields.slice(titles.length - 1).join(" ")]);
    }
    if (pid !== "-") before = pids.has(Number(pid));
  }
  return { Titles: titles, Processes: rows };
}

/** Linux gives times in /proc in this unit on every architecture berth runs on (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** What `ps -ef` says (procps-ng: src/ps/output.c). */
function ownView(processes: readonly ProcessStat[]): TopView {
  const uptime = Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]);
  const names = userNames();
  const rows = processes.map((process) => {
    const age = Math.max(0, uptime - process.startTicks / TICKS_PER_SECOND);
    const busy = process.cpuTicks / TICKS_PER_SECOND;
    return [
      userName(process.pid, names),
      String(process.pid),
      String(process.ppid),
      String(age > 0 ? Math.min(99, Math.floor(busy * 100 / age)) : 0),
      startText(new Date(Date.now() - age * 1000), new Date()),
      ttyName(process.tty),
      cpuTime(Math.floor(busy)),
      commandLine(process),
    ];
  });
  return { Titles: ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], Processes: rows };
}

/** The time of today, the day of this year, or the year. */
export function startText(start: Date, now: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  if (start.getFullYear() !== now.getFullYear()) return String(start.getFullYear());
  if (start.getMonth() === now.getMonth() && start.getDate() === now.getDate()) {
    return `${two(start.getHours())}:${two(start.getMinutes())}`;
  }
  return start.toLocaleString("en-US", { month: "short" }) + two(start.getDate());
}

/** `[days-]hours:minutes:seconds` */
export function cpuTime(seconds: number): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const days = Math.floor(seconds / 86_400);
  return `${days > 0 ? `${days}-` : ""}${two(Math.floor(seconds / 3600) % 24)}:${
    two(Math.floor(seconds / 60) % 60)
  }:${two(seconds % 60)}`;
}

/** Terminals are major numbers 136 to 143 (pseudo terminals) and 4 (consoles). */
function ttyName(device: number): string {
  if (device === 0) return "?";
  const major = device >> 8 & 0xfff;
  const minor = device & 0xff | device >> 12 & 0xfff00;
  if (major >= 136 && major <= 143) return `pts/${minor + (major - 136) * 256}`;
  return major === 4 ? `tty${minor}` : `${major}:${minor}`;
}

/** Users of the machine by id. */
function userNames(): ReadonlyMap<string, string> {
  try {
    return new Map(
      Deno.readTextFileSync("/etc/passwd").split("\n").map((line) => line.split(":")).map((
        [name = "", , uid = ""],
      ) => [uid, name]),
    );
  } catch {
    return new Map();
  }
}

/** A column of eight characters: what is longer ends in a plus. */
function userName(pid: number, names: ReadonlyMap<string, string>): string {
  try {
    const uid = /^Uid:\t\d+\t(\d+)/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1] ?? "?";
    const name = names.get(uid) ?? uid;
    return name.length > 8 ? `${name.slice(0, 7)}+` : name;
  } catch {
    return "?";
  }
}

function commandLine({ pid, name, state }: ProcessStat): string {
  const dead = state === "Z" ? " <defunct>" : "";
  let text = "";
  try {
    text = Deno.readTextFileSync(`/proc/${pid}/cmdline`).replace(/\0+$/, "").replaceAll("\0", " ");
  } catch {
    // It has ended meanwhile.
  }
  // Columns are cut at blanks, as of ps's output.
  const words = (text === "" ? `[${name}]${dead}` : text).split(/[\t\n\v\f\r ]+/);
  return words.filter((word) => word !== "").join(" ");
}
