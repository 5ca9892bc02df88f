/** A piece of a zstd frame; `end` stands behind its last byte. */
export type ZstdPiece =
  | { readonly kind: "data"; readonly chunk: Uint8Array }
  | { readonly kind: "end" };

const FRAME_MAGIC = 0xfd2fb528;
/** Skippable frames have any of 16 numbers: 0x184D2A50…5F. */
const SKIPPABLE_MAGIC = 0x184d2a50;

/**
 * Cuts a zstd stream into its frames without decoding them (RFC 8878, section 3.1), leaving skippable frames out: the
 * decoder of zlib stops after the first frame, and pzstd, `zstd -T` and container layers (zstd:chunked) have several.
 */
export class ZstdFrames {
  #held = new Uint8Array(32);
  #heldLength = 0;
  #need = 4;
  #state: "magic" | "skippable-size" | "descriptor" | "header" | "block-header" | "copy" | "skip" = "magic";
  /** Bytes still to be copied or skipped, and what follows. */
  #left = 0;
  #after: "block-header" | "checksum" | "frame-end" | "magic" = "magic";
  #lastBlock = false;
  #checksum = false;
  #headerRest = 0;
  /** The bytes that come belong to a frame, not to a skippable one. */
  #inFrame = false;

  *feed(chunk: Uint8Array): Generator<ZstdPiece, void, undefined> {
    let at = 0;
    // first byte of this chunk that belongs to the frame and was not handed out
    let start = 0;
    while (at < chunk.length) {
      if (this.#state === "copy" || this.#state === "skip") {
        const step = Math.min(this.#left, chunk.length - at);
        at += step;
        this.#left -= step;
        if (this.#left > 0) continue;
      } else {
        const step = Math.min(this.#need - this.#heldLength, chunk.length - at);
        this.#held.set(chunk.subarray(at, at + step), this.#heldLength);
        at += step;
        this.#heldLength += step;
        if (this.#heldLength < this.#need) continue;
        const bytes = this.#held.slice(0, this.#need);
        this.#heldLength = 0;
        // a magic number may begin in the chunk before, where nobody knew yet whether it is a frame's
        const magic = this.#state === "magic";
        this.#parse(bytes);
        if (magic) {
          start = at;
          if (this.#inFrame) yield { kind: "data", chunk: bytes };
        }
        if (!this.#exhausted()) continue;
      }
      if (!this.#advance()) continue;
      if (at > start) yield { kind: "data", chunk: chunk.subarray(start, at) };
      start = at;
      yield { kind: "end" };
    }
    if (this.#inFrame && at > start) yield { kind: "data", chunk: chunk.subarray(start, at) };
  }

  /** A run of no bytes: an empty block. */
  #exhausted(): boolean {
    return this.#state === "copy" && this.#left === 0;
  }

  /** @throws {Error} when the stream ended inside a frame. */
  finish(): void {
    if (this.#state !== "magic" || this.#heldLength > 0) {
      throw new Error("truncated zstd stream: unexpected EOF");
    }
  }

  /** Takes one piece of structure. */
  #parse(bytes: Uint8Array<ArrayBuffer>): void {
    const view = new DataView(bytes.buffer);
    switch (this.#state) {
      case "magic": {
        const magic = view.getUint32(0, true);
        if (((magic & 0xfffffff0) >>> 0) === SKIPPABLE_MAGIC) {
          this.#state = "skippable-size";
          this.#need = 4;
          return;
        }
        if (magic !== FRAME_MAGIC) throw new Error("invalid zstd stream: bad magic number");
        this.#state = "descriptor";
        this.#need = 1;
        this.#inFrame = true;
        return;
      }
      case "skippable-size":
        this.#left = view.getUint32(0, true);
        this.#after = "magic";
        this.#state = "skip";
        if (this.#left === 0) this.#advance();
        return;
      case "descriptor": {
        const descriptor = bytes[0] ?? 0;
        const single = (descriptor & 0x20) !== 0;
        const contentSize = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
        const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0;
        this.#checksum = (descriptor & 4) !== 0;
        this.#headerRest = (single ? 0 : 1) + dictionary + contentSize;
        this.#state = this.#headerRest === 0 ? "block-header" : "header";
        this.#need = this.#headerRest === 0 ? 3 : this.#headerRest;
        return;
      }
      case "header":
        this.#state = "block-header";
        this.#need = 3;
        return;
      default: {
        const header = (bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8) | ((bytes[2] ?? 0) << 16);
        const type = (header >> 1) & 3;
        if (type === 3) throw new Error("invalid zstd stream: reserved block type");
        this.#lastBlock = (header & 1) !== 0;
        // a run-length block holds one byte, whatever its size
        this.#left = type === 1 ? 1 : header >>> 3;
        this.#after = !this.#lastBlock ? "block-header" : this.#checksum ? "checksum" : "frame-end";
        this.#state = "copy";
        return;
      }
    }
  }

  /** Goes on after a run of bytes; true when that was the end of a frame. */
  #advance(): boolean {
    switch (this.#after) {
      case "block-header":
        this.#state = "block-header";
        this.#need = 3;
        return false;
      case "checksum":
        this.#state = "copy";
        this.#left = 4;
        this.#after = "frame-end";
        return false;
      case "frame-end":
      case "magic":
        this.#state = "magic";
        this.#need = 4;
        this.#inFrame = false;
        return this.#after === "frame-end";
    }
  }
}
