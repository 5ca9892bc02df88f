import { ERRNO, SysError } from "./errno.ts";
import type { Stat, Syscalls } from "./syscalls.ts";

type Method = keyof Syscalls;

/** One call as data. */
export type RecordedCall = {
  [M in Method]: { readonly name: M; readonly args: Parameters<Syscalls[M]> };
}[Method];

const EMPTY_STAT: Stat = {
  dev: 0n,
  ino: 1n,
  mode: 0o100644,
  nlink: 1,
  uid: 0,
  gid: 0,
  rdev: 0n,
  size: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
};

/** Calls that make one new descriptor. */
// deno-fmt-ignore
const DESCRIPTOR_MAKERS: ReadonlySet<string> = new Set<Method>([
  "openTree", "fsopen", "fsmount", "pidfdOpen", "pidfdGetfd", "open", "openat2", "dupCloexec", "epollCreate", "signalfd",
  "timerfdCreate", "openPtyPeer", "unixListen", "unixConnect", "accept",
]);

/**
 * A `Syscalls` that does nothing but write down, for unit tests of what is called, in which order, without
 * privileges. Descriptors are numbers from 100 on, pids from 1000 on; other answers are empty values.
 *
 * ```ts
 * const recorder = new Recorder();
 * recorder.fail("mount", "EPERM", (call) => call.args[1] === "/proc");
 * recorder.answer("readlink", () => "/target");
 * prepare(recorder.syscalls);
 * expect(recorder.calls.map((call) => call.name)).toEqual(["mkdir", "mount"]);
 * ```
 */
export class Recorder {
  readonly calls: RecordedCall[] = [];
  readonly syscalls: Syscalls;
  #nextFd = 100;
  #nextPid = 1000;
  readonly #scripts = new Map<string, ((...args: never[]) => unknown)[]>();

  constructor() {
    this.syscalls = new Proxy({}, {
      get: (_, name) =>
        typeof name === "string" ? (...args: unknown[]) => this.#call(name as Method, args) : undefined,
    }) as Syscalls;
  }

  /** From now on `name` answers what `script` does. The latest script that is given counts. */
  answer<M extends Method>(
    name: M,
    script: (...args: Parameters<Syscalls[M]>) => ReturnType<Syscalls[M]>,
  ): void {
    this.#scripts.set(name, [script as (...args: never[]) => unknown]);
  }

  /** The next call of `name` answers `value`, the one after that the next value queued, and so on. */
  answerOnce<M extends Method>(name: M, value: ReturnType<Syscalls[M]>): void {
    const queue = this.#scripts.get(name) ?? [];
    this.#scripts.set(name, queue);
    queue.push(Object.assign(() => value, { once: true }));
  }

  /** `name` throws SysError for the calls that `when` picks (all of them when it is left out). */
  fail<M extends Method>(
    name: M,
    errno: keyof typeof ERRNO,
    when: (call: { readonly args: Parameters<Syscalls[M]> }) => boolean = () => true,
  ): void {
    const before = this.#scripts.get(name)?.[0];
    this.#scripts.set(name, [
      (...args: never[]) => {
        if (when({ args: args as unknown as Parameters<Syscalls[M]> })) {
          throw new SysError(name, ERRNO[errno]);
        }
        return before ? before(...args) : this.#default(name, args);
      },
    ]);
  }

  /** Arguments of all calls of one name. */
  argsOf<M extends Method>(name: M): Parameters<Syscalls[M]>[] {
    return this.calls.filter((call) => call.name === name).map((call) =>
      call.args as Parameters<Syscalls[M]>
    );
  }

  #call(name: Method, args: unknown[]): unknown {
    this.calls.push({ name, args } as RecordedCall);
    const queue = this.#scripts.get(name);
    const script = queue?.[0];
    if (script === undefined) return this.#default(name, args);
    if ("once" in script) queue?.shift();
    return script(...args as never[]);
  }

  #default(name: Method, args: readonly unknown[]): unknown {
    if (DESCRIPTOR_MAKERS.has(name)) return this.#nextFd++;
    switch (name) {
      case "pipe2":
      case "socketpair":
        return [this.#nextFd++, this.#nextFd++];
      case "spawn":
        return this.#nextPid++;
      case "execve":
        throw new SysError("exec", ERRNO.ENOENT, String(args[0]));
      case "wait":
        return { pid: typeof args[0] === "number" ? args[0] : 1000, code: 0, signal: undefined };
      case "stat":
      case "fstat":
        return EMPTY_STAT;
      case "statfs":
        return { type: 0, bsize: 4096, blocks: 0n, bavail: 0n, namelen: 255 };
      case "capget":
        return { effective: 0n, permitted: 0n, inheritable: 0n };
      case "getrlimit":
        return { soft: 1024n, hard: 4096n };
      case "getWindowSize":
        return { rows: 24, cols: 80 };
      case "peerCredentials":
        return { pid: 1, uid: 0, gid: 0 };
      case "write":
      case "sendmsg":
        return (args[1] as Uint8Array).byteLength;
      case "recvmsg":
        return { length: 0, fds: [] };
      case "epollWait":
      case "llistxattr":
      case "readDirectory":
        return [];
      case "readlink":
        return "";
      case "getcwd":
        return "/";
      case "flock":
        return true;
      case "umask":
        return 0o022;
      case "getpid":
      case "getppid":
        return 1;
      case "sysconfClockTicks":
        return 100;
      case "read":
      case "splice":
      case "prctl":
      case "geteuid":
        return 0;
      default:
        return undefined;
    }
  }
}
