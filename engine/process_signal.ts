import { isAlive, type ProcessIdentity } from "../base/process_identity.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";

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
