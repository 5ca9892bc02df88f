/** What may be there already, and what may be gone already. */
import type { ERRNO } from "../../ffi/errno.ts";
import { SysError } from "../../ffi/errno.ts";

/** Does it, unless the kernel answers one of these errors. False: it did. */
export function unless(codes: readonly (keyof typeof ERRNO)[], action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (error instanceof SysError && error.is(...codes)) return false;
    throw error;
  }
}

/** Makes what may be there. */
export const ensure = (action: () => void): boolean => unless(["EEXIST"], action);

/** Takes away what may be gone. */
export const dispense = (action: () => void): boolean =>
  unless(["ENODEV", "ENOENT", "ESRCH", "EADDRNOTAVAIL"], action);

/** Steps that can be taken back, the last one first. */
export class Undo {
  readonly #steps: (() => void)[] = [];

  push(step: () => void): void {
    this.#steps.push(step);
  }

  /** Runs `work`; when it throws, everything that has been pushed is done, and the error goes on. */
  static all<T>(work: (undo: Undo) => T, onFailure: (error: unknown) => void): T {
    const undo = new Undo();
    try {
      return work(undo);
    } catch (error) {
      for (const step of undo.#steps.toReversed()) {
        try {
          step();
        } catch (failure) {
          onFailure(failure);
        }
      }
      throw error;
    }
  }
}
