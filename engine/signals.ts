import { isDoneWithin } from "../base/deadline.ts";
import { conflict, EngineError, invalid } from "../base/errors.ts";
import { SIGKILL, signalNumber } from "../ffi/signals.ts";
import type { Container } from "./container.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { isAlive } from "../base/process_identity.ts";
import { thaw } from "./pause.ts";
import { signalProcess } from "./process_signal.ts";
import { stopMannerOf } from "./stop_manner.ts";

/** How long an exit may take after SIGKILL: the kernel may be busy writing the process's memory away. */
const KILL_GRACE_MS = 10_000;

/** @param doing what the signal was for, in Docker's words. @throws {EngineError} invalid: no such signal. */
export function parseSignal(text: string, doing: string): number {
  const number = signalNumber(text);
  if (number === undefined) throw invalid(`${doing}: invalid signal: ${text}`);
  return number;
}

/**
 * Sends a signal to the container's first process. SIGKILL is waited for, as Docker does.
 *
 * @throws {EngineError} invalid signal; conflict when it is not running.
 */
export async function killContainer(
  ctx: EngineContext,
  container: Container,
  signal: string | undefined,
): Promise<void> {
  const number = signal === undefined || signal === "" ? SIGKILL : parseSignal(
    signal,
    `cannot kill container: ${container.record.name}`,
  );
  await container.mutex.run(() => {
    if (container.record.state.status !== "running") throw notRunning(container, "cannot kill container");
  });
  if (number === SIGKILL) return await killAndWait(ctx, container);
  noteManualStop(ctx, container, number);
  const sent = sendSignal(ctx, container, number);
  containerEvent(ctx, container.record, "kill", { signal: String(number) });
  await sent;
  if (number === stopSignalOf(container)) await thaw(ctx, container);
}

function notRunning(container: Container, what: string): EngineError {
  return conflict(`${what}: ${container.record.name}: container ${container.id} is not running`);
}

/** The stop signal counts as the user's wish to see it stopped, also when it comes by `kill`. */
function noteManualStop(ctx: EngineContext, container: Container, signal: number): void {
  if (signal !== SIGKILL && signal !== stopSignalOf(container)) return;
  if (!container.record.state.manuallyStopped && hasRestartPolicy(container)) {
    void ctx.containers.noteState(container, { manuallyStopped: true });
  }
}

function hasRestartPolicy(container: Container): boolean {
  const name = container.record.hostConfig.RestartPolicy?.Name;
  return name !== undefined && name !== "" && name !== "no";
}

function stopSignalOf(container: Container): number {
  return stopMannerOf(container.record).signal;
}

/** Delivers by the shim; by the kernel when the shim does not answer. A process that ended meanwhile is no error. */
async function sendSignal(ctx: EngineContext, container: Container, signal: number): Promise<void> {
  const { pid, pidStartTime } = container.record.state;
  try {
    if (container.shim !== null) {
      await container.shim.request({ op: "signal", signal });
      return;
    }
  } catch (error) {
    ctx.log.debug("shim did not deliver a signal", { id: container.id, error: String(error) });
  }
  const identity = { pid, startTime: pidStartTime };
  if (isAlive(identity)) signalProcess(ctx.kernel, identity, signal);
}

/** SIGKILL, and back when the exit is recorded. Nothing happens to a container that is not running. */
export async function killAndWait(ctx: EngineContext, container: Container): Promise<void> {
  if (container.record.state.status === "restarting") return await endRestarting(ctx, container);
  if (container.record.state.status !== "running") return;
  noteManualStop(ctx, container, SIGKILL);
  const gone = container.nextExit();
  const sent = sendSignal(ctx, container, SIGKILL);
  containerEvent(ctx, container.record, "kill", { signal: String(SIGKILL) });
  await sent;
  await thaw(ctx, container);
  if (!await isDoneWithin(gone, KILL_GRACE_MS)) {
    throw new EngineError(
      "system",
      `container ${container.id} did not exit within ${KILL_GRACE_MS / 1000} s of SIGKILL: ` +
        `its process ${container.record.state.pid} is stuck in the kernel`,
    );
  }
}

/** Between two restarts by policy there is no process: the wish to restart is what ends. */
async function endRestarting(ctx: EngineContext, container: Container): Promise<void> {
  await container.mutex.run(() => {
    if (container.record.state.status !== "restarting") return;
    container.cancelRestart();
    void ctx.containers.noteState(container, { status: "exited", manuallyStopped: true });
    container.notifyExit();
  });
}

/**
 * Stop signal, timeout, SIGKILL.
 *
 * @throws {EngineError} not-modified when it is not running; invalid signal.
 */
export async function stopContainer(
  ctx: EngineContext,
  container: Container,
  options: { timeout: number | undefined; signal: string | undefined },
): Promise<void> {
  const signal = options.signal === undefined || options.signal === ""
    ? stopSignalOf(container)
    : parseSignal(options.signal, `cannot stop container: ${container.record.name}`);
  await container.mutex.run(() => {
    if (!container.running) throw new EngineError("not-modified", "container already stopped");
  });
  if (container.record.state.status === "restarting") await endRestarting(ctx, container);
  else await stopRunning(ctx, container, signal, options.timeout);
  containerEvent(ctx, container.record, "stop");
}

async function stopRunning(
  ctx: EngineContext,
  container: Container,
  signal: number,
  timeout: number | undefined,
): Promise<void> {
  if (container.record.state.status !== "running") return;
  if (!container.record.state.manuallyStopped && hasRestartPolicy(container)) {
    void ctx.containers.noteState(container, { manuallyStopped: true });
  }
  const gone = container.nextExit();
  const seconds = timeout ?? stopMannerOf(container.record).seconds;
  const sent = sendSignal(ctx, container, signal);
  containerEvent(ctx, container.record, "kill", { signal: String(signal) });
  await sent;
  await thaw(ctx, container);
  if (seconds < 0) await gone;
  else if (!await isDoneWithin(gone, seconds * 1000)) await killAndWait(ctx, container);
}
