import {
  CLD_EXITED,
  P_ALL,
  P_PID,
  POSIX_SPAWN_SETSID,
  POSIX_SPAWN_SETSIGDEF,
  POSIX_SPAWN_SETSIGMASK,
  SIG_SETMASK,
  WEXITED,
  WNOHANG,
} from "./constants.ts";
import { ERRNO, SysError } from "./errno.ts";
import { descriptorCalls } from "./kernel_descriptor.ts";
import { SIZEOF } from "./layout.ts";
import { check, raw, rawOnce, spawnSymbols } from "./libc.ts";
import { addressOf, block, cString, cStringArray } from "./memory.ts";
import { SIGKILL, SIGRTMAX, SIGRTMIN, SIGSTOP, SIGSYS } from "./signals.ts";
import { NR } from "./syscall_numbers.ts";
import type { SpawnOptions, Syscalls } from "./syscalls.ts";

type Calls = Pick<
  Syscalls,
  | "spawn"
  | "execve"
  | "wait"
  | "kill"
  | "getpid"
  | "getppid"
  | "geteuid"
  | "setsid"
  | "pidfdOpen"
  | "pidfdGetfd"
  | "pidfdSendSignal"
  | "prctl"
  | "setrlimit"
  | "getrlimit"
  | "umask"
  | "resetSignals"
  | "ignoreSignals"
  | "sysconfClockTicks"
>;

/** The handler SIG_IGN. */
const SIG_IGN = 1n;

/** Writes the kernel's sigset (one bit a signal, 1 = bit 0) at `offset`. */
export function writeSigset(view: DataView, offset: number, signals: readonly number[]): void {
  let mask = 0n;
  for (const signal of signals) mask |= 1n << BigInt(signal - 1);
  view.setBigUint64(offset, mask, true);
}

/**
 * `posix_spawnattr_t`. Its fields are filled in place: flags (short), pgroup (int at 4), sigdefault (128 bytes at
 * 8), sigmask (128 bytes at 136) stand at the same offsets in glibc and musl.
 */
function spawnAttributes(options: SpawnOptions): Uint8Array<ArrayBuffer> {
  const attributes = new Uint8Array(SIZEOF.posixSpawnattr);
  const view = new DataView(attributes.buffer);
  let flags = options.setsid ? POSIX_SPAWN_SETSID : 0;
  if (options.resetSignals ?? true) {
    flags |= POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    view.setBigUint64(8, 0xffff_ffff_ffff_ffffn, true);
  }
  if (options.blockedSignals !== undefined) {
    flags |= POSIX_SPAWN_SETSIGMASK;
    writeSigset(view, 136, options.blockedSignals);
  }
  view.setInt16(0, flags, true);
  return attributes;
}

/**
 * The dup2 steps of a child. A source that is some step's target would be overwritten before it is used, so such
 * sources are duplicated first to numbers that no step touches; `moved` are those duplicates, to be closed after the spawn.
 */
function planDescriptors(
  fds: Readonly<Record<number, number>>,
): { steps: [number, number][]; moved: number[] } {
  const wanted = Object.entries(fds).map(([target, source]): [number, number] => [source, Number(target)]);
  const targets = new Set(wanted.map(([, target]) => target));
  const above = Math.max(-1, ...targets) + 1;
  const moved: number[] = [];
  const steps = wanted.map(([source, target]): [number, number] => {
    if (source === target || !targets.has(source)) return [source, target];
    const copy = descriptorCalls.dupCloexec(source, above);
    moved.push(copy);
    return [copy, target];
  });
  return { steps, moved };
}

function spawn(options: SpawnOptions): number {
  const libc = spawnSymbols();
  const succeed = (errno: number): void => {
    if (errno !== 0) throw new SysError("fork/exec", errno, options.path);
  };
  const path = cStringBytes(options.path);
  const argv = cStringArray(options.args);
  const envp = cStringArray(options.env);
  const attributes = spawnAttributes(options);
  const pid = new Int32Array(1);
  const { steps, moved } = planDescriptors(options.fds ?? {});
  try {
    const actions = new Uint8Array(SIZEOF.posixSpawnFileActions);
    succeed(libc.posix_spawn_file_actions_init(actions));
    try {
      for (const [source, target] of steps) {
        succeed(libc.posix_spawn_file_actions_adddup2(actions, source, target));
      }
      succeed(libc.posix_spawn(pid, path, actions, attributes, argv, envp));
    } finally {
      libc.posix_spawn_file_actions_destroy(actions);
    }
  } finally {
    for (const fd of moved) descriptorCalls.close(fd);
  }
  return pid[0] ?? 0;
}

