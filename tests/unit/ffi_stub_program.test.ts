/** The stub's program for each machine: that it is its source, and that it runs, under qemu where it is another machine's. */
import { describe, expect } from "vitest";
import { ARCH, type Arch } from "../../ffi/arch.ts";
import {
  CLONE_PARENT,
  MAP_SHARED,
  O_CREAT,
  O_RDWR,
  PR_GET_PDEATHSIG,
  PR_SET_CHILD_SUBREAPER,
  PROT_READ,
  PROT_WRITE,
  SOCK_SEQPACKET,
} from "../../ffi/constants.ts";
import { ERRNO } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import { check, rawLong } from "../../ffi/libc.ts";
import { SIGCHLD, SIGKILL } from "../../ffi/signals.ts";
import { STUB_CODE, STUB_MEMORY, STUB_MEMORY_SIZE, stubProgram } from "../../ffi/stub_program.ts";
import { NR, numbersOf } from "../../ffi/syscall_numbers.ts";
import { itWith, program } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";

/** Words of the shared memory, as the source has them. */
const STATE = 0, ASLEEP = 1, FORKED = 3, NUMBER = 4, ARGUMENTS = 6, RESULT = 18, KIND = 20;
const PLAIN = 0, FORK = 1, EXECVE = 2;

/** A stub of `arch`, driven by hand. */
class Driven implements Disposable {
  pid: number;
  readonly socket: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #nr: ReturnType<typeof numbersOf>;
  readonly #address: number;
  readonly #directory = Deno.makeTempDirSync();

  /** @param orphan the other side has ended before it begins. */
  constructor(arch: Arch, orphan = false) {
    this.#nr = numbersOf(arch);
    const path = `${this.#directory}/stub`;
    Deno.writeFileSync(path, stubProgram(arch), { mode: 0o755 });
    const memory = kernel.open(`${this.#directory}/memory`, O_CREAT | O_RDWR, 0o600);
    kernel.ftruncate(memory, STUB_MEMORY_SIZE);
    const [ours, theirs] = kernel.socketpair(SOCK_SEQPACKET);
    if (orphan) kernel.close(ours);
    const command = arch === ARCH ? [path] : [QEMU, path];
    this.pid = kernel.spawn({
      path: arch === ARCH ? path : `/usr/bin/${QEMU}`,
      args: command,
      env: [],
      fds: { 3: memory, 4: theirs },
    });
    kernel.close(theirs);
    this.socket = orphan ? -1 : ours;
    const address = check(
      rawLong(NR.mmap, 0, STUB_MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory),
      "mmap",
    );
    kernel.close(memory);
    const pointer = Deno.UnsafePointer.create(BigInt(address));
    if (pointer === null) throw new Error("no memory");
    this.bytes = new Uint8Array(new Deno.UnsafePointerView(pointer).getArrayBuffer(STUB_MEMORY_SIZE));
    this.#words = new Int32Array(this.bytes.buffer, 0, 1024);
    this.#address = address;
  }

