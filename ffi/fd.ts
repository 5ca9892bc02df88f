import { kernel } from "./kernel.ts";
import type { Syscalls } from "./syscalls.ts";

/**
 * A descriptor with an owner: closed exactly once, at the end of the `using` block that holds it, unless it was
 * handed on by {@link OwnedFd.release}.
 */
export class OwnedFd implements Disposable {
  #fd: number;
  readonly #sys: Pick<Syscalls, "close">;

  constructor(fd: number, sys: Pick<Syscalls, "close"> = kernel) {
    this.#fd = fd;
    this.#sys = sys;
  }

  /** @throws {TypeError} after it was closed or released: the number may be somebody else's by then. */
  get fd(): number {
    if (this.#fd < 0) throw new TypeError("Descriptor is closed");
    return this.#fd;
  }

  get closed(): boolean {
    return this.#fd < 0;
  }

  /** Gives the ownership away: the caller closes the number that comes back. */
  release(): number {
    const fd = this.fd;
    this.#fd = -1;
    return fd;
  }

  close(): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    this.#sys.close(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
