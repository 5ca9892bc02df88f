/** Commands that do the same to several containers or images. */

import { CliError, describeError } from "../errors.ts";
import { printError, printLine } from "../stdio.ts";

/**
 * Does `action` for all names at once and prints each result in the order given; a failure is reported and the others
 * go on. Throws at the end (exit code 1, nothing more to print) when any has failed.
 *
 * @param action returns the line to print; undefined prints nothing.
 */
export async function forEach(
  names: readonly string[],
  action: (name: string) => Promise<string | undefined>,
): Promise<void> {
  let failed = false;
  const running = names.map((name) =>
    action(name).then((line) => ({ line }), (error: unknown) => ({ error }))
  );
  for (const outcome of running) {
    const result = await outcome;
    if ("error" in result) {
      if (result.error instanceof CliError && result.error.message === "") throw result.error;
      failed = true;
      printError(describeError(result.error));
    } else if (result.line !== undefined) {
      printLine(result.line);
    }
  }
  if (failed) throw new CliError("");
}
