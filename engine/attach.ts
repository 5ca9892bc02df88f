import { conflict } from "../base/errors.ts";
import type { AttachHeader } from "../runtime/protocol.ts";
import type { Container, PendingAttach } from "./container.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { parseDetachKeys } from "./detach_keys.ts";
import { relay } from "./relay.ts";
import { replayLogs } from "./logs.ts";
import { type AttachConn, openAttach } from "./shim_client.ts";
import type { AttachOptions, ClientStream } from "./types.ts";

/**
 * Attaches a client to a container's standard streams; resolves when the stream is over.
 *
 * A container that does not run yet may be attached to: the stream is opened at its next start, before its process
 * runs, so that nothing is lost.
 *
 * @throws {EngineError} invalid detach keys; conflict for a container that is being removed.
 */
export async function attachContainer(
  ctx: EngineContext,
  container: Container,
  options: AttachOptions,
  onReady: (info: { tty: boolean }) => Promise<ClientStream>,
): Promise<void> {
  const tty = container.record.config.Tty ?? false;
  const keys = parseDetachKeys(options.detachKeys);
  if (container.removed || container.record.state.status === "removing") {
    throw conflict(`container ${container.id} is marked for removal`);
  }
  if (container.record.state.paused) {
    throw conflict(`container ${container.id} is paused, unpause the container before attach`);
  }
  const header: AttachHeader = {
    stdin: options.stdin && (container.record.config.OpenStdin ?? false),
    stdout: options.stdout,
    stderr: options.stderr,
  };
  // Asked for before the client hears that it is attached: its next word may be the start.
  const stream = options.stream ? streamOf(container, header) : undefined;
  stream?.catch(() => {});
  let client: ClientStream;
  try {
    client = await onReady({ tty });
  } catch (error) {
    stream?.then((conn) => conn?.close(), () => {});
    throw error;
  }
  try {
    containerEvent(ctx, container.record, "attach");
    if (options.logs) await replayLogs(container, options, client);
    const conn = await stream;
    if (conn === undefined) return;
    const how = await relay(conn, client, {
      stdin: header.stdin,
      output: options.stdout || options.stderr,
      inputEnd: (container.record.config.StdinOnce ?? false) && !tty ? "stdin" : "relay",
      detachKeys: tty ? keys : undefined,
    });
    if (how === "detached") containerEvent(ctx, container.record, "detach");
    else await client.closeWrite().catch(() => {});
  } finally {
    client.close();
    // relay() has closed it, unless something went wrong before that
    stream?.then((conn) => conn?.close(), () => {});
  }
}

/** A stream of the run that goes on or is about to, or else of the next one; undefined when none will come. */
function streamOf(container: Container, header: AttachHeader): Promise<AttachConn | undefined> {
  const { status } = container.record.state;
  const dir = container.record.shim?.dir;
  // A shim that has been told nothing yet takes clients already.
  if ((status === "running" || status === "starting") && dir !== undefined) return openAttach(dir, header);
  return new Promise((resolve, reject) => {
    const pending: PendingAttach = {
      open: async (shimDir) => {
        try {
          resolve(await openAttach(shimDir, header));
        } catch (error) {
          reject(error);
        }
      },
      cancel: () => resolve(undefined),
    };
    container.pendingAttach.add(pending);
  });
}
