import { isDoneWithin } from "../base/deadline.ts";
import { conflict, EngineError, invalid } from "../base/errors.ts";
import { newContainerId } from "./names.ts";
import type { Container } from "./container.ts";
import { buildExecProcess } from "./container_spec.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { parseDetachKeys } from "./detach_keys.ts";
import { Exec } from "./exec_table.ts";
import { linkEnvironment } from "./links.ts";
import { frame, relay } from "./relay.ts";
import { seccompFor } from "./seccomp_cache.ts";
import { type AttachConn, openAttach } from "./shim_client.ts";
import { explainStartFailure } from "./start_failure.ts";
import type { ClientStream, ExecCreateRequest } from "./types.ts";

/** How long the exit of an exec may take to be known after its output has ended. */
const EXIT_WAIT_MS = 5_000;
/** How long a change of size waits for the start that comes with it (moby: ContainerExecResize). */
const START_WAIT_MS = 10_000;

/** @throws {EngineError} conflict when the container does not run, invalid without a command. */
export function createExec(ctx: EngineContext, container: Container, request: ExecCreateRequest): Exec {
  if ((request.Cmd ?? []).length === 0) throw invalid("No exec command specified");
  parseDetachKeys(request.DetachKeys);
  requireRunning(container);
  const exec = new Exec(newContainerId(), container.record, request);
  ctx.execs.add(exec);
  containerEvent(ctx, container.record, `exec_create: ${commandText(request)}`, { execID: exec.id });
  return exec;
}

/** As Docker puts it together: without arguments a space is left over. */
function commandText({ Cmd }: ExecCreateRequest): string {
  const [entrypoint = "", ...args] = Cmd ?? [];
  return `${entrypoint} ${args.join(" ")}`;
}

function requireRunning(container: Container | undefined): asserts container is Container {
  if (container === undefined || container.record.state.status !== "running" || container.shim === null) {
    throw conflict(`container ${container?.id ?? ""} is not running`);
  }
  if (container.record.state.paused) {
    throw conflict(`container ${container.id} is paused, unpause the container before exec`);
  }
}

/**
 * Runs an exec. Attached, it resolves when the stream is over: failures after `onReady` are written into the stream, as
 * Docker does. Detached, it resolves once the process runs.
 *
 * @throws {EngineError} not-found, conflict (container stopped, exec ran already), invalid (detached command cannot be executed).
 */
export async function startExec(
  ctx: EngineContext,
  exec: Exec,
  options: { detach: boolean; tty: boolean | undefined; consoleSize: readonly number[] | undefined },
  onReady: (info: { tty: boolean }) => Promise<ClientStream>,
): Promise<void> {
  const container = ctx.containers.get(exec.container.id);
  requireRunning(container);
  if (exec.status === "ended") throw conflict(`exec command ${exec.id} has already run`);
  if (exec.status !== "created") throw conflict(`exec command ${exec.id} is already running`);
  exec.status = "starting";
  if (options.detach) return await launchExec(ctx, container, exec, options, false);

  const tty = exec.request.Tty ?? false;
  let client: ClientStream;
  try {
    client = await onReady({ tty });
  } catch (error) {
    exec.status = "created";
    throw error;
  }
  try {
    await runAttached(ctx, container, exec, options, client, tty);
  } finally {
    client.close();
  }
}

