/** Runs another program in this one's place: with its standard streams, and its exit code. */

/** A shell's exit code for a program that was ended by a signal; the signal's number is added. */
const SIGNAL_EXIT = 128;

/** @throws {Deno.errors.NotFound} there is no such program. */
export async function runInFront(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  const child = new Deno.Command(program, {
    args: [...args],
    env: { ...env },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  // The terminal sends these to the program as well; it decides.
  const ignore = () => {};
  const typed = ["SIGINT", "SIGQUIT"] as const;
  const forward = () => {
    try {
      child.kill("SIGTERM");
    } catch {
      // It has ended by itself.
    }
  };
  for (const signal of typed) Deno.addSignalListener(signal, ignore);
  Deno.addSignalListener("SIGTERM", forward);
  try {
    const { code, signal } = await child.status;
    return signal === null ? code : code > SIGNAL_EXIT ? code : SIGNAL_EXIT;
  } finally {
    for (const signal of typed) Deno.removeSignalListener(signal, ignore);
    Deno.removeSignalListener("SIGTERM", forward);
  }
}
