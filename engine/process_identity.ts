import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";

/** A pid is used again sooner or later; with its start time (field 22 of /proc/PID/stat) it names one process for ever. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** Start time of a process in clock ticks since boot, and its state letter; undefined when there is no such process. */
export function processStat(pid: number): { startTime: string; state: string; ppid: number } | undefined {
  if (pid <= 0) return undefined;
  let text: string;
  try {
    text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  } catch {
    return undefined;
  }
  // The command name (field 2) may hold spaces and parentheses: fields are counted after its last ")".
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", ppid: Number(fields[1]), startTime: fields[19] ?? "" };
}

/** True while exactly this process lives. A zombie counts as ended. */
export function isAlive(identity: ProcessIdentity): boolean {
  const stat = processStat(identity.pid);
  return stat !== undefined && stat.startTime === identity.startTime && stat.state !== "Z" &&
    stat.state !== "X";
}

/**
 * Sends a signal to exactly this process, by pidfd, so that a reused pid is never hit. False when it has ended.
 *
 * @throws {SysError} EPERM and the like.
 */
export function signalProcess(
  kernel: Pick<Syscalls, "pidfdOpen" | "pidfdSendSignal" | "close">,
  identity: ProcessIdentity,
  signal: number,
): boolean {
  let pidfd: number;
  try {
    pidfd = kernel.pidfdOpen(identity.pid, 0);
  } catch (error) {
    if (error instanceof SysError && error.is("ESRCH")) return false;
    throw error;
  }
  try {
    // The descriptor is held: if the identity is right now, it is right when the signal is sent.
    if (!isAlive(identity)) return false;
    kernel.pidfdSendSignal(pidfd, signal);
    return true;
  } catch (error) {
    if (error instanceof SysError && error.is("ESRCH")) return false;
    throw error;
  } finally {
    kernel.close(pidfd);
  }
}
