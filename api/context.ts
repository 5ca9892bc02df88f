/** What every route has at hand. */
import { type Context, type Hono } from "hono";
import * as z from "zod/mini";
import { EngineError, invalid, messageOf } from "../base/errors.ts";
import { type ClientStream, type Engine } from "../engine/types.ts";
import { type Exchange } from "./http/exchange.ts";
import { decode } from "./schemas/go.ts";
import { compareVersions } from "./version.ts";

export interface AppEnv {
  Bindings: Partial<Exchange>;
  Variables: { apiVersion: string };
}
export type App = Hono<AppEnv>;
export type AppContext = Context<AppEnv>;
export type Log = (message: string, error?: unknown) => void;

/** What the route files are given to work with. */
export interface Services {
  readonly engine: Engine;
  readonly log: Log;
}

/** No JSON that Docker's clients send comes near this. */
const MAX_JSON_BYTES = 4 * 1024 * 1024;
const NEVER = new AbortController().signal;

/** Whether the client speaks at least this version. */
export const atLeast = (c: AppContext, version: string): boolean =>
  compareVersions(c.var.apiVersion, version) >= 0;

/** Aborted when the client goes away. */
export const signalOf = (c: AppContext): AbortSignal => c.env?.signal ?? NEVER;

/** `{id}` or `{name}` of the path. */
export function pathName(c: AppContext): string {
  const name = c.req.param("name");
  if (name === undefined || name === "") throw invalid("page not found");
  return name;
}

/** The query's parameters as `schema` (of {@link module:schemas/query}) says; others are ignored. */
export function readQuery<T extends z.core.$ZodType>(c: AppContext, schema: T): z.output<T> {
  return z.parse(schema, c.req.query());
}

/** The request's body as it comes. */
export function rawBody(c: AppContext): ReadableStream<Uint8Array> {
  return c.req.raw.body ?? new ReadableStream({ start: (controller) => controller.close() });
}

/**
 * Reads and checks a JSON body.
 *
 * @param struct name of the body in error messages.
 * @param optional an empty body stands for `{}`, as in most routes of Docker.
 * @throws EngineError "invalid" with Docker's words.
 */
export async function readJson<T extends z.core.$ZodType>(
  c: AppContext,
  schema: T,
  struct: string,
  optional: boolean,
): Promise<z.output<T>> {
  checkContentType(c);
  const length = c.env?.bodyLength;
  const text = length !== undefined && length <= MAX_JSON_BYTES
    ? await c.req.raw.text()
    : await readText(c.req.raw.body);
  if (text.trim() === "") {
    if (optional && text === "") return decode(schema, {}, struct);
    throw invalid("invalid JSON: got EOF while reading request body");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`invalid JSON: ${messageOf(error)}`);
  }
  return decode(schema, value ?? {}, struct);
}

function checkContentType(c: AppContext): void {
  const type = c.req.header("content-type") ?? "";
  if (type === "" && c.req.raw.body === null) return;
  const media = type.split(";", 1)[0]?.trim().toLowerCase();
  if (media === "") throw invalid(`malformed Content-Type header (${type}): mime: no media type`);
  if (media !== "application/json") {
    throw invalid(`unsupported Content-Type header (${type}): must be 'application/json'`);
  }
}

async function readText(body: ReadableStream<Uint8Array> | null): Promise<string> {
  if (body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > MAX_JSON_BYTES) throw invalid(`request body is larger than ${MAX_JSON_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Another way of taking a connection over than Docker's own. */
export interface Takeover {
  /** The whole response head, blank line included. */
  head(): string;
  /** What the handler reads and writes, on top of the bare connection. */
  dress(raw: ClientStream, tty: boolean): ClientStream;
}

/**
 * Takes the connection over once `start` has found its target and calls `ready`; until then its errors are ordinary
 * responses. `failed` is told of errors after that, with the stream to say so on; the connection closes either way.
 *
 * @param as default: raw bytes, as Docker's clients expect.
 * @param headers more lines of the head, each with its end.
 */
export function hijack(
  c: AppContext,
  start: (ready: (info: { tty: boolean }) => Promise<ClientStream>) => Promise<void>,
  failed: (error: unknown, stream: ClientStream, tty: boolean) => Promise<void>,
  as?: Takeover,
  headers = "",
): Promise<Response> {
  const { takeOver, upgrade = false } = c.env ?? {};
  if (takeOver === undefined) throw new EngineError("invalid", "hijack connection missing");
  const multiplexing = atLeast(c, "1.42");
  return new Promise((resolve, reject) => {
    const finished = start(({ tty }) =>
      new Promise((give) => {
        const head = as?.head() ?? hijackHead(upgrade, multiplexing && !tty, headers);
        const response = takeOver.call(c.env, head, async (raw) => {
          const stream = as?.dress(raw, tty) ?? raw;
          give(stream);
          try {
            await finished;
          } catch (error) {
            await failed(error, stream, tty);
          }
        });
        resolve(response);
      })
    );
    finished.catch(reject);
  });
}

/** Docker writes exactly these lines, and its clients compare more of them than they should. */
function hijackHead(upgrade: boolean, multiplexed: boolean, headers: string): string {
  if (!upgrade) return `HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n${headers}\r\n`;
  const type = multiplexed ? "multiplexed-stream" : "raw-stream";
  return `HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.${type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n${headers}\r\n`;
}

/** Of "error" clients make a failure of their own. */
const STREAMS = { stdout: 1, stderr: 2, error: 3 } as const;
/** One frame of Docker's multiplexed stream: type, three zeros, big-endian length, data. */
export function frame(stream: keyof typeof STREAMS, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  bytes[0] = STREAMS[stream];
  new DataView(bytes.buffer).setUint32(4, data.length);
  bytes.set(data, 8);
  return bytes;
}
