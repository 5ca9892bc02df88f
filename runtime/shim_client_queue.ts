/** What is on its way to a client of attach: in memory, and in a file when the client takes too little. */
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { note } from "../base/note.ts";
import { OutQueue } from "./shim_queue.ts";
import { Spool } from "./shim_spool.ts";

/** Bytes in memory from which on the process waits for the client, as Docker's does. */
const LIMIT = 1024 * 1024;
/** Sent from a file before others have their turn. */
const MOST_AT_ONCE = 1024 * 1024;

export class ClientQueue {
  readonly #kernel: Syscalls;
  /** The oldest. */
  readonly #direct: OutQueue;
  #spool: Spool | undefined;
  /** The newest: what the file had no room for. */
  #late: Uint8Array[] = [];
  #lateSize = 0;

  constructor(kernel: Syscalls, fd: number) {
    this.#kernel = kernel;
    this.#direct = new OutQueue(kernel, fd);
  }

  /** Bytes that wait. */
  get size(): number {
    return this.#direct.size + (this.#spool?.size ?? 0) + this.#lateSize;
  }

  /** The process that they come from has to wait. */
  get full(): boolean {
    return this.#spool === undefined ? this.#direct.size > LIMIT : this.#spool.full;
  }

  /** It may go on. */
  get relieved(): boolean {
    return this.#spool === undefined ? this.#direct.size <= LIMIT / 2 : !this.#spool.full;
  }

  /** What comes from now on waits in a file below `dir`, until the client has everything. */
  spill(dir: string): void {
    if (this.#spool !== undefined) return;
    try {
      this.#spool = new Spool(this.#kernel, dir);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      note(`output that a client does not read: ${error.message}`);
    }
  }

  /** As {@link OutQueue.push}. False: the client is gone. */
  push(data: Uint8Array): boolean {
    if (this.#spool === undefined) return this.#direct.push(data);
    if (this.#lateSize > 0 || !this.#spool.push(data)) {
      this.#late.push(data.slice());
      this.#lateSize += data.length;
    }
    return true;
  }

  /** Sends what waits, as far as it goes or is fair. False: the client is gone. */
  flush(): boolean {
    for (let sent = 0; sent < MOST_AT_ONCE;) {
      if (!this.#direct.flush()) return false;
      if (this.#direct.size > 0 || this.#spool === undefined) return true;
      const next = this.#spool.shift();
      if (next === undefined) return this.#leaveFile();
      if (!this.#direct.push(next)) return false;
      sent += next.length;
    }
    return true;
  }

  #leaveFile(): boolean {
    this.#spool?.close();
    this.#spool = undefined;
    const late = this.#late;
    this.#late = [];
    this.#lateSize = 0;
    return late.every((data) => this.#direct.push(data));
  }

  close(): void {
    this.#spool?.close();
    this.#spool = undefined;
  }
}
