/** A file without a name for what a client of attach has not taken: it goes with whoever holds it open. */
import { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";

/** Bytes written to one file, taken ones included: they come off the disk together. */
const MOST = 1024 * 1024 * 1024;
const BLOCK = 256 * 1024;
let number = 0;

export class Spool {
  readonly #kernel: Syscalls;
  readonly #in: number;
  readonly #out: number;
  #written = 0;
  #taken = 0;
  #broken = false;

  /**
   * @param dir on a disk, not in memory
   * @throws {SysError}
   */
  constructor(kernel: Syscalls, dir: string) {
    this.#kernel = kernel;
    const path = `${dir}/attach-${kernel.getpid()}-${++number}.spool`;
    this.#in = kernel.open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL, 0o600);
    try {
      this.#out = kernel.open(path, O_RDONLY);
    } catch (error) {
      kernel.close(this.#in);
      throw error;
    } finally {
      kernel.unlink(path);
    }
  }

  /** Bytes that wait. */
  get size(): number {
    return this.#written - this.#taken;
  }

  /** Nothing more is taken until this file has been read and closed. */
  get full(): boolean {
    return this.#broken || this.#written >= MOST;
  }

  /** Keeps all of `data`, or nothing: false. */
  push(data: Uint8Array): boolean {
    if (this.full) return false;
    try {
      if (this.#kernel.write(this.#in, data) === data.length) {
        this.#written += data.length;
        return true;
      }
      this.#kernel.ftruncate(this.#in, this.#written);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
    // The disk is full.
    this.#broken = true;
    return false;
  }

  /** The bytes that have waited longest; undefined when none are left. */
  shift(): Uint8Array | undefined {
    if (this.size === 0) return undefined;
    const block = new Uint8Array(Math.min(BLOCK, this.size));
    const count = this.#kernel.read(this.#out, block);
    this.#taken += count;
    return block.subarray(0, count);
  }

  close(): void {
    this.#kernel.close(this.#in);
    this.#kernel.close(this.#out);
  }
}
