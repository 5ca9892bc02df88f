const GROWING = 0, COMPLETE = 1, FAILED = 2;

/** A reader looks again after so long, even when nobody has woken it. */
const LOOK_AGAIN_MS = 500;

/**
 * How far a file is that one thread writes while others read it: a download that is unpacked as it comes. The writer
 * says how many bytes there are, readers sleep until there are more. Crosses threads as its {@link Growth.shared}.
 */
export class Growth {
  /** 64 bits available, 64 bits consumed, 32 bits state, 32 bits that change with every news. */
  readonly shared: SharedArrayBuffer;
  readonly #counts: BigInt64Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(24)) {
    this.shared = shared;
    this.#counts = new BigInt64Array(shared, 0, 2);
    this.#words = new Int32Array(shared, 16, 2);
  }

  /** Bytes that may be read. */
  get available(): number {
    return Number(Atomics.load(this.#counts, 0));
  }

  /** Bytes that the foremost reader has read. */
  get consumed(): number {
    return Number(Atomics.load(this.#counts, 1));
  }

  get failed(): boolean {
    return Atomics.load(this.#words, 0) === FAILED;
  }

  grow(available: number): void {
    Atomics.store(this.#counts, 0, BigInt(available));
    this.#wake();
  }

  /** No more bytes will come; with `ok` false the readers give up. */
  end(ok: boolean): void {
    Atomics.store(this.#words, 0, ok ? COMPLETE : FAILED);
    this.#wake();
  }

  /** Lets readers look around: their job may have been called off. */
  #wake(): void {
    Atomics.add(this.#words, 1, 1);
    Atomics.notify(this.#words, 1);
  }

  tookUpTo(position: number): void {
    if (position > this.consumed) Atomics.store(this.#counts, 1, BigInt(position));
  }

  /**
   * Blocks the thread until there are bytes behind `position`.
   *
   * @param stopped asked now and then.
   * @returns how many; 0 at the end of the file, -1 when the writer has failed or the reader is to stop.
   */
  wait(position: number, stopped: () => boolean): number {
    for (;;) {
      const news = Atomics.load(this.#words, 1);
      const state = Atomics.load(this.#words, 0);
      if (state === FAILED || stopped()) return -1;
      const more = this.available - position;
      if (more > 0) return more;
      if (state !== GROWING) return 0;
      Atomics.wait(this.#words, 1, news, LOOK_AGAIN_MS);
    }
  }
}

/** A file that may still be written, with the count of its bytes. */
export interface GrowingFile {
  /** Where it lies now: it is renamed when it is whole. */
  path(): string;
  readonly growth: Growth;
}
