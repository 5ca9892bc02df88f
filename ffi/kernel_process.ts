import { CLD_EXITED, P_ALL, P_PID, WEXITED, WNOHANG } from "./constants.ts";
import { ERRNO, SysError } from "./errno.ts";
import { SIZEOF } from "./layout.ts";
import { check, rawOnce } from "./libc.ts";
import type { Machine } from "./machine.ts";
import { NR } from "./syscall_numbers.ts";
import type { Syscalls } from "./syscalls.ts";

type Calls = Pick<
  Syscalls,
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
  | "ignoreSignals"
  | "sysconfClockTicks"
>;

/** Writes the kernel's sigset (one bit a signal, 1 = bit 0) at `offset`. */
export function writeSigset(view: DataView, offset: number, signals: readonly number[]): void {
  let mask = 0n;
  for (const signal of signals) mask |= 1n << BigInt(signal - 1);
  view.setBigUint64(offset, mask, true);
}

/** Children, signals and settings of the calling process or thread. */
export const processCalls = ({ block, cString, raw, stringArray }: Machine): Calls => ({
  execve(path, argv, env) {
    const result = raw(NR.execve, cString(path), stringArray(argv), stringArray(env));
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
});

/** Whether a process with this id exists (a zombie counts). */
export function processExists(pid: number): boolean {
  return rawOnce(NR.kill, pid, 0) !== -ERRNO.ESRCH;
}
