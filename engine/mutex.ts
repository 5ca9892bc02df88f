/** Runs the given functions one after the other, in the order of the calls. A failure does not stop the next. */
export class Mutex {
  #tail: Promise<unknown> | undefined;

  /** True while a function runs or waits. */
  get busy(): boolean {
    return this.#tail !== undefined;
  }

  run<T>(work: () => Promise<T> | T): Promise<T> {
    const before = this.#tail;
    // Without anybody ahead the work starts at once: a hop through the promise queue is time on the way to a start.
    const result = before === undefined ? attempt(work) : before.then(work, work);
    const tail = result.then(() => {}, () => {}).then(() => {
      if (this.#tail === tail) this.#tail = undefined;
    });
    this.#tail = tail;
    return result;
  }
}

async function attempt<T>(work: () => Promise<T> | T): Promise<T> {
  return await work();
}
