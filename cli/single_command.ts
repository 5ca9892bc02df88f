/**
 * The command line when its first word is known to be a certain command: what a self-extracting file starts for the
 * commands in single/. Nothing of the others is read, which spares `berth run` a quarter of its own time.
 */

import { type Command, openSession } from "./command.ts";
import { chosenEndpoint } from "./endpoint.ts";
import { report } from "./report.ts";

/** Runs `name ARGS…` as runCli() would, and ends the process. */
export async function runSingleCommand(name: string, command: Command): Promise<void> {
  let result: number | "help";
  try {
    using session = openSession(chosenEndpoint([]), false);
    result = await command.invoke(name, Deno.args.slice(1), session);
  } catch (error) {
    result = report(error, false);
  }
  // Only the whole command line has the texts; nothing has been done yet.
  if (result === "help") await import("./main.ts");
  else Deno.exit(result);
}
