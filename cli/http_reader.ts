/** Reading HTTP/1.1 responses off a connection: head, and bodies with a length, chunked, or up to the end. */

import type { EngineConnection } from "./connection.ts";

/** Largest head that is accepted, and largest line of a chunked body. */
const MAX_HEAD = 256 * 1024;
const READ_SIZE = 64 * 1024;

const decoder = new TextDecoder();

/** The peer closed the connection, or sent something that is not HTTP. */
export class HttpProtocolError extends Error {
  override readonly name = "HttpProtocolError";
}

export interface ResponseHead {
  readonly status: number;
  /** Names in lower case; a repeated header keeps its last value. */
  readonly headers: ReadonlyMap<string, string>;
  /** The connection can be used for another request once the body is read. */
  readonly keepAlive: boolean;
}

/** A connection with the bytes that were read but not yet used. */
export class BufferedReader {
  readonly #conn: Pick<EngineConnection, "read">;
  #pending: Uint8Array = new Uint8Array(0);
  readonly #space = new Uint8Array(READ_SIZE);

  constructor(conn: Pick<EngineConnection, "read">) {
    this.#conn = conn;
  }

  /** Next bytes, at most `limit` of them; null at the end. What is returned belongs to the caller. */
  async read(limit = READ_SIZE): Promise<Uint8Array | null> {
    if (this.#pending.length === 0) {
      const n = await this.#conn.read(this.#space);
      if (n === null) return null;
      this.#pending = this.#space.slice(0, n);
    }
    const taken = this.#pending.subarray(0, limit);
    this.#pending = this.#pending.subarray(taken.length);
    return taken;
  }

  /** Everything up to and with `end`, decoded. Throws `HttpProtocolError` when the peer stops before it. */
  async readUntil(end: string): Promise<string> {
    let from = 0;
    for (;;) {
      const at = find(this.#pending, end, from);
      if (at >= 0) {
        const text = decoder.decode(this.#pending.subarray(0, at + end.length));
        this.#pending = this.#pending.subarray(at + end.length);
        return text;
      }
      if (this.#pending.length > MAX_HEAD) throw new HttpProtocolError("response head is too large");
      from = Math.max(0, this.#pending.length - end.length);
      const n = await this.#conn.read(this.#space);
      if (n === null) {
        throw new HttpProtocolError(this.#pending.length === 0 ? "EOF" : "unexpected EOF");
      }
      const joined = new Uint8Array(this.#pending.length + n);
      joined.set(this.#pending);
      joined.set(this.#space.subarray(0, n), this.#pending.length);
      this.#pending = joined;
    }
  }
}

function find(bytes: Uint8Array, pattern: string, from: number): number {
  const first = pattern.charCodeAt(0);
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (at + pattern.length > bytes.length) return -1;
    let i = 1;
    while (i < pattern.length && bytes[at + i] === pattern.charCodeAt(i)) i++;
    if (i === pattern.length) return at;
  }
  return -1;
}

/** Reads a status line and headers; interim answers (100 Continue) are skipped. */
export async function readHead(reader: BufferedReader): Promise<ResponseHead> {
  for (;;) {
    const text = await reader.readUntil("\r\n\r\n");
    const lines = text.slice(0, -4).split("\r\n");
    const match = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(lines[0] ?? "");
    if (!match) {
      throw new HttpProtocolError(`malformed HTTP response ${JSON.stringify((lines[0] ?? "").slice(0, 80))}`);
    }
    const status = Number(match[2]);
    if (status >= 100 && status < 200 && status !== 101) continue;
    const headers = new Map<string, string>();
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(":");
      if (colon <= 0) throw new HttpProtocolError(`malformed header ${JSON.stringify(line.slice(0, 80))}`);
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    const connection = (headers.get("connection") ?? "").toLowerCase();
    const keepAlive = match[1] === "1" ? connection !== "close" : connection === "keep-alive";
    return { status, headers, keepAlive };
  }
}

/** Yields a body's bytes as they arrive; ends where the head says it ends. */
export async function* readBody(
  reader: BufferedReader,
  head: ResponseHead,
  method: string,
): AsyncGenerator<Uint8Array, void, void> {
  if (method === "HEAD" || head.status === 204 || head.status === 304) return;
  if ((head.headers.get("transfer-encoding") ?? "").toLowerCase().includes("chunked")) {
    yield* readChunks(reader);
    return;
  }
  const length = head.headers.get("content-length");
  if (length === undefined) {
    for (let bytes = await reader.read(); bytes !== null; bytes = await reader.read()) yield bytes;
    return;
  }
  if (!/^\d+$/.test(length)) throw new HttpProtocolError(`bad Content-Length ${JSON.stringify(length)}`);
  yield* readExactly(reader, Number(length));
}

async function* readExactly(reader: BufferedReader, length: number): AsyncGenerator<Uint8Array, void, void> {
  for (let left = length; left > 0;) {
    const bytes = await reader.read(left);
    if (bytes === null) throw new HttpProtocolError("unexpected EOF");
    left -= bytes.length;
    yield bytes;
  }
}

async function* readChunks(reader: BufferedReader): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const line = (await reader.readUntil("\r\n")).trim();
    const size = /^([0-9a-fA-F]{1,12})\s*(?:;.*)?$/.exec(line)?.[1];
    if (size === undefined) {
      throw new HttpProtocolError(`malformed chunk size ${JSON.stringify(line.slice(0, 40))}`);
    }
    const length = parseInt(size, 16);
    if (length === 0) break;
    yield* readExactly(reader, length);
    if (await reader.readUntil("\r\n") !== "\r\n") throw new HttpProtocolError("malformed chunk");
  }
  while (await reader.readUntil("\r\n") !== "\r\n") { /* trailers carry nothing for us */ }
}

/** True when the head says how long the body is, so that the connection outlives it. */
export function hasFraming(head: ResponseHead): boolean {
  return head.status === 204 || head.status === 304 || head.headers.has("content-length") ||
    (head.headers.get("transfer-encoding") ?? "").toLowerCase().includes("chunked");
}
