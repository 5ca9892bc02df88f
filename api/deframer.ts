const HEAD_BYTES = 8;

/** Takes the heads out of Docker's multiplexed stream, however it is cut; what is left of a cut is kept for the next piece. */
export class Deframer {
  #head = new Uint8Array(HEAD_BYTES);
  #headLength = 0;
  /** Bytes of the frame that are still to come. */
  #left = 0;

  /** The data of the frames in `bytes`, in order, as views. */
  *push(bytes: Uint8Array): Generator<Uint8Array> {
    let at = 0;
    while (at < bytes.length) {
      if (this.#left > 0) {
        const end = Math.min(bytes.length, at + this.#left);
        yield bytes.subarray(at, end);
        this.#left -= end - at;
        at = end;
        continue;
      }
      const taken = bytes.subarray(at, at + HEAD_BYTES - this.#headLength);
      this.#head.set(taken, this.#headLength);
      this.#headLength += taken.length;
      at += taken.length;
      if (this.#headLength < HEAD_BYTES) return;
      this.#left = new DataView(this.#head.buffer).getUint32(4);
      this.#headLength = 0;
    }
  }
}
