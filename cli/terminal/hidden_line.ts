import { CliError } from "../errors.ts";

const INTERRUPT = 3, END = 4, BACKSPACE = 8, DELETE = 127;

/** Asks for a line on the terminal without showing it. @throws {CliError} after Ctrl-C. */
export function hiddenLine(question: string): string {
  const bytes: number[] = [];
  const space = new Uint8Array(256);
  Deno.stdin.setRaw(true);
  try {
    // Not before: whoever sees it may type, and would see that as well.
    Deno.stderr.writeSync(new TextEncoder().encode(question));
    for (;;) {
      const read = Deno.stdin.readSync(space);
      if (read === null) break;
      for (const byte of space.subarray(0, read)) {
        if (byte === 10 || byte === 13 || byte === END) {
          return new TextDecoder().decode(new Uint8Array(bytes));
        }
        if (byte === INTERRUPT) throw new CliError("", 130);
        if (byte === BACKSPACE || byte === DELETE) {
          // the whole of a character of several bytes
          while (((bytes.pop() ?? 0) & 0xc0) === 0x80);
        } else bytes.push(byte);
      }
    }
    return new TextDecoder().decode(new Uint8Array(bytes));
  } finally {
    Deno.stdin.setRaw(false);
    Deno.stderr.writeSync(new TextEncoder().encode("\n"));
  }
}
