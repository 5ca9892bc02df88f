/** How fast a container may print, and how fast the end of a large log is found. */
import type { Engine } from "../tests/support/engine.ts";
import { runAs, type RunResult } from "../tests/support/users.ts";
import type { ApiBench } from "./api.ts";
import { lastLine, type Podman } from "./peers.ts";
import { median, timed } from "./stats.ts";

/** The file that is printed again and again: lines as programs write them. */
const FILE_MEGABYTES = 50;
const DEADLINE = 600_000;
const ROUNDS = 3;

interface Printer {
  readonly name: string;
  run(args: string[]): Promise<RunResult>;
  /** The container's log. */
  path(name: string): Promise<string>;
  command(args: string[]): Promise<RunResult>;
}

export async function printLogs(engine: Engine, podman: Podman, options: ApiBench): Promise<void> {
  const { user, dir, image, megabytes } = options;
  const source = `${dir}/lines`;
  await Deno.mkdir(source);
  const { lines, bytes } = writeLines(`${source}/lines`);
  const times = Math.max(1, Math.round(megabytes / FILE_MEGABYTES));
  const printers: Printer[] = [{
    name: "berth",
    run: (args) => engine.berth(["run", "--network", "none", ...args], { timeout: DEADLINE }),
    path: async (name) => (await engine.berth(["inspect", "-f", "{{.LogPath}}", name])).stdout.trim(),
    command: (args) => engine.berth(args, { timeout: DEADLINE }),
  }];
  if (!("missing" in podman)) {
    printers.push({
      name: "podman",
      // not --rm: the log goes with the container
      run: (args) =>
        runAs(user, podman.runArgv(["--log-driver", "k8s-file", ...args]).filter((word) => word !== "--rm"), {
          timeout: DEADLINE,
        }),
      path: async (name) =>
        (await runAs(user, podman.argv(["inspect", "-f", "{{.HostConfig.LogConfig.Path}}", name]))).stdout
          .trim(),
      command: (args) => runAs(user, podman.argv(args), { timeout: DEADLINE }),
    });
  }
  const total = bytes * times / 1e6;
  console.log(
    `\nA container prints ${total.toFixed(0)} MB in lines of ${
      Math.round(bytes / lines)
    } bytes, all of it kept; median of ${ROUNDS} rounds in turns\n`,
  );
  const script = `i=0; while [ $i -lt ${times} ]; do cat /lines/lines; i=$((i+1)); done`;
  const args = ["-v", `${source}:/lines:ro`, image, "sh", "-c", script];
  const speeds = new Map<Printer, number[]>(printers.map((printer) => [printer, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [printer, found] of speeds) {
      const name = `bench-prints-${printer.name}`;
      if (round > 0) await printer.command(["rm", "-f", name]);
      // what was written before is on the disk: nobody waits for somebody else's pages
      await new Deno.Command("sync").output();
      const ms = await timePrinting(printer, name, args);
      if (typeof ms === "string") {
        console.log(`  ${printer.name}: ${ms}`);
        speeds.delete(printer);
        continue;
      }
      found.push(total / ms * 1000);
      const missing = lines * times - await countLines(await printer.path(name));
      if (missing !== 0) console.log(`  ${printer.name}: ${missing} of ${lines * times} lines LOST`);
    }
  }
  for (const [printer, found] of speeds) {
    const name = `bench-prints-${printer.name}`;
    const all = found.map((speed) => speed.toFixed(0)).join(", ");
    console.log(`  ${printer.name.padEnd(8)}${median(found).toFixed(0).padStart(6)} MB/s (${all})`);
    const since = new Date(Date.now() + 1000).toISOString();
    for (const args of [["--tail", "10"], ["--since", since]]) {
      const reads: number[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        reads.push(await timed(() => printer.command(["logs", ...args, name])));
      }
      console.log(`          logs ${args[0]?.padEnd(8)}${median(reads).toFixed(0).padStart(7)} ms`);
    }
    await printer.command(["rm", "-f", name]);
  }
  console.log("  (goal: 300 MB/s without losing a line, and above podman)");
  await Deno.remove(source, { recursive: true });
}

/** Milliseconds until the container has ended; or why it has not run. Detached and waited for: nobody else reads along. */
async function timePrinting(printer: Printer, name: string, args: string[]): Promise<number | string> {
  let problem: string | undefined;
  const ms = await timed(async () => {
    const { code, stderr } = await printer.run(["-d", "--name", name, ...args]);
    if (code !== 0) problem = lastLine(stderr);
    else await printer.command(["wait", name]);
  });
  return problem ?? ms;
}

function writeLines(path: string): { lines: number; bytes: number } {
  const level = ["INFO", "WARN", "DEBUG"];
  let block = "";
  let lines = 0;
  while (block.length < 1_000_000) {
    block += `2026-01-02T03:04:05.${String(lines % 1e6).padStart(6, "0")}Z ${
      level[lines % 3]
    } server: request ${lines} from 10.0.${lines % 256}.7 took ${lines % 977} ms (GET /api/v1/items)\n`;
    lines++;
  }
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  const bytes = new TextEncoder().encode(block);
  for (let i = 0; i < FILE_MEGABYTES; i++) file.writeSync(bytes);
  return { lines: lines * FILE_MEGABYTES, bytes: bytes.length * FILE_MEGABYTES };
}

/** Lines of a file that may be the engine's alone. podman's marks the parts of a line that it has split (P) and their ends (F). */
async function countLines(path: string): Promise<number> {
  const mark = path.endsWith("-json.log") ? "" : " F ";
  const { stdout } = await new Deno.Command("grep", { args: ["-cF", "--", mark, path], env: { LC_ALL: "C" } })
    .output();
  return Number(/^\s*(\d+)/.exec(new TextDecoder().decode(stdout))?.[1] ?? Number.NaN);
}
