import type { LogLine } from "./driver.ts";

/** A piece's place in the line that it belongs to, as drivers hand it on (moby: daemon/logger, PartialLogMetaData). */
export interface Piece {
  /** The line's own: 64 hexadecimal digits. */
  readonly id: string;
  /** From 1 on. */
  readonly ordinal: number;
  readonly last: boolean;
}

/** Numbers the pieces of lines that were longer than 16 KiB, stream by stream. As in Docker, what ends a stream without a newline is a piece. */
export class PartialLines {
  readonly #open = new Map<LogLine["stream"], { readonly id: string; ordinal: number }>();

  /** undefined for a line that came whole. Lines must come in their order. */
  next({ stream, partial }: LogLine): Piece | undefined {
    let line = this.#open.get(stream);
    if (line === undefined) {
      if (!partial) return undefined;
      line = { id: crypto.getRandomValues(new Uint8Array(32)).toHex(), ordinal: 0 };
      this.#open.set(stream, line);
    }
    if (!partial) this.#open.delete(stream);
    return { id: line.id, ordinal: ++line.ordinal, last: !partial };
  }
}
