import { messageOf } from "../../base/errors.ts";
import type { GraphDriver } from "../../fs/graph_driver.ts";
import type { SourceRange } from "../../image/build/types.ts";
import { readFrames } from "../attach_frames.ts";
import { cgroupPathFor } from "../container_cgroup.ts";
import type { Container } from "../container.ts";
import { createContainer, sweepContainer } from "../create.ts";
import { newContainerId } from "../names.ts";
import { removeContainer } from "../remove.ts";
import { type AttachConn, openAttach } from "../shim_client.ts";
import { killAndWait } from "../signals.ts";
import { startContainer } from "../start.ts";
import type { HostConfig } from "../types.ts";
import type { BuildContext, LayerStack } from "./build_context.ts";
import { CommandFailure } from "./command_failure.ts";
import { CGROUP_NOTE } from "./sweep.ts";

/** Host name of every command of a build, as with BuildKit: it must not tell where an image was built. */
const HOSTNAME = "buildkitsandbox";

export interface RunRequest {
  readonly below: LayerStack;
  readonly architecture: string;
  readonly args: readonly string[];
  /** Where the Dockerfile has it. */
  readonly range: SourceRange;
  readonly env: readonly string[];
  readonly user: string;
  readonly cwd: string;
  readonly hostConfig: HostConfig;
  /** Called with the container's id before it starts. */
  readonly onContainer: (id: string) => void;
  readonly onOutput: (stream: 1 | 2, data: Uint8Array) => void;
}

/**
 * Runs a command in a container of its own and hands the container, which has ended well, to `take`; it is gone afterwards, whatever
 * happens. Aborted, it is killed at once.
 *
 * @throws {CommandFailure}
 */
export async function runInContainer<T>(
  given: BuildContext,
  request: RunRequest,
  signal: AbortSignal,
  take: (containerId: string) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const ctx: BuildContext = { ...given, driver: withoutSyncs(given.driver) };
  const reference = `build:${newContainerId()}`;
  using _stack = ctx.images.add(reference, request.below, request.architecture);
  const { Id: id } = await createContainer(ctx, {
    name: undefined,
    platform: undefined,
    config: {
      Image: reference,
      Hostname: HOSTNAME,
      Cmd: request.args,
      Env: request.env,
      User: request.user,
      WorkingDir: request.cwd,
    },
    hostConfig: { Init: false, ...request.hostConfig, LogConfig: { Type: "none" } },
    networkingConfig: undefined,
  });
  const container = ctx.containers.find(id);
  try {
    noteCgroup(ctx, container);
    request.onContainer(id);
    const exitCode = await runToEnd(ctx, container, request, signal);
    signal.throwIfAborted();
    if (exitCode !== 0) throw new CommandFailure(request.args, exitCode, request.range, oomReason(container));
    return await take(id);
  } finally {
    await remove(ctx, container);
  }
}

/**
 * The same driver, whose containers do not wait for the disk, however often a package manager asks for it: of a build that a power cut
 * ends nothing is kept. Such an overlay can be mounted once, which is all that a command needs.
 */
function withoutSyncs(driver: GraphDriver): GraphDriver {
  return {
    name: driver.name,
    reason: driver.reason,
    whiteouts: driver.whiteouts,
    status: driver.status,
    create: (id, layers) => driver.create(id, layers),
    acquire: async (id, layers) => {
      const rootfs = await driver.acquire(id, layers);
      if (rootfs.kind !== "overlay") return rootfs;
      const { options } = rootfs.overlay;
      return { kind: "overlay", overlay: { ...rootfs.overlay, options: [...options, "volatile"] } };
    },
    release: (id) => driver.release(id),
    remove: (id) => driver.remove(id),
    usage: (id) => driver.usage(id),
  };
}

/** An engine that finds the directory without a row finds the cgroup by this. */
function noteCgroup(ctx: BuildContext, { record }: Container): void {
  const path = cgroupPathFor(ctx, record);
  if (path !== "") Deno.writeTextFileSync(`${record.dir}/${CGROUP_NOTE}`, path);
}

function oomReason({ record: { state } }: Container): string | undefined {
  return state.oomKilled ? `cannot allocate memory: exit code: ${state.exitCode}` : undefined;
}

async function runToEnd(
  ctx: BuildContext,
  container: Container,
  { args, range, onOutput }: RunRequest,
  signal: AbortSignal,
): Promise<number> {
  const drained = followOutput(container, onOutput);
  const gone = container.nextExit();
  let ended = false;
  const kill = () => {
    if (!ended) {
      killAndWait(ctx, container).catch((error) => ctx.log.warn(messageOf(error), { id: container.id }));
    }
  };
  try {
    await startContainer(ctx, container);
  } catch (error) {
    const { exitCode } = container.record.state;
    if (exitCode < 126 || exitCode > 127) throw error;
    throw new CommandFailure(args, exitCode, range, messageOf(error));
  }
  signal.addEventListener("abort", kill);
  try {
    if (signal.aborted) kill();
    const { StatusCode } = await gone;
    ended = true;
    await drained;
    return StatusCode;
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

/** Hands on what the container writes, from its first byte. Settles when it has written the last one; never rejects. */
async function followOutput(container: Container, onOutput: RunRequest["onOutput"]): Promise<void> {
  const header = { stdin: false, stdout: true, stderr: true };
  try {
    using conn = await new Promise<AttachConn | undefined>((resolve, reject) => {
      container.pendingAttach.add({
        // the start goes on when the stream is open: nothing is lost
        open: async (dir) => {
          try {
            resolve(await openAttach(dir, header));
          } catch (error) {
            reject(error);
          }
        },
        cancel: () => resolve(undefined),
      });
    });
    if (conn !== undefined) await readFrames(conn, (stream, data) => onOutput(stream, data.slice()));
  } catch {
    // the shim has died: the exit says so
  }
}

/** A container whose removal fails stays on disk until the next start of the engine. */
async function remove(ctx: BuildContext, container: Container): Promise<void> {
  try {
    await removeContainer(ctx, container, { force: true, volumes: false });
  } catch (error) {
    ctx.log.warn("cannot remove the container of a build", { id: container.id, error: messageOf(error) });
    await sweepContainer(ctx, container.id);
  }
}
