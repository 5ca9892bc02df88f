/** A client of an engine's API that is cheap enough not to be what is measured: one connection, one request at a time. */

const encoder = new TextEncoder();
const decoder = new TextDecoder("latin1");
const LAST_CHUNK = "\r\n0\r\n\r\n";

export interface Answer {
  readonly status: number;
  /** Unchunked; only made when it is asked for. */
  readonly text: () => string;
}

export class ApiConnection implements Disposable {
  readonly #conn: Deno.Conn;
  #buffer = new Uint8Array(256 * 1024);

  private constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  static async open(socket: string): Promise<ApiConnection> {
    return new ApiConnection(await Deno.connect({ transport: "unix", path: socket }));
  }

  static request(method: string, path: string, body?: unknown, extra = ""): Uint8Array<ArrayBuffer> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const type = body === undefined ? "" : "Content-Type: application/json\r\n";
    return encoder.encode(
      `${method} ${path} HTTP/1.1\r\nHost: d\r\n${type}${extra}Content-Length: ${
        encoder.encode(text).length
      }\r\n\r\n${text}`,
    );
  }

  /** Sends a request and reads the whole answer, which has a length or is chunked. */
  async send(request: Uint8Array): Promise<Answer> {
    for (let sent = 0; sent < request.length;) sent += await this.#conn.write(request.subarray(sent));
    let filled = 0;
    let head: { length: number | undefined; end: number; status: number } | undefined;
    for (;;) {
      if (filled === this.#buffer.length) {
        const larger = new Uint8Array(filled * 2);
        larger.set(this.#buffer);
        this.#buffer = larger;
      }
      const count = await this.#conn.read(this.#buffer.subarray(filled));
      if (count === null) throw new Error("the engine closed the connection");
      filled += count;
      if (head === undefined) {
        const text = decoder.decode(this.#buffer.subarray(0, Math.min(filled, 4096)));
        const end = text.indexOf("\r\n\r\n");
        if (end < 0) continue;
        const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1];
        const status = Number(text.slice(9, 12));
        head = {
          length: length !== undefined ? Number(length) : status === 204 || status === 304 ? 0 : undefined,
          end: end + 4,
          status,
        };
      }
      const whole = head.length === undefined
        ? decoder.decode(this.#buffer.subarray(filled - LAST_CHUNK.length, filled)) === LAST_CHUNK
        : filled >= head.end + head.length;
      if (!whole) continue;
      const { status, end, length } = head;
      const bytes = this.#buffer;
      const last = filled;
      return { status, text: () => bodyText(bytes.slice(end, last), length === undefined) };
    }
  }

  /** A request whose answer must be a success; its JSON. */
  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    const { status, text } = await this.send(ApiConnection.request(method, path, body));
    if (status >= 400) throw new Error(`${method} ${path}: ${status} ${text()}`);
    return status === 204 || text() === "" ? undefined : JSON.parse(text());
  }

  /** Sends a request whose answer lasts until the other side closes, and reads it to the end: bytes of all of it. */
  async stream(request: Uint8Array): Promise<number> {
    for (let sent = 0; sent < request.length;) sent += await this.#conn.write(request.subarray(sent));
    let total = 0;
    for (;;) {
      const count = await this.#conn.read(this.#buffer);
      if (count === null) return total;
      total += count;
    }
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }
}

function bodyText(bytes: Uint8Array, chunked: boolean): string {
  const utf8 = new TextDecoder();
  if (!chunked) return utf8.decode(bytes);
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const line = bytes.indexOf(10, at);
    const size = parseInt(decoder.decode(bytes.subarray(at, line)), 16);
    if (!(size > 0)) break;
    text += utf8.decode(bytes.subarray(line + 1, line + 1 + size), { stream: true });
    at = line + 1 + size + 2;
  }
  return text;
}
