import type { ClientCall } from "./grpc.ts";
import { decode, encode } from "./protocol.ts";

/**
 * A unix socket whose connections go to the client's ssh agent, one call each.
 *
 * @param path of the socket, in a directory that only the engine may enter.
 * @param open starts a call of moby.sshforward.v1.SSH/ForwardAgent.
 */
export function forwardAgent(path: string, open: () => ClientCall): { readonly path: string; close(): void } {
  const listener = Deno.listen({ transport: "unix", path });
  const connections = new Set<Deno.Conn>();
  void (async () => {
    for await (const connection of listener) {
      connections.add(connection);
      void relay(connection, open).finally(() => connections.delete(connection));
    }
  })().catch(() => {});
  return {
    path,
    close() {
      try {
        listener.close();
      } catch {
        // closed before
      }
      for (const connection of connections) closeQuietly(connection);
      try {
        Deno.removeSync(path);
      } catch {
        // the engine's next start sweeps
      }
    },
  };
}

async function relay(connection: Deno.Conn, open: () => ClientCall): Promise<void> {
  let call: ClientCall | undefined;
  try {
    const { messages, send, end } = call = open();
    const there = async () => {
      const buffer = new Uint8Array(32 * 1024);
      for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
        await send(encode("Bytes", { data: buffer.slice(0, count) }));
      }
      end();
    };
    const back = async () => {
      for await (const message of messages) {
        const { data } = decode("Bytes", message);
        for (let written = 0; written < data.length;) {
          written += await connection.write(data.subarray(written));
        }
      }
    };
    there().catch(() => call?.cancel());
    await back();
  } catch {
    // Whoever uses the agent sees the connection end.
  } finally {
    call?.cancel();
    closeQuietly(connection);
  }
}

function closeQuietly(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // closed before
  }
}
