import { type ClientStream } from "../../engine/types.ts";
import { BodyInterrupted, BodyReader } from "./body.ts";
import { ByteSource, type RawConn } from "./byte_source.ts";
import { type Exchange, type Handler } from "./exchange.ts";
import {
  findHeadEnd,
  HttpError,
  MAX_AHEAD_BYTES,
  MAX_HEAD_BYTES,
  parseHead,
  type RequestHead,
} from "./head.ts";
import {
  chunkHead,
  type ConstantAnswers,
  CRLF,
  formatChunk,
  formatHead,
  isBodiless,
  joinHead,
  LAST_CHUNK,
  wholeBytes,
  wholeOf,
} from "./response.ts";
import { RawStream, writeAll } from "./raw_stream.ts";

/** What is read of a body that no handler wanted, so that the connection can be used again (as Go's server does). */
const DRAIN_LIMIT = 256 * 1024;
/** How long the client may take to notice that it is refused; until then its bytes are read and dropped. */
const LINGER_MS = 1_000;
const EMPTY = new Uint8Array(0);
/** From this size on a chunk is written without being copied. */
const LARGE_CHUNK = 64 * 1024;

export interface ConnectionOptions {
  readonly handler: Handler;
  /** From a head's first byte to its last. */
  readonly headTimeoutMs: number;
  /** How long a client may take to go once it has everything; default {@link LINGER_MS}. */
  readonly lingerMs?: number;
  /** All connections'. */
  readonly constants: ConstantAnswers;
  /** Receives what went wrong inside, for the engine's own log. */
  readonly log: (message: string, error?: unknown) => void;
}

interface TakeOver {
  readonly head: string;
  readonly run: (stream: ClientStream) => Promise<void>;
}

/** Reads requests from one connection and answers them, one after the other, until it is closed or taken over. */
export class Connection {
  readonly #conn: RawConn;
  readonly #options: ConnectionOptions;
  readonly #source: ByteSource;
  /** The request being answered. */
  #current: RequestExchange | undefined;
  #closing = false;
  #closed = false;

  constructor(conn: RawConn, options: ConnectionOptions) {
    this.#conn = conn;
    this.#options = options;
    this.#source = new ByteSource(conn);
  }

