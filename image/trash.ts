import { messageOf } from "../base/errors.ts";
import { moveToTrash, removeTree } from "../fs/remove_tree.ts";

/** Rounds over the directory: whoever else removes there (containers do) may make one of them miss something. */
const ROUNDS = 3;

/**
 * `<root>/trash`: what is moved there by one rename is gone for everybody; its space is freed in the background, by
 * other threads. What is left when the engine ends goes at the next start.
 */
export class Trash {
  readonly #dir: string;
  readonly #log: (line: string) => void;
  #emptying: Promise<void> = Promise.resolve();
  #waiting = false;

  constructor(root: string, log: (line: string) => void) {
    this.#dir = `${root}/trash`;
    this.#log = log;
  }

  /** Moves a file or a directory away. What is not there is fine. {@link empty} frees its space. */
  take(path: string): void {
    moveToTrash(path, this.#dir);
  }

  /** Deletes what was thrown away, one after the other; never rejects. */
  empty(): Promise<void> {
    // one round that has not begun yet sees everything
    if (this.#waiting) return this.#emptying;
    this.#waiting = true;
    return this.#emptying = this.#emptying.then(async () => {
      this.#waiting = false;
      try {
        for (let round = 0; round < ROUNDS; round++) {
          const names = [...Deno.readDirSync(this.#dir)].map(({ name }) => name);
          if (names.length === 0) return;
          for (const name of names) await removeTree(`${this.#dir}/${name}`);
        }
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return;
        this.#log(`unable to empty ${this.#dir}: ${messageOf(error)}`);
      }
    });
  }
}
