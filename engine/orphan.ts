import { SIGKILL } from "../ffi/signals.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import type { ShimState } from "../runtime/protocol.ts";
import type { ShimRef } from "./container_record.ts";
import { isAlive } from "../base/process_identity.ts";
import { signalProcess } from "./process_signal.ts";

/** `state.json` of a shim, undefined when it has none (yet, or any more) or it cannot be read. */
export function readShimState(dir: string): ShimState | undefined {
  try {
    return JSON.parse(Deno.readTextFileSync(`${dir}/state.json`)) as ShimState;
  } catch {
    return undefined;
  }
}

/**
 * Ends what a shim that serves nobody any more has left: the shim itself if it hangs, and the container's first process,
 * whose standard streams have no reader now. With the first process of a pid namespace the kernel ends all others.
 * Every process is checked by pid and start time before it is hit.
 */
export function endOrphan(
  kernel: Pick<Syscalls, "pidfdOpen" | "pidfdSendSignal" | "close">,
  ref: ShimRef,
): void {
  const state = readShimState(ref.dir);
  // The shim first: otherwise it would record an exit that nobody waits for.
  kill(kernel, { pid: ref.pid, startTime: ref.startTime });
  // The process that waited is the one that runs, if the disk was too full to say so.
  if (state?.init) kill(kernel, state.init);
  if (state !== undefined && state.pid !== null && state.startTime !== null) {
    kill(kernel, { pid: state.pid, startTime: state.startTime });
  }
  removeShimDir(ref.dir);
}

/** Removes `<exec-root>/shims/<id>` if it is still there. */
export function removeShimDir(dir: string): void {
  try {
    Deno.removeSync(dir, { recursive: true });
  } catch {
    // Gone, or swept at the next start of the engine.
  }
}

function kill(
  kernel: Pick<Syscalls, "pidfdOpen" | "pidfdSendSignal" | "close">,
  identity: { pid: number; startTime: string },
): void {
  if (!isAlive(identity)) return;
  try {
    signalProcess(kernel, identity, SIGKILL);
  } catch {
    // Not ours to kill (EPERM after the namespace was lost): reported as it is by whoever looks at the container.
  }
}
