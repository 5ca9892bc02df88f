/**
 * System calls made by another process.
 *
 * A process that becomes a container must call unshare, mount, pivot_root, setresuid, execve… itself: nobody can do that for it.
 * But a process that runs JavaScript is large, takes tens of milliseconds to boot and some more to be torn down by execve,
 * and in a container's PID namespace it is something that the container could look at. So the process is the stub, a few
 * instructions of assembly (stub_program.ts), and the code that decides what to call runs here: it writes a call's number and
 * arguments to memory that both share, the stub makes it and writes the result back. (CRIU's parasite code and gVisor's
 * systrap stubs work in the same way.)
 *
 * A call takes three microseconds more than a call of one's own when both are on one processor, where the kernel goes from the one to
 * the other without waking anything up. On two it takes as long as a sleeping processor needs to wake up: in a virtual machine eighty
 * microseconds. So there is {@link StubProcess.together}.
 */
import {
  CLONE_INTO_CGROUP,
  CLONE_PARENT,
  F_ADD_SEALS,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  FUTEX_WAIT,
  FUTEX_WAKE,
  MAP_SHARED,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  MFD_EXEC,
  O_ACCMODE,
  O_RDONLY,
  P_PID,
  PROT_READ,
  PROT_WRITE,
  SOCK_SEQPACKET,
  WEXITED,
  WNOHANG,
  WNOWAIT,
} from "./constants.ts";
import { ERRNO, SysError } from "./errno.ts";
import { callsAt, kernel } from "./kernel.ts";
import { SIZEOF } from "./layout.ts";
import { check, raw, rawLong, rawOnce } from "./libc.ts";
import type { Machine } from "./machine.ts";
import {
  addressOf,
  type Block,
  block,
  cString,
  cStringSize,
  encodeStrings,
  stringArraySize,
  writeCString,
  writeStringArray,
} from "./memory.ts";
import { SIGCHLD } from "./signals.ts";
import { STUB_MEMORY, STUB_MEMORY_SIZE, stubProgram } from "./stub_program.ts";
import { NR } from "./syscall_numbers.ts";
import { type ProcessSyscalls, WOULD_BLOCK } from "./syscalls.ts";

/** Descriptors that a stub is started with. */
const MEMORY_FD = 3;
export const STUB_SOCKET = 4;

/** The first page of the shared memory, in 32-bit words; the assembly says what each is for. */
const STATE = 0, ASLEEP = 1, WAITING = 2, FORKED = 3, NUMBER = 4, ARGUMENTS = 6, RESULT = 18, KIND = 20;
const CONTROL_SIZE = 4096;
/** Descriptors that may wait to be closed: far fewer than the usual limit of 1,024. */
const MAX_CLOSING = 128;
const WANTED = 1, ANSWERED = 2;
const PLAIN = 0, FORK = 1, EXECVE = 2;

/** Small pieces go round in a ring; what is larger than LARGE is laid behind it. A call uses a few of each. */
const RING_SIZE = 64 * 1024;
const LARGE = 8 * 1024;

/** A call that takes longer is one that may take for ever: {@link StubOptions.onSlow} is called again and again. */
const SLOW_MS = 20;

export interface StubOptions {
  /** stderr of the stub. */
  readonly stderr: number;
  /**
   * Called about every 20 ms while a call has not come back (a file system that does not answer), so that the caller can look after other things.
   * What it throws is thrown by the call.
   */
  readonly onSlow: () => void;
}

/** The end of a stub's socket tells how its execve went. */
export type ExecveOutcome = { readonly kind: "running" } | {
  readonly kind: "failed";
  readonly errno: number;
};

/** A process that does nothing but what it is told, until it becomes a program. */
export class StubProcess implements Disposable {
  /** Its calls. They throw SysError ESRCH when it has ended. */
  readonly calls: ProcessSyscalls;
  /** Where they are made: for the factories of calls that {@link calls} does not have (kernel_network.ts). */
  readonly machine: Machine;
  /** Our end of a SOCK_SEQPACKET pair; its own is descriptor {@link STUB_SOCKET}. For descriptors, and for the outcome of execve. */
  readonly socket: number;
  #pid: number;
  readonly #options: StubOptions;
  readonly #address: number;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #ringUsed = 0;
  #largeUsed = RING_SIZE;
  #affinity: Uint8Array | undefined;
  #closing: number[] = [];
  readonly #written = new Set<number>();
  #disposed = false;
  #waiting = false;

