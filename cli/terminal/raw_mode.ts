/** The terminal while a container owns it. */

/**
 * Puts the terminal of standard input into raw mode until disposed.
 *
 * Deno's setRaw leaves output processing on, which would turn the bare line feeds of a full-screen program into carriage
 * return and line feed; stty turns it off. setRaw(false) restores the mode from before, output processing included.
 */
export class RawMode implements Disposable {
  #active = false;

  constructor() {
    if (!Deno.stdin.isTerminal()) return;
    Deno.stdin.setRaw(true);
    this.#active = true;
    try {
      new Deno.Command("stty", { args: ["-opost"], stdin: "inherit", stdout: "null", stderr: "null" })
        .outputSync();
    } catch {
      // No stty: only cursor movements by bare line feeds suffer.
    }
  }

  [Symbol.dispose](): void {
    if (!this.#active) return;
    this.#active = false;
    Deno.stdin.setRaw(false);
  }
}

/** Size of the terminal of standard output, [0, 0] when there is none; [rows, columns] as the API's ConsoleSize. */
export function consoleSize(): [number, number] {
  if (!Deno.stdout.isTerminal()) return [0, 0];
  try {
    const { rows, columns } = Deno.consoleSize();
    return [rows, columns];
  } catch {
    return [0, 0];
  }
}
