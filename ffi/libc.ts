/**
 * The C library, opened once per thread at the first call. Nearly everything goes through syscall(2): it costs one
 * symbol instead of a hundred (each is compiled at start), reaches calls that an old libc lacks, and acts on the
 * calling thread where libc's wrappers would not.
 */
import { ERRNO, SysError } from "./errno.ts";

const SYMBOLS = {
  // Deno has no variadic functions. On x86-64 and arm64 Linux integer arguments of a variadic function travel as
  // those of a fixed one, and surplus ones do no harm.
  syscall: { parameters: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], result: "i32" },
  syscallBuffer: { name: "syscall", parameters: ["i64", "i64", "buffer", "i64"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

const SPAWN_SYMBOLS = {
  posix_spawn: { parameters: ["buffer", "buffer", "buffer", "buffer", "buffer", "buffer"], result: "i32" },
  posix_spawn_file_actions_init: { parameters: ["buffer"], result: "i32" },
  posix_spawn_file_actions_adddup2: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  posix_spawn_file_actions_destroy: { parameters: ["buffer"], result: "i32" },
} as const;

function openLibrary<const S extends Deno.ForeignLibraryInterface>(symbols: S): Deno.DynamicLibrary<S> {
  try {
    return Deno.dlopen("libc.so.6", symbols);
  } catch {
    return Deno.dlopen(`libc.musl-${Deno.build.arch}.so.1`, symbols);
  }
}

type Arg = number | bigint;

/** Deno takes a number for an "i64" too, and faster than a bigint, though its types know the bigint only. */
interface Libc {
  readonly syscall: (nr: number, a: Arg, b: Arg, c: Arg, d: Arg, e: Arg, f: Arg) => number;
  readonly syscallBuffer: (nr: number, fd: number, buffer: Uint8Array, length: number) => number;
  /** errno of this thread, seen in place: reading it is a memory access, so nothing can overwrite it in between. */
  readonly errno: Int32Array;
}

let opened: Libc | undefined;

function open(): Libc {
  const { symbols } = openLibrary(SYMBOLS);
  const location = symbols.__errno_location();
  if (location === null) throw new TypeError("__errno_location answered NULL");
  const errno = new Int32Array(new Deno.UnsafePointerView(location).getArrayBuffer(4));
  return opened = {
    syscall: symbols.syscall as unknown as Libc["syscall"],
    syscallBuffer: symbols.syscallBuffer as unknown as Libc["syscallBuffer"],
    errno,
  };
}

const LONG_SYMBOLS = {
  syscall: { parameters: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], result: "i64" },
} as const;

let longLibrary: Deno.DynamicLibrary<typeof LONG_SYMBOLS>["symbols"] | undefined;

/** {@link rawOnce} for the few calls whose result does not fit into 32 bits: file offsets, addresses. */
export function rawLong(nr: number, ...args: readonly Arg[]): number {
  const errno = (opened ?? open()).errno;
  longLibrary ??= openLibrary(LONG_SYMBOLS).symbols;
  const [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n] = args.map(BigInt);
  const result = Number(longLibrary.syscall(BigInt(nr), a, b, c, d, e, f));
  return result === -1 ? -(errno[0] ?? 0) : result;
}

let spawnLibrary: Deno.DynamicLibrary<typeof SPAWN_SYMBOLS>["symbols"] | undefined;

/** The posix_spawn family; opened by the first spawn only. */
export function spawnSymbols(): Deno.DynamicLibrary<typeof SPAWN_SYMBOLS>["symbols"] {
  return spawnLibrary ??= openLibrary(SPAWN_SYMBOLS).symbols;
}

/** One system call, the kernel's way: the result, or minus errno. No retry: for calls where EINTR means something. */
export function rawOnce(
  nr: number,
  a: Arg = 0,
  b: Arg = 0,
  c: Arg = 0,
  d: Arg = 0,
  e: Arg = 0,
  f: Arg = 0,
): number {
  const libc = opened ?? open();
  const result = libc.syscall(nr, a, b, c, d, e, f);
  return result === -1 ? -(libc.errno[0] ?? 0) : result;
}

/** Like {@link rawOnce}, started again when a signal interrupted it. */
export function raw(
  nr: number,
  a: Arg = 0,
  b: Arg = 0,
  c: Arg = 0,
  d: Arg = 0,
  e: Arg = 0,
  f: Arg = 0,
): number {
  for (;;) {
    const result = rawOnce(nr, a, b, c, d, e, f);
    if (result !== -ERRNO.EINTR) return result;
  }
}

/** `nr(fd, buffer, buffer.byteLength)` on the caller's own memory: read, write. */
export function rawBuffer(nr: number, fd: number, buffer: Uint8Array): number {
  const libc = opened ?? open();
  for (;;) {
    const result = libc.syscallBuffer(nr, fd, buffer, buffer.byteLength);
    if (result !== -1) return result;
    const errno = libc.errno[0] ?? 0;
    if (errno !== ERRNO.EINTR) return -errno;
  }
}

/**
 * Turns the kernel's answer into a value or an exception.
 *
 * @throws {SysError} with `op` and `path` for a negative result.
 */
export function check(result: number, op: string, path?: string): number {
  if (result < 0) throw new SysError(op, -result, path);
  return result;
}