  post(kind: number, name: keyof typeof NR, ...args: number[]): void {
    this.#words[KIND] = kind;
    this.#words[NUMBER] = this.#nr[name];
    for (let index = 0; index < 6; index++) {
      const arg = args[index] ?? 0;
      this.#words[ARGUMENTS + 2 * index] = arg;
      this.#words[ARGUMENTS + 2 * index + 1] = arg < 0 ? -1 : 0;
    }
    Atomics.store(this.#words, STATE, 1);
    // FUTEX_WAKE
    if (Atomics.load(this.#words, ASLEEP) !== 0) rawLong(NR.futex, this.#address, 1, 1);
  }

  async call(kind: number, name: keyof typeof NR, ...args: number[]): Promise<number> {
    this.post(kind, name, ...args);
    await waitFor(() => Atomics.load(this.#words, STATE) === 2, 10_000, () => `waited for ${name}`);
    return this.#words[RESULT] ?? 0;
  }

  get forked(): number {
    return Atomics.load(this.#words, FORKED);
  }

  /** Puts text where the stub finds it; answers its address there. */
  text(at: number, text: string): number {
    this.bytes.set(new TextEncoder().encode(`${text}\0`), 4096 + at);
    return STUB_MEMORY + 4096 + at;
  }

  [Symbol.dispose](): void {
    try {
      kernel.kill(this.pid, 9);
      kernel.wait(this.pid, false);
    } catch {
      // It has ended.
    }
    if (this.socket >= 0) kernel.close(this.socket);
    rawLong(NR.munmap, this.#address, STUB_MEMORY_SIZE);
    Deno.removeSync(this.#directory, { recursive: true });
  }
}

const QEMU = `qemu-${ARCH === "x86_64" ? "aarch64" : "x86_64"}-static`;

describe.each<Arch>(["x86_64", "aarch64"])("the stub for %s", (arch) => {
  const machine = arch.replace("_", "-");
  itWith(program(`${arch}-linux-gnu-objcopy`, `binutils-${machine}-linux-gnu`))(
    "is what its source says",
    () => {
      const printed = new Deno.Command("scripts/assemble_stub", { args: [arch] }).outputSync();
      expect(new TextDecoder().decode(printed.stdout).trim()).toBe(`${arch} ${STUB_CODE[arch]}`);
    },
  );

  const runs = arch === ARCH ? [] : [program(QEMU, "qemu-user-static")];
  itWith(...runs)("makes calls, goes on in its child, and says that execve has failed", async () => {
    using stub = new Driven(arch);
    expect(await stub.call(PLAIN, "getpid")).toBe(stub.pid);
    expect(await stub.call(PLAIN, "close", 77)).toBe(-ERRNO.EBADF);
    // AT_FDCWD, and arguments of both sizes
    expect(await stub.call(PLAIN, "openat", -100, stub.text(0, "/nowhere"), 0, 0)).toBe(-ERRNO.ENOENT);
    expect(await stub.call(PLAIN, "getcwd", STUB_MEMORY + 8192, 4096)).toBe(Deno.cwd().length + 1);
    const cwd = stub.bytes.subarray(8192, 8192 + Deno.cwd().length);
    expect(new TextDecoder().decode(cwd)).toBe(Deno.cwd());

    const before = stub.pid;
    // qemu knows plain forks only: there the child is ours because its parent ends.
    kernel.prctl(PR_SET_CHILD_SUBREAPER, 1);
    const flags = arch === ARCH ? CLONE_PARENT | SIGCHLD : SIGCHLD;
    expect(await stub.call(FORK, "clone", flags)).toBe(0);
    expect(kernel.wait(before, false)?.code).toBe(0);
    stub.pid = stub.forked;
    expect(await stub.call(PLAIN, "getpid")).toBe(stub.pid);
    expect(stub.pid).not.toBe(before);

    expect(await stub.call(EXECVE, "execve", stub.text(0, "/nowhere"), 0, 0)).toBe(-ERRNO.ENOENT);
    const said = new Uint8Array(8);
    expect(kernel.recvmsg(stub.socket, said).length).toBe(8);
    expect(new DataView(said.buffer).getInt32(0, true)).toBe(-ERRNO.ENOENT);

    stub.post(PLAIN, "exit_group", 9);
    expect(kernel.wait(stub.pid, false)?.code).toBe(9);
  });

  itWith(...runs)(
    "ends with whoever has started it, also if that has been before its first instruction",
    async () => {
      using stub = new Driven(arch);
      expect(await stub.call(PLAIN, "prctl", PR_GET_PDEATHSIG, STUB_MEMORY + 8192)).toBe(0);
      expect(stub.bytes.subarray(8192, 8196)).toEqual(new Uint8Array([SIGKILL, 0, 0, 0]));

      using orphan = new Driven(arch, true);
      expect(kernel.wait(orphan.pid, false)?.code).toBe(0);
    },
  );
});