function cStringBytes(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new TypeError(`String holds a NUL: ${JSON.stringify(text)}`);
  return new TextEncoder().encode(`${text}\0`);
}

/** Children, signals and settings of the calling process or thread. */
export const processCalls: Calls = {
  spawn,
  execve(path, argv, env) {
    const argvMemory = cStringArray(argv);
    const envMemory = cStringArray(env);
    const result = raw(NR.execve, cString(path), addressOf(argvMemory), addressOf(envMemory));
    throw new SysError("exec", -result, path);
  },
  wait(pid, noHang) {
    const info = block(SIZEOF.siginfo);
    const options = WEXITED | (noHang ? WNOHANG : 0);
    check(raw(NR.waitid, pid === undefined ? P_ALL : P_PID, pid ?? 0, info.address, options, 0), "wait");
    const ended = info.view.getInt32(16, true);
    if (ended === 0) return undefined;
    const status = info.view.getInt32(24, true);
    return info.view.getInt32(8, true) === CLD_EXITED
      ? { pid: ended, code: status, signal: undefined }
      : { pid: ended, code: undefined, signal: status };
  },
  kill(pid, signal) {
    check(raw(NR.kill, pid, signal), "kill");
  },
  getpid: () => raw(NR.getpid),
  getppid: () => raw(NR.getppid),
  geteuid: () => raw(NR.geteuid),
  setsid() {
    check(raw(NR.setsid), "setsid");
  },
  pidfdOpen(pid, flags) {
    return check(raw(NR.pidfd_open, pid, flags), "pidfd_open");
  },
  pidfdGetfd(pidfd, targetFd) {
    return check(raw(NR.pidfd_getfd, pidfd, targetFd, 0), "pidfd_getfd");
  },
  pidfdSendSignal(pidfd, signal) {
    check(raw(NR.pidfd_send_signal, pidfd, signal, 0, 0), "pidfd_send_signal");
  },
  prctl(option, a2, a3 = 0, a4 = 0, a5 = 0) {
    return check(raw(NR.prctl, option, a2, a3, a4, a5), "prctl");
  },
  setrlimit(resource, soft, hard) {
    const limit = block(SIZEOF.rlimit);
    limit.view.setBigUint64(0, soft, true);
    limit.view.setBigUint64(8, hard, true);
    check(raw(NR.prlimit64, 0, resource, limit.address, 0), "setrlimit");
  },
  getrlimit(resource) {
    const limit = block(SIZEOF.rlimit);
    check(raw(NR.prlimit64, 0, resource, 0, limit.address), "getrlimit");
    return { soft: limit.view.getBigUint64(0, true), hard: limit.view.getBigUint64(8, true) };
  },
  umask: (mask) => raw(NR.umask, mask),
  resetSignals() {
    const action = block(SIZEOF.kernelSigaction);
    const old = block(SIZEOF.kernelSigaction);
    for (let signal = 1; signal <= SIGRTMAX; signal++) {
      if (signal === SIGKILL || signal === SIGSTOP) continue;
      if (signal < SIGRTMIN && signal > SIGSYS) {
        // libc's own two: keep its handlers, which end with execve anyway, but a parent that used glibc's posix_spawn
        // left them ignored, and that would live on in the program
        check(raw(NR.rt_sigaction, signal, 0, old.address, SIZEOF.kernelSigset), "sigaction");
        if (old.view.getBigUint64(0, true) !== SIG_IGN) continue;
      }
      check(raw(NR.rt_sigaction, signal, action.address, 0, SIZEOF.kernelSigset), "sigaction");
    }
    const empty = block(SIZEOF.kernelSigset);
    check(raw(NR.rt_sigprocmask, SIG_SETMASK, empty.address, 0, SIZEOF.kernelSigset), "sigprocmask");
  },
  ignoreSignals(signals) {
    const action = block(SIZEOF.kernelSigaction);
    // SIG_IGN; sa_handler is the first member
    action.view.setBigUint64(0, 1n, true);
    for (const signal of signals) {
      check(raw(NR.rt_sigaction, signal, action.address, 0, SIZEOF.kernelSigset), "sigaction");
    }
  },
  sysconfClockTicks() {
    // USER_HZ is 100 on x86-64 and arm64 and part of their ABI: /proc/<pid>/stat counts in it
    return 100;
  },
};

/** Whether a process with this id exists (a zombie counts). */
export function processExists(pid: number): boolean {
  return rawOnce(NR.kill, pid, 0) !== -ERRNO.ESRCH;
}
