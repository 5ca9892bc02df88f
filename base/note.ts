/** Writes a line with the time to this process's standard error, its log, which may be full or gone. */
export function note(message: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(`${new Date().toISOString()} ${message}\n`));
  } catch {
    // there is nowhere else to say it
  }
}
