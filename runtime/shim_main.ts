/** Role `@shim`: argument is a ShimOptions as JSON. Writes "ready" to stdout once it can be spoken to. */
import { O_APPEND, O_CREAT, O_RDWR, O_WRONLY, PR_SET_CHILD_SUBREAPER } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import { kernel } from "../ffi/kernel.ts";
import { SIGHUP, SIGINT, SIGPIPE, SIGTERM } from "../ffi/signals.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { readText, writeProc } from "./files.ts";
import type { ShimMessage } from "./protocol.ts";
import { Shim } from "./shim.ts";
import type { ShimOptions } from "./spec.ts";

/**
 * A process that has served one container can serve another, which saves the boot of a new one. Not without end: whatever
 * might pile up in it goes with it.
 */
const MAX_LIVES = 100;

function main(options: ShimOptions): void {
  // Only the engine's orders end it: not a logout, not a Ctrl-C meant for the engine.
  kernel.ignoreSignals([SIGHUP, SIGINT, SIGTERM, SIGPIPE]);
  kernel.chdir("/");
  kernel.umask(0o022);
  kernel.prctl(PR_SET_CHILD_SUBREAPER, 1);
  openLog(options.dir);
  const oomScoreAdj = protectFromOom(kernel);
  let { dir } = options;
  let engine: number | undefined = kernel.dupCloexec(1);
  let word = "ready\n";
  for (let life = 1;; life++) {
    const shim = new Shim(kernel, { ...options, dir }, oomScoreAdj);
    if (engine !== undefined) {
      shim.watchStarter(engine);
      tell(engine, word);
    }
    if (life === 1) {
      closeStdio();
      shim.rehearseSoon();
    }
    shim.run();
    engine = shim.release();
    const { again } = shim;
    if (again === undefined || engine === undefined || life === MAX_LIVES) return;
    dir = again;
    openLog(dir);
    word = `${JSON.stringify({ event: "ready" } satisfies ShimMessage)}\n`;
  }
}

/** stderr is the shim's own log. */
function openLog(dir: string): void {
  const log = kernel.open(`${dir}/shim.log`, O_WRONLY | O_CREAT | O_APPEND, 0o600);
  kernel.dup2(log, 2);
  kernel.close(log);
}

function tell(engine: number, word: string): void {
  try {
    kernel.write(engine, new TextEncoder().encode(word));
  } catch (error) {
    // EPIPE: the engine is gone already, which the watch on the pipe finds out.
    if (!(error instanceof SysError)) throw error;
  }
}

function closeStdio(): void {
  const nothing = kernel.open("/dev/null", O_RDWR);
  kernel.dup2(nothing, 0);
  kernel.dup2(nothing, 1);
  kernel.close(nothing);
}

/**
 * Makes the kernel prefer any other process when memory is short, if that is permitted. Answers the value that the container's
 * processes are to have: the engine's.
 */
function protectFromOom(kernel: Syscalls): number {
  const path = "/proc/self/oom_score_adj";
  const inherited = Number(readText(kernel, path) ?? "0");
  try {
    writeProc(kernel, path, "-500");
  } catch (error) {
    if (!(error instanceof SysError && error.is("EACCES", "EPERM"))) throw error;
  }
  return inherited;
}

main(JSON.parse(Deno.args[1] ?? "{}") as ShimOptions);
Deno.exit(0);
