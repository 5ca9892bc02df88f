/**
 * Calls that may take long, made by another thread of the process. A thread that sits in an {@link EventLoop} never hears of a promise:
 * there, what has come of a call must be seen on a descriptor.
 */
import { addressOf } from "./memory.ts";
import { NR } from "./syscall_numbers.ts";

const SYMBOLS = {
  syscall: {
    parameters: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"],
    result: "i32",
    nonblocking: true,
  },
} as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

function open(): Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] {
  try {
    return Deno.dlopen("libc.so.6", SYMBOLS).symbols;
  } catch {
    return Deno.dlopen(`libc.musl-${Deno.build.arch}.so.1`, SYMBOLS).symbols;
  }
}

/** send(2). `data` must stay as it is, and be kept alive, until the other end has answered. */
export function sendInBackground(fd: number, data: Uint8Array): void {
  // the answer is the other end's
  void call(NR.sendto, fd, addressOf(data), data.length);
}

/**
 * syncfs(2): resolves when everything that was written to the descriptor's file system so far is on the disk. May take seconds.
 *
 * @throws {Error} the disk refuses; the kernel's number cannot be had from another thread.
 */
export async function syncfsInBackground(fd: number): Promise<void> {
  if (await call(NR.syncfs, fd) < 0) throw new Error("syncfs: the file system could not write everything");
}

function call(nr: number, ...args: (number | bigint)[]): Promise<number> {
  library ??= open();
  const [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n] = args.map(BigInt);
  return library.syscall(BigInt(nr), a, b, c, d, e, f);
}
