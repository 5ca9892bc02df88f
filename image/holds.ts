/** Things that operations under way rely on, and how many rely on each. */
export class Holds {
  readonly #counts = new Map<string, number>();

  has(id: string): boolean {
    return this.#counts.has(id);
  }

  /** How many times it is held. */
  count(id: string): number {
    return this.#counts.get(id) ?? 0;
  }

  /** @param released called when the answer has been disposed of: some may be nobody's then. */
  take(ids: readonly string[], released: () => void): Disposable {
    for (const id of ids) this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        for (const id of ids) {
          const count = (this.#counts.get(id) ?? 1) - 1;
          if (count === 0) this.#counts.delete(id);
          else this.#counts.set(id, count);
        }
        released();
      },
    };
  }
}