  /** Serves until the end; never rejects. */
  async run(): Promise<void> {
    try {
      while (await this.#serveOne());
    } catch (error) {
      // The client has gone in the middle of something: nobody is left to tell.
      if (!(error instanceof BodyInterrupted) && !isDisconnect(error)) {
        this.#options.log("connection failed", error);
      }
    } finally {
      this.#current?.abort();
      this.#current = undefined;
      this.close();
    }
  }

  /** Ends streams and idle waiting at once; a request that is being answered gets its answer first. */
  shutdown(): void {
    this.#closing = true;
    if (this.#current === undefined || this.takenOver) this.close();
    else this.#current.abort();
  }

  /** It is a stream of somebody's by now (attach, exec), which may last as long as a container. */
  get takenOver(): boolean {
    return this.#current?.taken !== undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // Closed already by whoever had taken it over.
    }
  }

  /** False when the connection is used up. */
  async #serveOne(): Promise<boolean> {
    let head: RequestHead | undefined;
    try {
      head = await this.#readHead();
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      await this.#refuse(error);
      return false;
    }
    if (head === undefined || this.#closing) return false;
    if (head.framing.kind === "none" && head.keepAlive && head.minor === 1) {
      const known = this.#options.constants.find(head.method, head.target);
      if (known !== undefined) {
        await this.#write(known);
        return true;
      }
    }
    const body = new BodyReader(
      this.#source,
      head.framing,
      head.expectContinue ? () => this.#write(CONTINUE) : undefined,
      () => exchange.watch(),
    );
    const exchange = new RequestExchange(this.#source, head, body);
    this.#current = exchange;
    if (body.done) exchange.watch();
    const response = await this.#handle(head, body, exchange);
    if (exchange.taken !== undefined) {
      await this.#handOver(exchange.taken, head, body);
      return false;
    }
    const keep = await this.#respond(response, head, body, exchange);
    this.#current = undefined;
    exchange.finished = true;
    return keep;
  }

  async #readHead(): Promise<RequestHead | undefined> {
    let searched = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      for (;;) {
        const bytes = this.#source.buffered;
        // An empty line before a request is left over from a careless client's last body (RFC 9112, 2.2).
        if (searched === 0 && bytes[0] === 13 && bytes[1] === 10) {
          this.#source.skip(2);
          continue;
        }
        const end = findHeadEnd(bytes, searched);
        if (end > MAX_HEAD_BYTES || (end < 0 && bytes.length > MAX_HEAD_BYTES)) {
          throw new HttpError(431, "request header is too large");
        }
        if (end >= 0) {
          const head = parseHead(bytes.subarray(0, end));
          this.#source.skip(end);
          return head;
        }
        searched = bytes.length > 1 ? bytes.length : 0;
        if (bytes.length > 0 && timer === undefined) {
          timer = setTimeout(() => this.close(), this.#options.headTimeoutMs);
        }
        if (!await this.#source.fill()) return undefined;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async #handle(head: RequestHead, body: BodyReader, exchange: RequestExchange): Promise<Response> {
    try {
      if (UNUSABLE_METHODS.has(head.method)) {
        return errorResponse(404, "page not found");
      }
      const init: RequestInit = { method: head.method, headers: head.headers };
      if (!body.done && head.method !== "GET" && head.method !== "HEAD") {
        init.body = body.takeWhole() ?? body.stream();
      }
      return await this.#options.handler(new Request(`http://localhost${head.target}`, init), exchange);
    } catch (error) {
      if (error instanceof HttpError) return errorResponse(error.status, error.message);
      if (error instanceof BodyInterrupted) return errorResponse(400, error.message);
      this.#options.log(`${head.method} ${head.target} failed`, error);
      return errorResponse(500, error instanceof Error ? error.message : String(error));
    }
  }

  /** Writes the response; true when the connection can take another request. */
  async #respond(
    response: Response,
    head: RequestHead,
    body: BodyReader,
    exchange: RequestExchange,
  ): Promise<boolean> {
    let keep = head.keepAlive && !this.#closing;
    if (!body.done && (body.unusable || body.unasked || (body.left ?? 0) > DRAIN_LIMIT)) keep = false;
    const closeLine = keep ? head.minor === 0 ? "Connection: keep-alive\r\n" : "" : "Connection: close\r\n";
    const known = response.headers.get("content-length");
    const noBody = isBodiless(response.status);
    const whole = wholeOf(response);
    if (whole !== undefined) {
      if (whole.constant) this.#options.constants.add(head.method, head.target, whole);
      await this.#write(wholeBytes(whole, head.method, closeLine));
    } else if (response.body === null || noBody || head.method === "HEAD") {
      await response.body?.cancel();
      // A stream has no length, so neither has the answer to its HEAD.
      const length = noBody || (known === null && response.body !== null) ? "" : `${known ?? 0}`;
      const framing = length === "" ? closeLine : `Content-Length: ${length}\r\n${closeLine}`;
      await this.#write(joinHead(formatHead(response.status, response.headers, framing), EMPTY));
    } else if (known !== null) {
      const bytes = await response.bytes();
      const framing = `Content-Length: ${bytes.length}\r\n${closeLine}`;
      await this.#write(joinHead(formatHead(response.status, response.headers, framing), bytes));
    } else {
      const chunked = head.minor === 1;
      if (!chunked) keep = false;
      const framing = chunked ? `${closeLine}Transfer-Encoding: chunked\r\n` : "Connection: close\r\n";
      const start = joinHead(formatHead(response.status, response.headers, framing), EMPTY);
      if (!await this.#stream(start, response.body, chunked, exchange)) return false;
    }
    if (keep && !body.done) {
      try {
        keep = await body.drain(DRAIN_LIMIT);
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        keep = false;
      }
    }
    if (!keep && !body.done) await this.#linger();
    return keep && !this.#closing;
  }

  /** False when the stream broke off: the missing end then tells the client so. */
  async #stream(
    head: Uint8Array,
    stream: ReadableStream<Uint8Array>,
    chunked: boolean,
    exchange: RequestExchange,
  ): Promise<boolean> {
    const reader = stream.getReader();
    const stop = () => void reader.cancel().catch(() => {});
    exchange.signal.addEventListener("abort", stop, { once: true });
    if (exchange.signal.aborted) stop();
    try {
      await this.#write(head);
      for (;;) {
        const { value, done } = await reader.read();
        if (exchange.signal.aborted) return false;
        if (done) break;
        if (value.length === 0) continue;
        if (chunked && value.length >= LARGE_CHUNK) {
          // three writes are cheaper than a copy of what is large
          await this.#write(chunkHead(value.length));
          await this.#write(value);
          await this.#write(CRLF);
        } else await this.#write(chunked ? formatChunk(value) : value);
      }
      if (chunked) await this.#write(LAST_CHUNK);
      return true;
    } catch (error) {
      if (!isDisconnect(error) && !(error instanceof BodyInterrupted)) {
        this.#options.log("response broke off", error);
      }
      // Whoever waits for something to send hears of it, too.
      exchange.abort();
      stop();
      return false;
    }
  }

  async #handOver(takeOver: TakeOver, head: RequestHead, body: BodyReader): Promise<void> {
    // After an upgrade the client speaks raw from here on. Otherwise a chunked body is the client's input.
    const rest = !body.done && body.chunked && !head.upgrade ? body : undefined;
    if (!body.done && !body.chunked) await body.drain(DRAIN_LIMIT);
    let ending: Promise<void> | undefined;
    const end = () =>
      ending ??= stream.settled().then(() => this.#linger()).catch(() => {}).finally(() => this.close());
    const stream = new RawStream(this.#conn, this.#source, rest, () => void end());
    try {
      await stream.write(joinHead(takeOver.head, EMPTY));
    } finally {
      // Also when the client is gone already: whoever asked for the connection waits for it.
      await takeOver.run(stream);
    }
    await end();
  }

  async #refuse(error: HttpError): Promise<void> {
    const bytes = await errorResponse(error.status, error.message).bytes();
    const framing = `Content-Length: ${bytes.length}\r\nConnection: close\r\n`;
    const head = formatHead(error.status, [["content-type", "application/json"]], framing);
    await this.#write(joinHead(head, bytes));
    await this.#linger();
  }

  /**
   * Closes in a way that lets the client read our last words: a reset would discard them. They must be out: how long the client takes to
   * read them is its own affair.
   */
  async #linger(): Promise<void> {
    const timer = setTimeout(() => this.close(), this.#options.lingerMs ?? LINGER_MS);
    try {
      await this.#conn.closeWrite();
      while (await this.#source.fill()) this.#source.skip(this.#source.length);
    } finally {
      clearTimeout(timer);
    }
  }

  #write(bytes: Uint8Array): Promise<void> {
    return writeAll(this.#conn, bytes);
  }
}

const CONTINUE = new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n");
/** The Fetch API's Request refuses to hold these. */
const UNUSABLE_METHODS = new Set(["CONNECT", "TRACE", "TRACK"]);

class RequestExchange implements Exchange {
  readonly #source: ByteSource;
  readonly #head: RequestHead;
  readonly #body: BodyReader;
  #controller: AbortController | undefined;
  #aborted = false;
  taken: TakeOver | undefined;
  finished = false;

  constructor(source: ByteSource, head: RequestHead, body: BodyReader) {
    this.#source = source;
    this.#head = head;
    this.#body = body;
  }

  /** Made on demand: most requests are over before anybody asks. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  get upgrade(): boolean {
    return this.#head.upgrade;
  }

  get bodyLength(): number | undefined {
    const { framing } = this.#head;
    return framing.kind === "length" ? framing.length : framing.kind === "none" ? 0 : undefined;
  }

  takeOver(head: string, run: (stream: ClientStream) => Promise<void>): Response {
    this.taken = { head, run };
    return new Response(null);
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }

  /**
   * The body has been read: from now on the only news can be the next request, or that the client is gone. What a client sends ahead is
   * kept as far as is sensible, because its end can be seen behind it only.
   */
  watch(): void {
    void this.#watch();
  }

  async #watch(): Promise<void> {
    while (this.#source.length < MAX_AHEAD_BYTES) {
      const more = await this.#source.fill();
      if (this.finished || this.taken !== undefined || !this.#body.done) return;
      if (!more) return this.abort();
    }
  }
}

function errorResponse(status: number, message: string): Response {
  const text = `${JSON.stringify({ message })}\n`;
  return new Response(text, {
    status,
    headers: { "content-type": "application/json", "content-length": `${text.length}` },
  });
}

/** The client, or close(), ended the connection under our hands. */
function isDisconnect(error: unknown): boolean {
  return error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted || error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted;
}
