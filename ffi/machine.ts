import { raw, rawBuffer, rawOnce } from "./libc.ts";
import { addressOf, type Block, block, cString, cStringOrNull, heldStringArray } from "./memory.ts";
import { NR } from "./syscall_numbers.ts";

type Arg = number | bigint;

/**
 * Where system calls are made, and the memory that they are given: the calling thread with its own memory, or a stub
 * process with the memory that is shared with it (stub_process.ts). Every address is one of that side.
 */
export interface Machine {
  /** One call; the result, or minus errno. EINTR is answered, not tried again. */
  rawOnce(nr: number, a?: Arg, b?: Arg, c?: Arg, d?: Arg, e?: Arg, f?: Arg): number;
  /** The same, started again when a signal interrupted it. */
  raw(nr: number, a?: Arg, b?: Arg, c?: Arg, d?: Arg, e?: Arg, f?: Arg): number;
  /** read(2) into the caller's own memory; the result, or minus errno. */
  read(fd: number, buffer: Uint8Array): number;
  /** write(2) from the caller's own memory. */
  write(fd: number, data: Uint8Array): number;
  /** `size` zeroed bytes, aligned to 8, valid until the end of the call they are taken for. */
  block(size: number): Block;
  /** Address of a C string. @throws {TypeError} when the text holds a NUL. */
  cString(text: string): number;
  /** NULL for null. */
  cStringOrNull(text: string | null): number;
  /** Address of a `char *[]` that ends with NULL. @throws {TypeError} when a text holds a NUL. */
  stringArray(texts: readonly string[]): number;
  /** Address at which a call finds `data`: the caller's own memory, or a copy of it. */
  lend(data: Uint8Array): number;
  /** After the call: brings the first `length` bytes that it has written to lent memory into the caller's own. */
  fetch(data: Uint8Array, address: number, length: number): void;
}

/** The calling thread. */
export const thread: Machine = {
  rawOnce,
  raw,
  read: (fd, buffer) => rawBuffer(NR.read, fd, buffer),
  write: (fd, data) => rawBuffer(NR.write, fd, data),
  block,
  cString,
  cStringOrNull,
  stringArray: heldStringArray,
  lend: addressOf,
  fetch() {},
};
