/** How long the collector may keep others from the main thread, milliseconds. A step is short against it. */
const SLICE_MS = 3;

export interface SlicesOptions {
  readonly sliceMs?: number;
  /** Milliseconds; for tests. */
  readonly now?: () => number;
  /** Lets everybody else have the thread; for tests. */
  readonly pause?: () => Promise<void>;
  readonly onError?: (error: unknown) => void;
}

/**
 * Work in the background that has the main thread for a few milliseconds at a time. Each step of `steps` leaves
 * everything consistent: between two of them anything may happen, `kill -9` included.
 */
export class Slices {
  readonly #steps: () => Iterator<void>;
  readonly #options: Required<SlicesOptions>;
  #running: Promise<void> = Promise.resolve();
  #active = false;
  #again = false;

  /** @param steps begins one round. */
  constructor(steps: () => Iterator<void>, options: SlicesOptions = {}) {
    this.#steps = steps;
    this.#options = {
      sliceMs: SLICE_MS,
      now: () => performance.now(),
      pause: () => new Promise((resolve) => setTimeout(resolve, 0)),
      onError: () => {},
      ...options,
    };
  }

  /** Has a whole round made from now on. Its first slice is over when this returns: most rounds need no other. */
  request(): void {
    this.#again = true;
    if (!this.#active) this.#running = this.#run();
  }

  /** Resolves when everything that was requested is done; never rejects. */
  async idle(): Promise<void> {
    while (this.#active) await this.#running;
  }

  async #run(): Promise<void> {
    const { sliceMs, now, pause, onError } = this.#options;
    this.#active = true;
    let begun = now();
    while (this.#again) {
      this.#again = false;
      try {
        for (const round = this.#steps(); round.next().done !== true;) {
          if (now() - begun < sliceMs) continue;
          await pause();
          begun = now();
        }
      } catch (error) {
        onError(error);
      }
    }
    // before the promise tells: a request between the two would be lost
    this.#active = false;
  }
}
