/**
 * The stream of a container without a terminal: frames of [stream, 0, 0, 0, length as 32 bits big-endian] and payload.
 * Stream 1 is standard output, 2 standard error, 0 standard input (an echo of it), 3 an error of the engine.
 */

const HEADER = 8;

export interface DemuxSinks {
  stdout(bytes: Uint8Array): Promise<void>;
  stderr(bytes: Uint8Array): Promise<void>;
}

/** Takes a framed stream in pieces of any size and passes payloads on as they come. */
export class Demultiplexer {
  readonly #sinks: DemuxSinks;
  readonly #header = new Uint8Array(HEADER);
  #headerLength = 0;
  #left = 0;
  #error = "";

  constructor(sinks: DemuxSinks) {
    this.#sinks = sinks;
  }

  /**
   * Payloads that follow each other on one stream are passed on together: a log has a frame for each line, and a write for each costs more than all the rest.
   *
   * @throws {Error} when the stream is not framed, or when the engine reports an error in it.
   */
  async push(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    // what is gathered, and for which stream
    let gathered: Uint8Array | undefined;
    let length = 0;
    let stream = 0;
    const flush = async () => {
      if (gathered === undefined || length === 0) return;
      const whole = gathered.subarray(0, length);
      gathered = gathered.subarray(length);
      length = 0;
      await this.#pass(stream, whole);
    };
    while (rest.length > 0) {
      if (this.#left === 0) {
        const taken = rest.subarray(0, HEADER - this.#headerLength);
        this.#header.set(taken, this.#headerLength);
        this.#headerLength += taken.length;
        rest = rest.subarray(taken.length);
        if (this.#headerLength < HEADER) break;
        this.#headerLength = 0;
        this.#left = new DataView(this.#header.buffer).getUint32(4);
        const next = this.#header[0] ?? 0;
        if (next !== stream) await flush();
        stream = next;
        if (next > 3) throw new Error(`unrecognized stream: ${next}`);
        continue;
      }
      stream = this.#header[0] ?? 0;
      const payload = rest.subarray(0, this.#left);
      rest = rest.subarray(payload.length);
      this.#left -= payload.length;
      if (stream === 3) {
        this.#fail(payload);
      } else if (length === 0 && rest.length === 0) {
        await this.#pass(stream, payload);
      } else {
        gathered ??= new Uint8Array(bytes.length);
        gathered.set(payload, length);
        length += payload.length;
      }
    }
    await flush();
  }

  #pass(stream: number, payload: Uint8Array): Promise<void> {
    return stream === 2 ? this.#sinks.stderr(payload) : this.#sinks.stdout(payload);
  }

  #fail(payload: Uint8Array): void {
    this.#error += new TextDecoder().decode(payload);
    if (this.#left === 0) throw new Error(`error from daemon in stream: ${this.#error}`);
  }
}
