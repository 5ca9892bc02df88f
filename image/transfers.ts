import { unlessAborted } from "../base/deadline.ts";

/** How far a piece of work is, for those who wait for it. */
export type Report<P> = (progress: P) => void;

interface Run<T, P> {
  readonly done: Promise<T>;
  readonly give: AbortController;
  readonly listeners: Set<Report<P>>;
  last: P | undefined;
}

/**
 * Work that several callers may want at the same time and that is done once: the download of a blob that two pulls
 * need. It is called off when the last caller has gone.
 */
export class SharedTransfers<T, P> {
  readonly #runs = new Map<string, Run<T, P>>();

  /**
   * Starts the work of that name, or joins it.
   *
   * @param report hears the latest progress first.
   * @throws the work's error, or `signal`'s reason.
   */
  async join(
    key: string,
    work: (report: Report<P>, signal: AbortSignal) => Promise<T>,
    report: Report<P>,
    signal: AbortSignal,
  ): Promise<T> {
    signal.throwIfAborted();
    let run = this.#runs.get(key);
    while (run?.give.signal.aborted) {
      // called off but not yet gone
      await run.done.catch(() => {});
      signal.throwIfAborted();
      run = this.#runs.get(key);
    }
    run ??= this.#start(key, work);
    const { done, give, listeners } = run;
    const listener: Report<P> = (progress) => report(progress);
    listeners.add(listener);
    if (run.last !== undefined) report(run.last);
    try {
      return await unlessAborted(done, signal);
    } catch (error) {
      if (signal.aborted && listeners.size === 1) {
        give.abort(signal.reason);
        // what it has made is removed before the caller goes on
        await done.catch(() => {});
      }
      throw error;
    } finally {
      listeners.delete(listener);
    }
  }

  #start(key: string, work: (report: Report<P>, signal: AbortSignal) => Promise<T>): Run<T, P> {
    const give = new AbortController();
    const listeners = new Set<Report<P>>();
    const report: Report<P> = (progress) => {
      run.last = progress;
      for (const listener of listeners) listener(progress);
    };
    const started = Promise.withResolvers<void>();
    const done = started.promise.then(() => work(report, give.signal)).finally(() => this.#runs.delete(key));
    done.catch(() => {});
    const run: Run<T, P> = { done, give, listeners, last: undefined };
    this.#runs.set(key, run);
    started.resolve();
    return run;
  }
}

/** At most so many at a time; others wait in the order they came. */
export class Slots {
  #held = 0;
  readonly #count: () => number;
  readonly #waiting: (() => void)[] = [];

  /** @param count asked for again whenever a slot is wanted or given back: a reload may change it. */
  constructor(count: () => number) {
    this.#count = count;
  }

  /**
   * @param onWait called when there is no free slot.
   * @returns to be disposed of when the work is done.
   */
  async take(signal: AbortSignal, onWait?: () => void): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#held < this.#count()) this.#held++;
    else {
      onWait?.();
      await this.#wait(signal);
    }
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.#release();
        held = false;
      },
    };
  }

  #release(): void {
    this.#held--;
    for (let next; this.#held < this.#count() && (next = this.#waiting.shift()); next()) this.#held++;
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(signal.reason);
      };
      const go = () => {
        signal.removeEventListener("abort", giveUp);
        resolve();
      };
      signal.addEventListener("abort", giveUp);
      this.#waiting.push(go);
    });
  }
}
