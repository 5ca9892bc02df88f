import { type ClientStream } from "../../engine/types.ts";
import { type BodyReader } from "./body.ts";
import { type ByteSource, type RawConn } from "./byte_source.ts";

const RAW_BLOCK = 64 * 1024;

/** Writes all of `bytes`; one call at a time. */
export async function writeAll(conn: RawConn, bytes: Uint8Array): Promise<void> {
  let written = await conn.write(bytes);
  while (written < bytes.length) written += await conn.write(bytes.subarray(written));
}

/** A connection that a handler has taken over: bytes as they are, both directions, each with its own end. */
export class RawStream implements ClientStream {
  readonly input: AsyncIterable<Uint8Array>;
  readonly #conn: RawConn;
  readonly #onClose: () => void;
  #writing: Promise<void> | undefined;

  /** `rest`: a chunked request body that is (all of) the input. */
  constructor(conn: RawConn, source: ByteSource, rest: BodyReader | undefined, onClose: () => void) {
    this.#conn = conn;
    this.#onClose = onClose;
    this.input = rest === undefined ? rawInput(source) : bodyInput(rest);
  }

  /** Writes whole pieces in the order of the calls. Rejects when the client is gone. */
  write(data: Uint8Array): Promise<void> {
    const before = this.#writing;
    const mine: Promise<void> =
      (before === undefined ? writeAll(this.#conn, data) : before.then(() => writeAll(this.#conn, data)))
        .finally(() => {
          if (this.#writing === mine) this.#writing = undefined;
        });
    return this.#writing = mine;
  }

  async closeWrite(): Promise<void> {
    try {
      await this.#writing;
      await this.#conn.closeWrite();
    } catch {
      // Whoever has gone altogether needs no half-close.
    }
  }

  /** Resolves when everything that was to be written is out, or failed. */
  async settled(): Promise<void> {
    await this.#writing?.catch(() => {});
  }

  close(): void {
    this.#onClose();
  }
}

async function* rawInput(source: ByteSource): AsyncGenerator<Uint8Array> {
  do {
    if (source.length > 0) yield source.take(RAW_BLOCK);
  } while (source.length > 0 || await source.fill(RAW_BLOCK));
}

async function* bodyInput(body: BodyReader): AsyncGenerator<Uint8Array> {
  try {
    for (let bytes = await body.pull(); bytes !== undefined; bytes = await body.pull()) yield bytes;
  } catch {
    // A broken body ends the input just as a broken connection does.
  }
}
