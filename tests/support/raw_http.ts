/** A connection to a server under test, bytes as they are: what no HTTP client would send can be sent here. */

import { SLOWNESS } from "./processes.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A deadline for things that must happen, long enough for a machine that is busy. */
export const PATIENCE_MS = 20_000 * SLOWNESS;

export interface RawResponse {
  status: number;
  statusLine: string;
  headers: Map<string, string>;
  /** The whole body, unchunked. */
  body: string;
}

export class RawClient {
  #rest = new Uint8Array(0);
  readonly conn: Deno.Conn;

  private constructor(conn: Deno.Conn) {
    this.conn = conn;
  }

  static async connect(path: string): Promise<RawClient> {
    return new RawClient(await Deno.connect({ transport: "unix", path }));
  }

  async send(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? encoder.encode(data) : data;
    for (let sent = 0; sent < bytes.length;) sent += await this.conn.write(bytes.subarray(sent));
  }

  /** False at the end of the stream. */
  async #more(): Promise<boolean> {
    const buffer = new Uint8Array(65536);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("no answer")), PATIENCE_MS);
    });
    try {
      const count = await Promise.race([this.conn.read(buffer).catch(() => null), late]);
      if (count === null) return false;
      const joined = new Uint8Array(this.#rest.length + count);
      joined.set(this.#rest);
      joined.set(buffer.subarray(0, count), this.#rest.length);
      this.#rest = joined;
      return true;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Reads until `marker` and returns everything before and including it. */
  async until(marker: string): Promise<string> {
    for (;;) {
      const text = decoder.decode(this.#rest);
      const at = text.indexOf(marker);
      if (at >= 0) return decoder.decode(this.#cut(encoder.encode(text.slice(0, at + marker.length)).length));
      if (!await this.#more()) throw new Error(`connection ended at ${JSON.stringify(text)}`);
    }
  }

  #cut(length: number): Uint8Array {
    const bytes = this.#rest.slice(0, length);
    this.#rest = this.#rest.slice(length);
    return bytes;
  }

  async exactly(length: number): Promise<Uint8Array> {
    while (this.#rest.length < length) {
      if (!await this.#more()) {
        throw new Error(`connection ended after ${this.#rest.length} of ${length} bytes`);
      }
    }
    return this.#cut(length);
  }

  /** Everything up to the end of the connection. */
  async toEnd(): Promise<string> {
    while (await this.#more());
    return decoder.decode(this.#cut(this.#rest.length));
  }

  async head(): Promise<Omit<RawResponse, "body">> {
    const lines = (await this.until("\r\n\r\n")).split("\r\n");
    const statusLine = lines[0] ?? "";
    const headers = new Map<string, string>();
    for (const line of lines.slice(1, -2)) {
      const colon = line.indexOf(":");
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    return { status: Number(statusLine.split(" ")[1]), statusLine, headers };
  }

  /** One chunk's data; "" for the last. */
  async chunk(): Promise<string> {
    const size = parseInt(await this.until("\r\n"), 16);
    const data = decoder.decode(await this.exactly(size));
    await this.exactly(2);
    return data;
  }

  /** A whole response. `bodiless` for the answer to a HEAD. */
  async response(bodiless = false): Promise<RawResponse> {
    const head = await this.head();
    let body = "";
    if (!bodiless && head.status !== 204 && head.status !== 304) {
      const length = head.headers.get("content-length");
      if (head.headers.get("transfer-encoding") === "chunked") {
        for (let chunk = await this.chunk(); chunk !== ""; chunk = await this.chunk()) body += chunk;
      } else if (length !== undefined) {
        body = decoder.decode(await this.exactly(Number(length)));
      } else {
        body = await this.toEnd();
      }
    }
    return { ...head, body };
  }

  close(): void {
    try {
      this.conn.close();
    } catch {
      // Closed already.
    }
  }
}

/** One request on a connection of its own. */
export async function request(path: string, method: string, target: string, options: {
  headers?: Record<string, string>;
  body?: string | Uint8Array;
} = {}): Promise<RawResponse> {
  const client = await RawClient.connect(path);
  try {
    const { body, headers = {} } = options;
    const bytes = typeof body === "string" ? encoder.encode(body) : body;
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const length = bytes === undefined ? "" : `Content-Length: ${bytes.length}\r\n`;
    await client.send(`${method} ${target} HTTP/1.1\r\nHost: test\r\n${length}${lines}\r\n`);
    if (bytes !== undefined) await client.send(bytes);
    return await client.response(method === "HEAD");
  } finally {
    client.close();
  }
}

/** Polls until `condition` holds. */
export async function eventually(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