async function runAttached(
  ctx: EngineContext,
  container: Container,
  exec: Exec,
  options: { consoleSize: readonly number[] | undefined },
  client: ClientStream,
  tty: boolean,
): Promise<void> {
  const { AttachStdin: stdin = false, AttachStdout: stdout = false, AttachStderr: stderr = false } =
    exec.request;
  let conn: AttachConn | undefined;
  try {
    if ((stdin || stdout || stderr) && container.record.shim !== null) {
      conn = await openAttach(container.record.shim.dir, { execId: exec.id, stdin, stdout, stderr });
    }
    await launchExec(ctx, container, exec, options, stdin);
  } catch (error) {
    conn?.close();
    const text = `${(error as Error).message}\r\n`;
    await client.write(tty ? new TextEncoder().encode(text) : frame(1, text)).catch(() => {});
    await client.closeWrite().catch(() => {});
    return;
  }
  if (conn === undefined) {
    await exec.ended;
  } else {
    const how = await relay(conn, client, {
      stdin,
      output: stdout || stderr,
      inputEnd: tty ? "relay" : "stdin",
      detachKeys: tty ? parseDetachKeys(exec.request.DetachKeys) : undefined,
    });
    if (how === "detached") {
      containerEvent(ctx, container.record, "exec_detach", { execID: exec.id });
      return;
    }
    // Clients ask for the exit code as soon as the stream is closed.
    await isDoneWithin(exec.ended, EXIT_WAIT_MS);
  }
  await client.closeWrite().catch(() => {});
}

/** Gives the order to the shim. A failure ends the exec with Docker's exit code. */
export async function launchExec(
  ctx: EngineContext,
  container: Container,
  exec: Exec,
  options: { consoleSize: readonly number[] | undefined },
  openStdin: boolean,
): Promise<void> {
  try {
    requireRunning(container);
    const size = options.consoleSize ?? exec.request.ConsoleSize ?? undefined;
    const process = buildExecProcess(
      container.record,
      { ...exec.request, ConsoleSize: size ?? null },
      {
        seccompFor: (profile, caps) => seccompFor(ctx.facts, profile, caps),
        defaultNofile: ctx.defaults.nofile,
        ...(ctx.defaults.security ? { security: ctx.defaults.security } : {}),
        linkedEnv: linkEnvironment(ctx, container.record),
      },
    );
    containerEvent(ctx, container.record, `exec_start: ${commandText(exec.request)}`, { execID: exec.id });
    const shim = container.shim;
    if (shim === null) throw conflict(`container ${container.id} is not running`);
    const answer = await shim.request({ op: "exec", execId: exec.id, process, openStdin });
    exec.run(answer.pid ?? 0);
  } catch (cause) {
    const { error, exitCode } = explainStartFailure(cause, "exec");
    exec.end(exitCode);
    throw error;
  }
}

/**
 * Changes the size of an exec's terminal. Clients ask for it as soon as they have asked for the start, so it waits for that.
 *
 * @throws {EngineError} conflict when it runs no more; invalid when it never did.
 */
export async function resizeExec(
  ctx: EngineContext,
  exec: Exec,
  size: { rows: number; cols: number },
): Promise<void> {
  await isDoneWithin(exec.started, START_WAIT_MS);
  const shim = ctx.containers.get(exec.container.id)?.shim;
  if (exec.status === "ended" && exec.pid === 0) throw invalid("exec process is not started");
  if (exec.status === "created") throw new EngineError("system", "timeout waiting for exec session ready");
  if (exec.status !== "running" || !shim) throw conflict(`Exec ${exec.id} is not running`);
  if (exec.request.Tty) await shim.request({ op: "resize", ...size, execId: exec.id });
}

/** Docker's answer of GET /exec/{id}/json. */
export function inspectExec(exec: Exec): Record<string, unknown> {
  const { request } = exec;
  const [entrypoint = "", ...args] = request.Cmd ?? [];
  return {
    ID: exec.id,
    Running: exec.status === "running" || exec.status === "starting",
    ExitCode: exec.exitCode,
    ProcessConfig: {
      tty: request.Tty ?? false,
      entrypoint,
      arguments: args,
      privileged: request.Privileged ?? false,
      ...(request.User ? { user: request.User } : {}),
    },
    OpenStdin: request.AttachStdin ?? false,
    OpenStderr: request.AttachStderr ?? false,
    OpenStdout: request.AttachStdout ?? false,
    // Docker sets it on an exec that has just left its table, so nobody has ever seen it true.
    CanRemove: false,
    ContainerID: exec.container.id,
    DetachKeys: request.DetachKeys ?? "",
    Pid: exec.pid,
  };
}
