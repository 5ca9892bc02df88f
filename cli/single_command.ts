/**
 * The command line when its first word is known to be a certain command: what a self-extracting file starts for the
 * commands in single/. Nothing of the others is read, which spares `berth run` a quarter of its own time.
 */

import { type Command, openSession } from "./command.ts";
import { parseFlags } from "./flags/parse.ts";
import { applyGlobalFlags, GLOBAL_FLAGS } from "./global_flags.ts";
import { report } from "./report.ts";

/** Runs `[--host HOST] name ARGS…` as runCli() would, and ends the process. */
export async function runSingleCommand(name: string, command: Command): Promise<void> {
  let result: number | "help";
  try {
    const globals = parseFlags(GLOBAL_FLAGS, Deno.args, { interspersed: false });
    applyGlobalFlags(globals.values);
    // Not disposed: the kernel closes all connections at once when the process ends.
    const session = openSession(globals, false);
    result = await command.invoke(name, globals.args.slice(1), session);
  } catch (error) {
    result = report(error, false);
  }
  // Only the whole command line has the texts; nothing has been done yet.
  if (result === "help") await import("./main.ts");
  else Deno.exit(result);
}
