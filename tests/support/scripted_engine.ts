/**
 * A server on a real Unix socket that answers with bytes a test writes down: for clients, whose behaviour depends on how
 * an answer is framed and when it comes.
 */

export interface ScriptedRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: ReadonlyMap<string, string>;
  /** The body, when it came with a length or in chunks; empty for a request that takes the connection over. */
  readonly body: Uint8Array;
}

export interface ScriptedConnection {
  /** Sends text or bytes as they are. */
  send(data: string | Uint8Array): Promise<void>;
  /** Sends a whole answer with a length. */
  answer(status: number, body?: unknown, headers?: Record<string, string>): Promise<void>;
  /** Bytes after the request; null when the peer has ended its side. */
  read(): Promise<Uint8Array | null>;
  close(): void;
}

export type Handler = (request: ScriptedRequest, connection: ScriptedConnection) => Promise<void>;

export interface ScriptedEngine extends AsyncDisposable {
  readonly path: string;
  readonly host: string;
  /** "METHOD /path?query" of every request, in the order they came. */
  readonly log: string[];
  readonly requests: ScriptedRequest[];
  /** Connections taken so far. */
  readonly connections: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Listens in a new temporary directory; a request the handler throws on closes its connection. */
export function scriptedEngine(handler: Handler): ScriptedEngine {
  const directory = Deno.makeTempDirSync({ prefix: "berth-cli-" });
  const path = `${directory}/s`;
  const listener = Deno.listen({ transport: "unix", path });
  const open = new Set<Deno.Conn>();
  const log: string[] = [];
  const requests: ScriptedRequest[] = [];
  let connections = 0;
  const accepting = (async () => {
    for await (const conn of listener) {
      connections++;
      open.add(conn);
      void serve(conn, handler, (request) => {
        log.push(`${request.method} ${request.target}`);
        requests.push(request);
      }).catch(() => {}).finally(() => {
        open.delete(conn);
        try {
          conn.close();
        } catch {
          // The handler closed it.
        }
      });
    }
  })();
  return {
    path,
    host: `unix://${path}`,
    log,
    requests,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const conn of open) conn.close();
      await accepting.catch(() => {});
      Deno.removeSync(directory, { recursive: true });
    },
  };
}

async function serve(
  conn: Deno.Conn,
  handler: Handler,
  note: (request: ScriptedRequest) => void,
): Promise<void> {
  let pending: Uint8Array = new Uint8Array(0);
  const more = async (): Promise<boolean> => {
    const space = new Uint8Array(65536);
    const n = await conn.read(space);
    if (n === null) return false;
    pending = Uint8Array.from([...pending, ...space.subarray(0, n)]);
    return true;
  };
  const line = async (): Promise<string | undefined> => {
    for (;;) {
      const end = pending.indexOf(10);
      if (end >= 0) {
        const text = decoder.decode(pending.subarray(0, end)).replace(/\r$/, "");
        pending = pending.subarray(end + 1);
        return text;
      }
      if (!await more()) return undefined;
    }
  };
  const exactly = async (length: number): Promise<Uint8Array> => {
    while (pending.length < length) if (!await more()) throw new Error("unexpected end");
    const bytes = pending.slice(0, length);
    pending = pending.subarray(length);
    return bytes;
  };
  for (;;) {
    const first = await line();
    if (first === undefined) return;
    const [method = "", target = ""] = first.split(" ");
    const headers = new Map<string, string>();
    for (let header = await line(); header; header = await line()) {
      const colon = header.indexOf(":");
      headers.set(header.slice(0, colon).toLowerCase(), header.slice(colon + 1).trim());
    }
    const parts: Uint8Array[] = [];
    if (headers.get("transfer-encoding") === "chunked") {
      for (let size = parseInt(await line() ?? "", 16); size > 0; size = parseInt(await line() ?? "", 16)) {
        parts.push(await exactly(size));
        await line();
      }
      await line();
    } else {
      parts.push(await exactly(Number(headers.get("content-length") ?? "0")));
    }
    const body = Uint8Array.from(parts.flatMap((part) => [...part]));
    const request = { method, target, headers, body };
    note(request);
    const send = async (data: string | Uint8Array) => {
      const bytes = typeof data === "string" ? encoder.encode(data) : data;
      for (let done = 0; done < bytes.length;) done += await conn.write(bytes.subarray(done));
    };
    await handler(request, {
      send,
      async answer(status, value, extra = {}) {
        const text = value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
        const all = { "Content-Length": String(encoder.encode(text).length), ...extra };
        const head = Object.entries(all).map(([name, header]) => `${name}: ${header}\r\n`).join("");
        // A body after the answer to HEAD would be taken for the start of the next answer.
        await send(`HTTP/1.1 ${status} X\r\n${head}\r\n${method === "HEAD" ? "" : text}`);
      },
      async read() {
        if (pending.length === 0 && !await more()) return null;
        const bytes = pending;
        pending = new Uint8Array(0);
        return bytes;
      },
      close: () => conn.close(),
    });
  }
}
