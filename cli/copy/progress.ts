import { humanSizeShort } from "../output/units.ts";
import { printError } from "../stdio.ts";

/** How often the line is written anew. */
const INTERVAL_MS = 500;

/** What `cp` says on standard error: how much has gone over so far, on a terminal, and in the end how much it was. */
export class CopyProgress {
  readonly #header: string;
  readonly #quiet: boolean;
  readonly #live: boolean;
  #bytes = 0;
  #last = 0;

  constructor(header: string, quiet: boolean) {
    this.#header = header;
    this.#quiet = quiet;
    this.#live = !quiet && Deno.stderr.isTerminal();
  }

  async *count(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const chunk of chunks) {
        this.#bytes += chunk.length;
        this.#show();
        yield chunk;
      }
    } finally {
      if (this.#live) write("\r\x1b[2K");
    }
  }

  #show(): void {
    const now = performance.now();
    if (!this.#live || now - this.#last < INTERVAL_MS) return;
    this.#last = now;
    write(`\r\x1b[2K${this.#header}${humanSizeShort(this.#bytes)}`);
  }

  finish(destination: string): void {
    if (!this.#quiet) printError(`Successfully copied ${humanSizeShort(this.#bytes)} to ${destination}`);
  }
}

function write(text: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  } catch {
    // Nobody reads it.
  }
}
