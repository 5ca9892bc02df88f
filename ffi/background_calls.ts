/**
 * Calls that may take long, made by another thread of the process. Nobody waits for their results here: a thread that sits in an
 * {@link EventLoop} would never hear of a promise. What has come of a call must be seen on a descriptor.
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
  library ??= open();
  const args = [NR.sendto, fd, addressOf(data), data.length, 0, 0, 0].map(BigInt);
  const [nr = 0n, a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n] = args;
  // the answer is the other end's
  void library.syscall(nr, a, b, c, d, e, f);
}
