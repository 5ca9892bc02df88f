import { defineCommand } from "../command.ts";
import type { EngineConnection } from "../connection.ts";
import { writeAll } from "../http_client.ts";

const PIECE = 64 * 1024;

/** What ssh runs on the machine of an engine: bytes pass between the standard streams and its socket, until the engine ends its side. */
export const command = defineCommand({
  flags: {},
  usage: "",
  count: { min: 0, max: 0 },
  async run({ client }) {
    const conn = await client.dial();
    send(conn).catch(() => {});
    await pass(conn, Deno.stdout);
    conn.close();
  },
});

async function send(conn: EngineConnection): Promise<void> {
  await pass(Deno.stdin, conn);
  await conn.closeWrite();
}

async function pass(
  from: Pick<EngineConnection, "read">,
  to: Pick<EngineConnection, "write">,
): Promise<void> {
  const piece = new Uint8Array(PIECE);
  for (;;) {
    const length = await from.read(piece);
    if (length === null) return;
    await writeAll(to, piece.subarray(0, length));
  }
}
