import { type ByteSource } from "./byte_source.ts";
import { type Framing, HttpError, MAX_AHEAD_BYTES, parseHeaderLine } from "./head.ts";

/** Read size of a large body: measured, larger ones gain nothing. */
const LARGE_BLOCK = 128 * 1024;
/** Longest chunk-size line, extensions included. */
const MAX_CHUNK_LINE = 4 * 1024;
/** Size in hex; 13 digits stay below 2^53. Extensions mean nothing to us, but must be printable. */
const CHUNK_SIZE = /^([0-9a-fA-F]{1,13})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;
const latin1 = new TextDecoder("latin1");

/** The client went away in the middle of a body. */
export class BodyInterrupted extends Error {
  override readonly name = "BodyInterrupted";
  constructor() {
    super("unexpected EOF");
  }
}

/** One request's body, unframed; bytes are read only when somebody pulls. */
export class BodyReader {
  readonly #source: ByteSource;
  readonly #chunked: boolean;
  /** Called once, before the first byte is waited for: sends 100 Continue. */
  #onFirstPull: (() => Promise<void>) | undefined;
  readonly #onEnd: () => void;
  /** Bytes left of the body, or of the current chunk. */
  #left: number;
  /** The CRLF that ends the current chunk's data is still to come. */
  #inChunk = false;
  #done: boolean;
  #unusable = false;

  constructor(
    source: ByteSource,
    framing: Framing,
    onFirstPull: (() => Promise<void>) | undefined,
    onEnd: () => void,
  ) {
    this.#source = source;
    this.#chunked = framing.kind === "chunked";
    this.#left = framing.kind === "length" ? framing.length : 0;
    this.#done = framing.kind === "none";
    this.#onFirstPull = onFirstPull;
    this.#onEnd = onEnd;
  }

  /** Everything was read: what follows in the source is the next request (or raw bytes). */
  get done(): boolean {
    return this.#done;
  }

  get chunked(): boolean {
    return this.#chunked;
  }

  /** The client waits for 100 Continue, which it was not sent. */
  get unasked(): boolean {
    return !this.#done && this.#onFirstPull !== undefined;
  }

  /** Somebody is waiting for a piece right now, or the framing broke: nobody else can find the body's end. */
  get unusable(): boolean {
    return this.#unusable;
  }

  /** Bytes still to come where they are known. */
  get left(): number | undefined {
    return this.#chunked ? undefined : this.#left;
  }

  /**
   * The next piece of the body, undefined at its end. The bytes belong to the caller.
   *
   * @throws HttpError 400 for bad chunk framing, BodyInterrupted when the client goes away.
   */
  async pull(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (this.#done) return undefined;
    this.#unusable = true;
    const bytes = await this.#pull();
    this.#unusable = false;
    return bytes;
  }

  async #pull(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (this.#onFirstPull !== undefined) {
      const send = this.#onFirstPull;
      this.#onFirstPull = undefined;
      if (this.#source.length === 0) await send();
    }
    if (this.#chunked && this.#left === 0 && !(await this.#nextChunk())) return undefined;
    while (this.#source.length === 0) {
      if (!await this.#source.fill(this.#left < LARGE_BLOCK && !this.#chunked ? undefined : LARGE_BLOCK)) {
        throw new BodyInterrupted();
      }
    }
    const bytes = this.#source.take(this.#left);
    this.#left -= bytes.length;
    if (this.#left === 0 && !this.#chunked) this.#end();
    return bytes;
  }

  /** All of a body that has come together with its head, as small ones do; undefined when it has to be waited for. */
  takeWhole(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#done || this.#chunked || this.#source.length < this.#left) return undefined;
    const bytes = this.#source.take(this.#left);
    this.#left = 0;
    this.#end();
    return bytes;
  }

  /** Reads on and throws away, but no more than `limit` bytes. True when the end was reached. */
  async drain(limit: number): Promise<boolean> {
    let seen = 0;
    while (seen <= limit) {
      const bytes = await this.pull();
      if (bytes === undefined) return true;
      seen += bytes.length;
    }
    return this.#done;
  }

  /** The body as a stream that reads no further ahead than its consumer. */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new ReadableStream({
      pull: async (controller) => {
        const bytes = await this.pull();
        if (bytes === undefined) controller.close();
        else controller.enqueue(bytes);
      },
    }, { highWaterMark: 0 });
  }

  #end(): void {
    this.#done = true;
    this.#onEnd();
  }

  /** False after the last chunk and its trailers. */
  async #nextChunk(): Promise<boolean> {
    if (this.#inChunk && await this.#line(2) !== "") throw new HttpError(400, "malformed chunked encoding");
    const match = CHUNK_SIZE.exec(await this.#line(MAX_CHUNK_LINE));
    if (match === null) throw new HttpError(400, "malformed chunked encoding");
    this.#left = parseInt(match[1] ?? "", 16);
    this.#inChunk = true;
    if (this.#left > 0) return true;
    let budget = MAX_AHEAD_BYTES;
    for (;;) {
      const trailer = await this.#line(budget);
      if (trailer === "") break;
      parseHeaderLine(trailer);
      budget -= trailer.length;
    }
    this.#end();
    return false;
  }

  /** One line without its CRLF; a bare CR or LF is refused. */
  async #line(limit: number): Promise<string> {
    let searched = 0;
    for (;;) {
      const bytes = this.#source.buffered;
      const end = bytes.indexOf(10, searched);
      if (end >= 0 && end <= limit) {
        const line = latin1.decode(bytes.subarray(0, end));
        if (line.indexOf("\r") !== end - 1 || end === 0) {
          throw new HttpError(400, "malformed chunked encoding");
        }
        this.#source.skip(end + 1);
        return line.slice(0, -1);
      }
      searched = bytes.length;
      if (searched > limit) throw new HttpError(400, "malformed chunked encoding");
      if (!await this.#source.fill(LARGE_BLOCK)) throw new BodyInterrupted();
    }
  }
}
