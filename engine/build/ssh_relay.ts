import type { EngineContext } from "../context.ts";
import { socketRoot } from "./sweep.ts";

/** A path for a socket of a build's; nothing is there yet. */
export function newSocketPath(ctx: Pick<EngineContext, "execRoot">): string {
  const dir = socketRoot(ctx);
  Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
  return `${dir}/${crypto.getRandomValues(new Uint8Array(8)).toHex()}`;
}

/**
 * A socket that leads to another one, for one command: it belongs to the user that the Dockerfile names, and is gone with the command.
 * Its path must be short, so it is not where the command's other mounts are.
 */
export function relaySocket(
  ctx: Pick<EngineContext, "execRoot">,
  target: string,
  { mode, uid, gid }: { readonly mode: number; readonly uid: number; readonly gid: number },
): { readonly path: string; close(): void } {
  const path = newSocketPath(ctx);
  const listener = Deno.listen({ transport: "unix", path });
  Deno.chownSync(path, uid, gid);
  Deno.chmodSync(path, mode);
  const open = new Set<Deno.UnixConn>();
  void accept(listener, target, open);
  return {
    path,
    close: () => {
      listener.close();
      for (const conn of open) tryClose(conn);
      try {
        Deno.removeSync(path);
      } catch {
        // Deno has removed it
      }
    },
  };
}

async function accept(listener: Deno.UnixListener, target: string, open: Set<Deno.UnixConn>): Promise<void> {
  for (;;) {
    let client: Deno.UnixConn;
    try {
      client = await listener.accept();
    } catch {
      return;
    }
    open.add(client);
    void join(client, target, open).finally(() => {
      open.delete(client);
      tryClose(client);
    });
  }
}

async function join(client: Deno.UnixConn, target: string, open: Set<Deno.UnixConn>): Promise<void> {
  let agent: Deno.UnixConn;
  try {
    agent = await Deno.connect({ transport: "unix", path: target });
  } catch {
    return;
  }
  open.add(agent);
  const pipe = (from: Deno.UnixConn, to: Deno.UnixConn) =>
    from.readable.pipeTo(to.writable, { preventCancel: true }).catch(() => {});
  await Promise.race([pipe(client, agent), pipe(agent, client)]);
  open.delete(agent);
  tryClose(agent);
}

function tryClose(conn: Deno.UnixConn): void {
  try {
    conn.close();
  } catch {
    // closed by its stream
  }
}
