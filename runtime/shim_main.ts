/** Role `@shim`: argument is a ShimOptions as JSON. Writes "ready" to stdout once it can be spoken to. */
import { kernel } from "../ffi/kernel.ts";
import { SysError } from "../ffi/errno.ts";
import { O_APPEND, O_CREAT, O_RDWR, O_WRONLY } from "../ffi/constants.ts";
import { SIGHUP, SIGINT, SIGPIPE, SIGTERM } from "../ffi/signals.ts";
import { Shim } from "./shim.ts";
import type { ShimOptions } from "./spec.ts";

function main(options: ShimOptions): void {
  // Only the engine's orders end it: not a logout, not a Ctrl-C meant for the engine.
  kernel.ignoreSignals([SIGHUP, SIGINT, SIGTERM, SIGPIPE]);
  kernel.chdir("/");
  kernel.umask(0o022);
  const log = kernel.open(`${options.dir}/shim.log`, O_WRONLY | O_CREAT | O_APPEND, 0o600);
  kernel.dup2(log, 2);
  kernel.close(log);
  const shim = new Shim(kernel, options);
  shim.watchStarter(kernel.dupCloexec(1));
  try {
    kernel.write(1, new TextEncoder().encode("ready\n"));
  } catch (error) {
    // EPIPE: the engine is gone already, which the watch on the pipe finds out.
    if (!(error instanceof SysError)) throw error;
  }
  const nothing = kernel.open("/dev/null", O_RDWR);
  kernel.dup2(nothing, 0);
  kernel.dup2(nothing, 1);
  kernel.close(nothing);
  shim.run();
}

main(JSON.parse(Deno.args[1] ?? "{}") as ShimOptions);
Deno.exit(0);
