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

  /** Throws when the stream is not framed, or when the engine reports an error in it. */
  async push(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#left === 0) {
        const taken = rest.subarray(0, HEADER - this.#headerLength);
        this.#header.set(taken, this.#headerLength);
        this.#headerLength += taken.length;
        rest = rest.subarray(taken.length);
        if (this.#headerLength < HEADER) return;
        this.#headerLength = 0;
        this.#left = new DataView(this.#header.buffer).getUint32(4);
        if ((this.#header[0] ?? 0) > 3) throw new Error(`unrecognized stream: ${this.#header[0]}`);
        continue;
      }
      const payload = rest.subarray(0, this.#left);
      rest = rest.subarray(payload.length);
      this.#left -= payload.length;
      await this.#pass(payload);
    }
  }

  async #pass(payload: Uint8Array): Promise<void> {
    switch (this.#header[0]) {
      case 2:
        return await this.#sinks.stderr(payload);
      case 3:
        this.#error += new TextDecoder().decode(payload);
        if (this.#left === 0) throw new Error(`error from daemon in stream: ${this.#error}`);
        return;
      default:
        return await this.#sinks.stdout(payload);
    }
  }
}
