/**
 * gRPC over HTTP/2 on connections that exist already: as server after `POST /grpc`, and as client towards a server
 * that is at the other end of `POST /session`, where the roles are turned round. grpc-js has no client for such a connection.
 */
import type * as Http2 from "node:http2";
import type { Duplex } from "node:stream";
import { nodeBuiltin } from "../../base/node_builtin.ts";

const http2 = nodeBuiltin("node:http2");

/** Status codes (google.rpc.Code), those in use. */
export const CODE = {
  ok: 0,
  canceled: 1,
  unknown: 2,
  invalidArgument: 3,
  notFound: 5,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

export class GrpcError extends Error {
  override readonly name = "GrpcError";
  readonly code: number;
  /** Serialized google.rpc.Status with what clients know how to show; undefined: code and message are all. */
  readonly details: Uint8Array | undefined;

  constructor(code: number, message: string, details?: Uint8Array, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

/** BuildKit's own limit of a message is 16 MiB. */
const MAX_MESSAGE = 32 * 1024 * 1024;

/** A window of 64 KiB, HTTP/2's own, would let a local transfer wait for every round trip. */
const WINDOW = 4 * 1024 * 1024;

/** Metadata as a client sends it: lower case names, each with all its values. */
export type Metadata = Readonly<Record<string, readonly string[]>>;

export interface ServerCall {
  readonly metadata: Metadata;
  readonly messages: AsyncIterable<Uint8Array>;
  send(message: Uint8Array): Promise<void>;
  /** Aborted when the client cancels the call or goes away. */
  readonly signal: AbortSignal;
}

/** Answers a call; what it returns is sent as the last message. */
export type Method = (call: ServerCall) => Promise<Uint8Array | void>;

/** Serves calls on a connection until it ends. */
export function serveGrpc(connection: Duplex, methods: ReadonlyMap<string, Method>): Promise<void> {
  const server = http2.createServer({ settings: { initialWindowSize: WINDOW } });
  const ended = new Promise<void>((resolve) => connection.once("close", () => resolve()));
  // What is wrong with a connection ends that connection; its calls are aborted with their streams.
  const giveUp = () => connection.destroy();
  server.on("sessionError", giveUp);
  server.on("error", giveUp);
  server.on("session", (session) => session.once("close", giveUp));
  // the streams of a server's session are a server's
  server.on("stream", (stream, headers) => void answer(stream as Http2.ServerHttp2Stream, headers, methods));
  server.emit("connection", connection);
  return ended;
}

async function answer(
  stream: Http2.ServerHttp2Stream,
  headers: Http2.IncomingHttpHeaders,
  methods: ReadonlyMap<string, Method>,
): Promise<void> {
  const aborting = new AbortController();
  const abort = () => aborting.abort();
  stream.once("aborted", abort);
  stream.once("close", abort);
  stream.on("error", abort);
  const path = headers[":path"] ?? "";
  let trailers: Record<string, string> = { "grpc-status": "0" };
  let responded = false;
  const respond = () => {
    if (responded || stream.destroyed) return;
    responded = true;
    stream.once("wantTrailers", () => {
      if (!stream.destroyed) stream.sendTrailers(trailers);
    });
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  };
  const send = async (message: Uint8Array) => {
    respond();
    await writeMessage(stream, message);
  };
  try {
    const method = methods.get(path);
    if (method === undefined) {
      throw new GrpcError(CODE.unimplemented, `berth does not serve ${path.slice(1)}. ${WAY_OUT}`);
    }
    const call = {
      metadata: metadataOf(headers),
      messages: readMessages(stream),
      send,
      signal: aborting.signal,
    };
    const last = await method(call);
    if (last !== undefined) await send(last);
  } catch (error) {
    trailers = statusOf(error);
  }
  respond();
  if (!stream.destroyed) stream.end();
  // A client that still sends is told by now; what it sends is read off, so that its stream can end.
  stream.resume();
}

/** What users can do where berth's BuildKit API ends. */
export const WAY_OUT = "Use `berth build`, or the classic builder:  DOCKER_BUILDKIT=0 docker build …";

function metadataOf(headers: Http2.IncomingHttpHeaders): Metadata {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      value === undefined ? [] : Array.isArray(value) ? value : [value],
    ]),
  );
}

/**
 * Characters of a message, which may come to nine bytes each, and bytes of its details, of which three come to four: node sends 64 KiB
 * of headers at most.
 */
const MAX_STATUS_MESSAGE = 2 * 1024;
const MAX_STATUS_DETAILS = 24 * 1024;

function statusOf(error: unknown): Record<string, string> {
  const known = error instanceof GrpcError;
  const code = known ? error.code : CODE.unknown;
  const message = error instanceof Error ? error.message : String(error);
  const details = known ? error.details : undefined;
  return {
    "grpc-status": String(code),
    "grpc-message": percentEncode(
      message.length <= MAX_STATUS_MESSAGE ? message : `${message.slice(0, MAX_STATUS_MESSAGE)} …`,
    ),
    // clients show code and message when there are none
    ...(details !== undefined && details.length <= MAX_STATUS_DETAILS
      ? { "grpc-status-details-bin": btoa(String.fromCharCode(...details)) }
      : {}),
  };
}

/** gRPC's encoding of `grpc-message`: printable ASCII but "%" as it is. */
function percentEncode(text: string): string {
  let out = "";
  for (const byte of new TextEncoder().encode(text)) {
    out += byte >= 0x20 && byte <= 0x7e && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function writeMessage(stream: Http2.Http2Stream, message: Uint8Array): Promise<void> {
  if (stream.destroyed) throw new GrpcError(CODE.canceled, "the other side has gone");
  const framed = new Uint8Array(5 + message.length);
  new DataView(framed.buffer).setUint32(1, message.length);
  framed.set(message, 5);
  if (stream.write(framed)) return;
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: Error) => {
      stream.off("drain", settle);
      stream.off("close", close);
      if (error) reject(error);
      else resolve();
    };
    const close = () => settle(new GrpcError(CODE.canceled, "the other side has gone"));
    stream.once("drain", settle);
    stream.once("close", close);
  });
}

