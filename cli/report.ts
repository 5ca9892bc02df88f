/** How a command line that failed ends. */

import { CliError, describeError } from "./errors.ts";
import { FlagError } from "./flags/parse.ts";
import { printError } from "./stdio.ts";

const FLAG_ERROR_EXIT = 125;

/** Tells the user, and returns the exit code. */
export function report(error: unknown, debug: boolean): number {
  if (error instanceof FlagError) {
    printError(
      `${error.message}\n\nUsage:  berth [OPTIONS] COMMAND [ARG...]\n\nRun 'berth --help' for more information`,
    );
    return FLAG_ERROR_EXIT;
  }
  const message = describeError(error);
  if (message !== "") printError(message);
  if (debug && error instanceof Error && !(error instanceof CliError)) printError(error.stack ?? "");
  return error instanceof CliError ? error.exitCode : 1;
}