  /**
   * Starts one: in the caller's namespaces, with /dev/null as stdin and stdout, an empty environment, and a session of its own.
   *
   * @throws {SysError}
   */
  constructor(options: StubOptions) {
    this.#options = options;
    const memory = memfd("berth-stub", 0);
    let socket = -1;
    try {
      check(raw(NR.ftruncate, memory, STUB_MEMORY_SIZE), "ftruncate");
      const [ours, theirs] = kernel.socketpair(SOCK_SEQPACKET);
      socket = ours;
      const nothing = kernel.open("/dev/null", 2);
      try {
        this.#pid = kernel.spawn({
          path: `/proc/self/fd/${programFd()}`,
          args: ["berth-init"],
          env: [],
          fds: { 0: nothing, 1: nothing, 2: options.stderr, [MEMORY_FD]: memory, [STUB_SOCKET]: theirs },
          setsid: true,
        });
      } finally {
        kernel.close(nothing);
        kernel.close(theirs);
      }
      this.#address = check(
        rawLong(NR.mmap, 0, STUB_MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0),
        "mmap",
      );
    } catch (error) {
      if (socket >= 0) kernel.close(socket);
      throw error;
    } finally {
      kernel.close(memory);
    }
    this.socket = socket;
    const pointer = Deno.UnsafePointer.create(BigInt(this.#address));
    if (pointer === null) throw new TypeError("mmap answered NULL");
    const shared = new Deno.UnsafePointerView(pointer).getArrayBuffer(STUB_MEMORY_SIZE);
    this.#words = new Int32Array(shared, 0, CONTROL_SIZE / 4);
    this.#view = new DataView(shared, 0, CONTROL_SIZE);
    this.#bytes = new Uint8Array(shared);
    this.machine = this.#machine();
    const calls = callsAt(this.machine);
    const opened = (fd: number, flags: number): number => {
      if ((flags & O_ACCMODE) !== O_RDONLY) this.#written.add(fd);
      return fd;
    };
    this.calls = {
      ...calls,
      open: (path, flags, mode) => opened(calls.open(path, flags, mode), flags),
      openat2: (at, path, flags, mode, resolve) =>
        opened(calls.openat2(at, path, flags, mode, resolve), flags),
      close: (fd) => this.#written.delete(fd) ? calls.close(fd) : this.#closeLater(fd),
    };
  }

  /** Its process id, as the caller sees it. Another one after {@link fork}. */
  get pid(): number {
    return this.#pid;
  }

  /**
   * Replaces the process by a child of it, which is the caller's child, and is in the PID namespace that the stub has made or
   * entered. The caller is the parent of both; the first one has ended and is reaped when this returns.
   *
   * @throws {SysError} when there is no child; the stub is as before.
   */
  fork(): void {
    this.#replace(NR.clone, [CLONE_PARENT | SIGCHLD, 0, 0, 0, 0, 0], "fork");
  }

  /**
   * {@link fork}, and the child is born in a cgroup. To move a process there that lives takes the kernel some ten milliseconds, in which it
   * waits until no processor can be forking; with a child there is nothing to wait for.
   *
   * @param cgroup a descriptor of the stub's: the cgroup's directory.
   * @throws {SysError} as {@link fork}; ENOSYS, EINVAL, E2BIG: the kernel is older than 5.7. As with a process that is moved, EACCES and others.
   */
  forkInto(cgroup: number): void {
    const { address, view } = this.machine.block(SIZEOF.cloneArgs);
    // The signal of its end is the first one's: clone3 takes none beside CLONE_PARENT.
    view.setBigUint64(0, BigInt(CLONE_INTO_CGROUP + CLONE_PARENT), true);
    view.setBigUint64(80, BigInt(cgroup), true);
    this.#replace(NR.clone3, [address, SIZEOF.cloneArgs], "clone3");
  }

  #replace(nr: number, args: readonly number[], op: string): void {
    Atomics.store(this.#words, FORKED, 0);
    check(this.#call(FORK, nr, args), op);
    kernel.wait(this.#pid, false);
    this.#pid = Atomics.load(this.#words, FORKED);
  }

  /**
   * Keeps both processes on the processor that the caller is on while `work` makes many calls. Ends for the stub with {@link execve}. The work of
   * another stub may come in between (`onSlow`).
   */
  together<T>(work: () => T): T {
    const outermost = unbound === undefined;
    const before = unbound ?? affinity();
    const here = currentProcessor();
    if (before === undefined || here === undefined) return work();
    setAffinity(0, here);
    setAffinity(this.#pid, here);
    this.#affinity = unbound = before;
    try {
      return work();
    } finally {
      this.#part();
      if (outermost) {
        unbound = undefined;
        setAffinity(0, before);
      }
    }
  }

  /** The program is not to be bound to a processor. */
  #part(): void {
    if (this.#affinity !== undefined) setAffinity(this.#pid, this.#affinity);
    this.#affinity = undefined;
  }

  /**
   * Tells it to become a program. It is heard of on {@link socket}: see {@link execveOutcome}.
   *
   * @throws {SysError} E2BIG
   */
  execve(path: string, argv: readonly string[], env: readonly string[]): void {
    const { machine } = this;
    const call = [machine.cString(path), machine.stringArray(argv), machine.stringArray(env), 0, 0, 0];
    this.#part();
    this.#post(EXECVE, NR.execve, call);
  }

  /** When {@link socket} is readable after {@link execve}. Undefined: not yet. */
  execveOutcome(): ExecveOutcome | undefined {
    const result = new Uint8Array(8);
    const { length } = kernel.recvmsg(this.socket, result);
    if (length === WOULD_BLOCK) return undefined;
    if (length === 0) return { kind: "running" };
    this.#settle();
    return { kind: "failed", errno: -new DataView(result.buffer).getInt32(0, true) };
  }

  /** Lets the process end by itself; it is the caller's to reap. */
  exit(code: number): void {
    this.#post(PLAIN, NR.exit_group, [code, 0, 0, 0, 0, 0]);
  }

  /** Gives up the memory and the socket. The process, if it is a stub still, waits for ever: it is the caller's to kill and reap. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    kernel.close(this.socket);
    if (!this.#waiting) this.#unmap();
  }

  #unmap(): void {
    rawLong(NR.munmap, this.#address, STUB_MEMORY_SIZE);
  }

  /**
   * Descriptors are a quarter of all calls, and as a rule nobody waits for their end: many are closed by one call. Not those that were
   * opened for writing: they keep a mount from becoming read-only, and a program from being executed.
   */
  #closeLater(fd: number): void {
    this.#closing.push(fd);
    if (this.#closing.length >= MAX_CLOSING) this.closeNow();
  }

  /** Closes what `calls.close` has left for later. To be called before paths are used that somebody else has chosen: they may lead to /proc/self/fd. */
  closeNow(): void {
    const fds = this.#closing.splice(0).toSorted((a, b) => a - b);
    for (let start = 0; start < fds.length;) {
      let end = start;
      while (fds[end + 1] === (fds[end] ?? 0) + 1) end++;
      const [first = -1, last = -1] = [fds[start], fds[end]];
      const result = this.#call(PLAIN, NR.close_range, [first, last, 0]);
      // Linux before 5.9, or an old filter around berth
      if (result < 0) { for (let fd = first; fd <= last; fd++) this.#call(PLAIN, NR.close, [fd]); }
      start = end + 1;
    }
  }

  #post(kind: number, nr: number, args: readonly (number | bigint)[]): void {
    if (this.#disposed) throw new TypeError("Stub is disposed");
    const words = this.#words;
    words[KIND] = kind;
    words[NUMBER] = nr;
    for (let index = 0, at = ARGUMENTS; index < 6; index++, at += 2) {
      const arg = args[index];
      if (typeof arg === "bigint") {
        this.#view.setBigUint64(4 * at, BigInt.asUintN(64, arg), true);
      } else {
        const value = arg ?? 0;
        words[at] = value;
        // -1 for the small negative numbers: AT_FDCWD, "no descriptor"
        words[at + 1] = value < 0 ? -1 : value > 0xffff_ffff ? Math.floor(value / 0x1_0000_0000) : 0;
      }
    }
    Atomics.store(words, STATE, WANTED);
    if (Atomics.load(words, ASLEEP) !== 0) this.#futex(FUTEX_WAKE, 1);
  }

  #call(kind: number, nr: number, args: readonly (number | bigint)[]): number {
    this.#post(kind, nr, args);
    this.#settle();
    return this.#words[RESULT] ?? 0;
  }

  /** Sleeps until the call has come back. */
  #settle(): void {
    const words = this.#words;
    while (Atomics.load(words, STATE) !== ANSWERED) {
      Atomics.store(words, WAITING, 1);
      if (Atomics.load(words, STATE) === WANTED) {
        const result = this.#futex(FUTEX_WAIT, WANTED, slowTimeout().address);
        if (result === -ERRNO.ETIMEDOUT && Atomics.load(words, STATE) === WANTED) {
          this.#refuseDead();
          this.#onSlow();
        }
      }
    }
    Atomics.store(words, WAITING, 0);
  }

  /** Whoever is called may dispose of the stub: the memory must not go while it is looked at. */
  #onSlow(): void {
    this.#waiting = true;
    try {
      this.#options.onSlow();
    } finally {
      this.#waiting = false;
      if (this.#disposed) this.#unmap();
    }
    if (this.#disposed) throw new SysError("stub", ERRNO.ESRCH);
  }

  #futex(op: number, value: number, timeout = 0): number {
    return rawOnce(NR.futex, this.#address, op, value, timeout);
  }

  /** It may have been killed: by the kernel for memory, or by whoever found it in its PID namespace. */
  #refuseDead(): void {
    const info = block(SIZEOF.siginfo);
    // A fork's parent ends before the child answers.
    const forked = Atomics.load(this.#words, FORKED);
    const pid = forked === 0 ? this.#pid : forked;
    const result = raw(NR.waitid, P_PID, pid, info.address, WEXITED | WNOHANG | WNOWAIT, 0);
    const dead = result < 0 || info.view.getInt32(16, true) !== 0;
    if (dead && Atomics.load(this.#words, FORKED) === forked) throw new SysError("stub", ERRNO.ESRCH);
  }

  #machine(): Machine {
    const plain = [0, 0, 0, 0, 0, 0] as (number | bigint)[];
    const call: Machine["rawOnce"] = (nr, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0) => {
      plain[0] = a, plain[1] = b, plain[2] = c, plain[3] = d, plain[4] = e, plain[5] = f;
      return this.#call(PLAIN, nr, plain);
    };
    const string = (text: string): number => {
      const { address, bytes } = this.#take(cStringSize(text));
      writeCString(bytes, text);
      return address;
    };
    return {
      rawOnce: call,
      raw(nr, a, b, c, d, e, f) {
        for (;;) {
          const result = call(nr, a, b, c, d, e, f);
          if (result !== -ERRNO.EINTR) return result;
        }
      },
      read: (fd, buffer) => {
        const { address, bytes } = this.#take(buffer.length);
        const result = call(NR.read, fd, address, buffer.length);
        if (result > 0) buffer.set(bytes.subarray(0, result));
        return result;
      },
      write: (fd, data) => {
        const { address, bytes } = this.#take(data.length);
        bytes.set(data);
        return call(NR.write, fd, address, data.length);
      },
      block: (size): Block => {
        const { address, bytes } = this.#take(size);
        bytes.fill(0);
        return { address, bytes, view: new DataView(bytes.buffer, bytes.byteOffset, size) };
      },
      cString: string,
      cStringOrNull: (text) => text === null ? 0 : string(text),
      stringArray: (texts) => {
        const encoded = encodeStrings(texts);
        const { address, bytes } = this.#take(stringArraySize(encoded));
        writeStringArray(bytes, address, encoded);
        return address;
      },
      lend: (data) => {
        const { address, bytes } = this.#take(data.length);
        bytes.set(data);
        return address;
      },
      fetch: (data, address, length) => {
        const at = address - STUB_MEMORY;
        data.set(this.#bytes.subarray(at, at + length));
      },
    };
  }

  #take(size: number): { address: number; bytes: Uint8Array<ArrayBuffer> } {
    let start: number;
    const aligned = (size + 7) & ~7;
    if (size <= LARGE) {
      if (this.#ringUsed + aligned > RING_SIZE) this.#ringUsed = 0;
      start = this.#ringUsed;
      this.#ringUsed += aligned;
    } else {
      if (CONTROL_SIZE + this.#largeUsed + aligned > STUB_MEMORY_SIZE) this.#largeUsed = RING_SIZE;
      start = this.#largeUsed;
      if (CONTROL_SIZE + start + aligned > STUB_MEMORY_SIZE) throw new SysError("stub", ERRNO.E2BIG);
      this.#largeUsed += aligned;
    }
    start += CONTROL_SIZE;
    return { address: STUB_MEMORY + start, bytes: this.#bytes.subarray(start, start + size) };
  }
}

let timeout: { readonly address: number; readonly bytes: Uint8Array } | undefined;

/** SLOW_MS as a struct timespec. */
function slowTimeout(): { readonly address: number } {
  if (timeout === undefined) {
    const bytes = new Uint8Array(SIZEOF.timespec);
    new DataView(bytes.buffer).setBigInt64(8, BigInt(SLOW_MS * 1_000_000), true);
    timeout = { address: addressOf(bytes), bytes };
  }
  return timeout;
}

/** Bytes of a set of processors: 8,192 of them, as many as Linux can be built for. */
const CPU_SET = 1024;

/** Where the calling thread may run when no {@link StubProcess.together} binds it; undefined: none does. */
let unbound: Uint8Array | undefined;

/** Where the calling thread may run. Undefined when the kernel does not tell. */
function affinity(): Uint8Array | undefined {
  const set = block(CPU_SET);
  const length = raw(NR.sched_getaffinity, 0, CPU_SET, set.address);
  return length < 0 ? undefined : set.bytes.slice(0, length);
}

/** A set of one: the processor that the calling thread is on. */
function currentProcessor(): Uint8Array | undefined {
  const number = block(4);
  if (raw(NR.getcpu, number.address, 0, 0) < 0) return undefined;
  const cpu = number.view.getUint32(0, true);
  const set = new Uint8Array(CPU_SET);
  set[cpu >> 3] = 1 << (cpu & 7);
  return set;
}

/** Failure (a processor that has gone, a process that has ended) is no harm: it is a matter of speed. */
function setAffinity(pid: number, set: Uint8Array): void {
  const { address, bytes } = block(set.length);
  bytes.set(set);
  raw(NR.sched_setaffinity, pid, set.length, address);
}

let program: number | undefined;

/** The stub as a file without a name, which nobody can change any more; made once. */
function programFd(): number {
  if (program !== undefined) return program;
  const fd = memfd("berth-init", MFD_ALLOW_SEALING | MFD_EXEC);
  kernel.write(fd, stubProgram());
  check(
    raw(NR.fcntl, fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
    "fcntl F_ADD_SEALS",
  );
  return program = fd;
}

function memfd(name: string, flags: number): number {
  const result = raw(NR.memfd_create, cString(name), flags | MFD_CLOEXEC);
  // Linux before 6.3 does not know MFD_EXEC, and makes all of them executable.
  return check(
    result === -ERRNO.EINVAL
      ? raw(NR.memfd_create, cString(name), (flags & ~MFD_EXEC) | MFD_CLOEXEC)
      : result,
    "memfd_create",
  );
}