/** Cuts a stream into messages. */
async function* readMessages(stream: Http2.Http2Stream): AsyncGenerator<Uint8Array> {
  let chunks: Uint8Array[] = [];
  let length = 0;
  const take = (count: number): Uint8Array => {
    const out = new Uint8Array(count);
    let filled = 0;
    while (filled < count) {
      const [first = new Uint8Array()] = chunks;
      const part = first.subarray(0, count - filled);
      out.set(part, filled);
      filled += part.length;
      if (part.length === first.length) chunks = chunks.slice(1);
      else chunks[0] = first.subarray(part.length);
    }
    length -= count;
    return out;
  };
  let wanted: number | undefined;
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.length;
    for (;;) {
      if (wanted === undefined) {
        if (length < 5) break;
        const head = take(5);
        if (head[0] !== 0) throw new GrpcError(CODE.unimplemented, "compressed messages are not supported");
        wanted = new DataView(head.buffer).getUint32(1);
        if (wanted > MAX_MESSAGE) {
          throw new GrpcError(
            CODE.resourceExhausted,
            `message of ${wanted} bytes is larger than ${MAX_MESSAGE}`,
          );
        }
      }
      if (length < wanted) break;
      yield take(wanted);
      wanted = undefined;
    }
  }
  if (length > 0 || wanted !== undefined) {
    throw new GrpcError(CODE.unavailable, "the stream ended in the middle of a message");
  }
}

/** The message of a call that has one. Reads to the end: leaving earlier would end the whole stream. */
export async function onlyMessage({ messages }: Pick<ServerCall, "messages">): Promise<Uint8Array> {
  let first: Uint8Array | undefined;
  for await (const message of messages) first ??= message;
  return first ?? new Uint8Array();
}

export interface ClientCall {
  send(message: Uint8Array): Promise<void>;
  /** No more messages from here. */
  end(): void;
  /** @throws {GrpcError} when the call ends with another status than OK. */
  readonly messages: AsyncIterable<Uint8Array>;
  cancel(): void;
}

/** Cancels a call when the signal says so, or has said so. Disposing of the answer ends that. */
export function cancelBy(signal: AbortSignal, call: Pick<ClientCall, "cancel">): Disposable {
  const cancel = () => call.cancel();
  if (signal.aborted) cancel();
  else signal.addEventListener("abort", cancel, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", cancel) };
}

/** Rejects when the signal says so, or has said so. */
export function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const give = () => reject(new GrpcError(CODE.canceled, "context canceled"));
    if (signal.aborted) give();
    else signal.addEventListener("abort", give, { once: true });
  });
}

/** Calls a server at the other end of a connection. */
export class GrpcClient {
  readonly #session: Http2.ClientHttp2Session;
  /** Settles when the connection has ended. */
  readonly closed: Promise<void>;

  constructor(connection: Duplex) {
    this.#session = http2.connect("http://localhost", {
      createConnection: () => connection,
      settings: { initialWindowSize: WINDOW, enablePush: false },
    });
    this.closed = new Promise((resolve) => connection.once("close", () => resolve()));
    this.#session.on("error", () => connection.destroy());
    this.#session.once("close", () => connection.destroy());
  }

  /** @param metadata with several values for a name where there are several. */
  call(path: string, metadata: Metadata = {}): ClientCall {
    if (this.#session.destroyed || this.#session.closed) {
      throw new GrpcError(CODE.unavailable, "the client's session has ended");
    }
    const headers: Record<string, string | string[]> = {
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    };
    for (const [name, values] of Object.entries(metadata)) headers[name] = [...values];
    const stream = this.#session.request(headers);
    let status: Http2.IncomingHttpHeaders = {};
    let failure: Error | undefined;
    const note = (received: Http2.IncomingHttpHeaders) => {
      if (received["grpc-status"] !== undefined) status = received;
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("error", (error: Error) => failure = error);
    const ended = new Promise<void>((resolve) => stream.once("close", () => resolve()));
    async function* messages(): AsyncGenerator<Uint8Array> {
      try {
        yield* readMessages(stream);
      } catch (error) {
        failure ??= error instanceof Error ? error : new Error(String(error));
      }
      await ended;
      const code = status["grpc-status"];
      if (code === undefined) {
        const why = failure?.message ?? "the client's session has ended";
        throw new GrpcError(CODE.unavailable, why, undefined, { cause: failure });
      }
      if (code !== "0") {
        throw new GrpcError(Number(code), percentDecode(String(status["grpc-message"] ?? "")));
      }
    }
    return {
      send: (message) => writeMessage(stream, message),
      end: () => stream.end(),
      messages: messages(),
      cancel: () => stream.close(http2.constants.NGHTTP2_CANCEL),
    };
  }

  /** One message there, one back. */
  async unary(
    path: string,
    message: Uint8Array,
    signal: AbortSignal,
    metadata?: Metadata,
  ): Promise<Uint8Array> {
    const call = this.call(path, metadata);
    using _cancel = cancelBy(signal, call);
    await call.send(message);
    call.end();
    let answer: Uint8Array | undefined;
    for await (const received of call.messages) answer ??= received;
    if (answer === undefined) throw new GrpcError(CODE.internal, `${path.slice(1)} has answered nothing`);
    return answer;
  }

  close(): void {
    this.#session.destroy();
  }
}
