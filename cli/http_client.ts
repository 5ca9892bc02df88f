/**
 * A small HTTP/1.1 client for one server: keeps connections alive, streams bodies both ways, and hands a connection over
 * for attach and exec. Deno's fetch would do for the rest, but cannot half-close or take a connection over.
 */

import type { EngineConnection } from "./connection.ts";
import {
  BufferedReader,
  hasFraming,
  HttpProtocolError,
  readBody,
  readHead,
  type ResponseHead,
} from "./http_reader.ts";
import { concat } from "../base/concat.ts";

const encoder = new TextEncoder();

export interface HttpRequest {
  readonly method: string;
  /** Path and query, already encoded. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes go out with a Content-Length, anything else chunked as it comes. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array> | undefined;
  /** Called when all but a streamed body is written: what can be done while the server is at it. */
  readonly sent?: (() => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A connection that was taken over: raw bytes both ways. */
export interface HijackedConnection extends Disposable {
  readonly head: ResponseHead;
  /** Next bytes from the peer, null at its end. */
  read(): Promise<Uint8Array | null>;
  write(bytes: Uint8Array): Promise<void>;
  /** Half-close: the peer reads the end of our stream and may go on writing. */
  closeWrite(): Promise<void>;
  close(): void;
}

interface Connection {
  readonly conn: EngineConnection;
  readonly reader: BufferedReader;
  /** Has been idle, so that the peer may have closed it meanwhile. */
  used: boolean;
  /** Listens to the signal of the request that is being served. */
  abort?: () => void;
}

/** Writes all of `bytes`. */
export async function writeAll(
  writer: { write(p: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await writer.write(bytes.subarray(done));
}

export class HttpResponse {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly #body: AsyncGenerator<Uint8Array, void, void>;

  constructor(head: ResponseHead, body: AsyncGenerator<Uint8Array, void, void>) {
    this.status = head.status;
    this.headers = head.headers;
    this.#body = body;
  }

  /** The body's bytes as they arrive; leaving the loop early closes the connection. */
  body(): AsyncIterable<Uint8Array> {
    return this.#body;
  }

  async text(): Promise<string> {
    const decoder = new TextDecoder();
    let text = "";
    for await (const bytes of this.#body) text += decoder.decode(bytes, { stream: true });
    return text + decoder.decode();
  }

  async json(): Promise<unknown> {
    const text = await this.text();
    return text.trim() === "" ? null : JSON.parse(text);
  }
}

export class HttpClient implements Disposable {
  readonly #dial: () => Promise<EngineConnection>;
  readonly #host: string;
  readonly #idle: Connection[] = [];
  readonly #busy = new Set<Connection>();

  /**
   * @param dial makes a new connection to the server.
   * @param host value of the Host header.
   */
  constructor(dial: () => Promise<EngineConnection>, host: string) {
    this.#dial = dial;
    this.#host = host;
  }

  /** Sends a request and returns once the head of the answer is there. */
  async request(request: HttpRequest): Promise<HttpResponse> {
    const { connection, head } = await this.#exchange(request, this.#headers(request));
    return new HttpResponse(head, this.#ownBody(connection, head, request));
  }

  /**
   * Sends a request that takes the connection over. When the answer is an error, its response is returned instead.
   */
  async hijack(request: HttpRequest): Promise<HijackedConnection | HttpResponse> {
    const headers = { ...this.#headers(request), Connection: "Upgrade", Upgrade: "tcp" };
    const { connection, head } = await this.#exchange(request, headers);
    if (head.status !== 101 && head.status !== 200) {
      return new HttpResponse(head, this.#ownBody(connection, head, request));
    }
    const { conn, reader } = connection;
    const close = () => this.#close(connection);
    return {
      head,
      read: () => reader.read(),
      write: (bytes) => writeAll(conn, bytes),
      closeWrite: () => conn.closeWrite(),
      close,
      [Symbol.dispose]: close,
    };
  }

  /** Opens connections ahead until `count` are idle. What fails is met, and told, by the request that needs one. */
  open(count: number): void {
    for (let i = this.#idle.length; i < count; i++) {
      this.#dial().then(
        (conn) => this.#idle.push({ conn, reader: new BufferedReader(conn), used: true }),
        () => {},
      );
    }
  }

  /** Closes every connection, also those whose bodies are still being read. */
  [Symbol.dispose](): void {
    for (const connection of [...this.#idle, ...this.#busy]) this.#close(connection);
  }

  #headers(request: HttpRequest): Record<string, string> {
    const { body } = request;
    const headers: Record<string, string> = { Host: this.#host, ...request.headers };
    if (body instanceof Uint8Array) headers["Content-Length"] = String(body.length);
    else if (body !== undefined) headers["Transfer-Encoding"] = "chunked";
    else if (request.method !== "GET" && request.method !== "HEAD") headers["Content-Length"] = "0";
    return headers;
  }

  async #exchange(
    request: HttpRequest,
    headers: Record<string, string>,
  ): Promise<{ connection: Connection; head: ResponseHead }> {
    for (;;) {
      request.signal?.throwIfAborted();
      const connection = await this.#connect();
      connection.abort = () => this.#close(connection);
      request.signal?.addEventListener("abort", connection.abort, { once: true });
      try {
        request.signal?.throwIfAborted();
        return { connection, head: await this.#roundTrip(connection, request, headers) };
      } catch (error) {
        this.#close(connection);
        request.signal?.throwIfAborted();
        // A kept connection may have been closed by the server just then; nothing was answered, so ask again.
        const repeatable = request.body === undefined || request.body instanceof Uint8Array;
        if (connection.used && repeatable && isDisconnect(error)) continue;
        throw error;
      }
    }
  }

  async #roundTrip(
    connection: Connection,
    request: HttpRequest,
    headers: Record<string, string>,
  ): Promise<ResponseHead> {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const start = encoder.encode(`${request.method} ${request.target} HTTP/1.1\r\n${lines}\r\n`);
    const { body } = request;
    if (body === undefined) {
      await writeAll(connection.conn, start);
    } else if (body instanceof Uint8Array) {
      await writeAll(connection.conn, concat([start, body]));
    } else {
      return await this.#upload(connection, start, body);
    }
    request.sent?.();
    return await readHead(connection.reader);
  }

  /** Sends a chunked body while it listens: a server that refuses a body answers before it has read all of it. */
  async #upload(
    connection: Connection,
    start: Uint8Array,
    body: AsyncIterable<Uint8Array>,
  ): Promise<ResponseHead> {
    const { conn } = connection;
    const sending = (async () => {
      await writeAll(conn, start);
      // What comes before a chunk's bytes: the bytes themselves are not copied for it.
      let before: Uint8Array = new Uint8Array();
      for await (const bytes of body) {
        if (bytes.length === 0) continue;
        const size = encoder.encode(`${bytes.length.toString(16)}\r\n`);
        if (bytes.length < SMALL_CHUNK) await writeAll(conn, concat([before, size, bytes]));
        else {
          await writeAll(conn, concat([before, size]));
          await writeAll(conn, bytes);
        }
        before = CRLF;
      }
      await writeAll(conn, concat([before, encoder.encode("0\r\n\r\n")]));
    })();
    let sent = false;
    const failed = sending.then(() => {
      sent = true;
      return new Promise<never>(() => {});
    });
    const answer = readHead(connection.reader);
    answer.catch(() => {});
    let head: ResponseHead;
    try {
      head = await Promise.race([answer, failed]);
    } catch (error) {
      // Writing failed: the server may have closed its side after it said why. Its answer is the better error.
      if (!isDisconnect(error)) throw error;
      head = await answer;
    }
    return sent ? head : { ...head, keepAlive: false };
  }

  async #connect(): Promise<Connection> {
    const kept = this.#idle.pop();
    if (kept !== undefined) {
      this.#busy.add(kept);
      return kept;
    }
    const conn = await this.#dial();
    const connection: Connection = { conn, reader: new BufferedReader(conn), used: false };
    this.#busy.add(connection);
    return connection;
  }

  async *#ownBody(
    connection: Connection,
    head: ResponseHead,
    request: HttpRequest,
  ): AsyncGenerator<Uint8Array, void, void> {
    let whole = false;
    try {
      yield* readBody(connection.reader, head, request.method);
      whole = head.keepAlive && hasFraming(head);
    } catch (error) {
      request.signal?.throwIfAborted();
      throw error;
    } finally {
      if (connection.abort) request.signal?.removeEventListener("abort", connection.abort);
      if (whole) {
        this.#busy.delete(connection);
        connection.used = true;
        this.#idle.push(connection);
      } else {
        this.#close(connection);
      }
    }
  }

  #close(connection: Connection): void {
    this.#busy.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    try {
      connection.conn.close();
    } catch {
      // Closed before, by an abort.
    }
  }
}

const CRLF = encoder.encode("\r\n");
/** Below this, one more write costs more than the copy. */
const SMALL_CHUNK = 16 * 1024;

/** The other side went away, as against an error of ours. */
export function isDisconnect(error: unknown): boolean {
  return error instanceof HttpProtocolError || error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.UnexpectedEof ||
    error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.NotConnected;
}
