/** How the API answers: every response is made here, so every response has Docker's headers. */
import { EngineError, HTTP_STATUS, messageOf } from "../base/errors.ts";
import { API_VERSION, VERSION } from "../base/version.ts";
import { BodyInterrupted } from "./http/body.ts";
import { HttpError } from "./http/head.ts";
import { wholeResponse } from "./http/response.ts";

const BASE_HEADERS: Readonly<Record<string, string>> = {
  "Api-Version": API_VERSION,
  "Docker-Experimental": "false",
  "Ostype": "linux",
  "Server": `Berth/${VERSION} (linux)`,
};

/** The same as lines of a head: Docker has them on exec's streams, and not on attach's. */
export const baseHeaderLines = (): string =>
  Object.entries(BASE_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`).join("");

const encoder = new TextEncoder();

function known(
  status: number,
  type: string,
  text: string,
  extra?: Record<string, string>,
  constant?: boolean,
): Response {
  const bytes = encoder.encode(text);
  const headers = { ...BASE_HEADERS, "Content-Type": type, "Content-Length": `${bytes.length}`, ...extra };
  return wholeResponse(bytes, status, headers, constant);
}

/** @param extra headers; those that are set on the response later are not sent. */
export const json = (value: unknown, status = 200, extra?: Record<string, string>): Response =>
  known(status, "application/json", `${JSON.stringify(value)}\n`, extra);

/** Text that no request and no moment changes. */
export const constantText = (text: string, extra: Record<string, string>): Response =>
  known(200, "text/plain; charset=utf-8", text, extra, true);

/** 204, 304, and whatever else has no body. */
export const bare = (status: number, extra?: Record<string, string>): Response =>
  new Response(null, { status, headers: { ...BASE_HEADERS, ...extra } });

/**
 * 200 whose head is sent at once and whose body follows piece by piece. When the client goes away the iterator is
 * returned; when it throws the connection breaks off, which is how a client learns that this was not the end.
 */
export function stream(chunks: AsyncIterable<Uint8Array>, type: string): Response {
  const iterator = chunks[Symbol.asyncIterator]();
  let begun = false;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      begun = true;
      const { value, done } = await iterator.next();
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      // A generator that was never begun does not come to its `finally`, where it lets go of what it holds.
      if (!begun) await iterator.next();
      await iterator.return?.();
    },
  }, { highWaterMark: 0 });
  return new Response(body, { headers: { ...BASE_HEADERS, "Content-Type": type } });
}

/** One line of a JSON stream, ended as Docker's stream formatter ends it. */
export const jsonLine = (value: unknown): Uint8Array => encoder.encode(`${JSON.stringify(value)}\r\n`);

/** What a program's failure is in a stream: its exit code belongs to it. */
export class StreamFailure extends EngineError {
  readonly code: number;

  constructor(message: string, code: number) {
    super("invalid", message);
    this.code = code;
  }
}

/** How a stream tells of an error after its 200 (`error` is the older of the two forms). */
export const streamError = (error: unknown): Record<string, unknown> => {
  const message = messageOf(error);
  const code = error instanceof StreamFailure ? { code: error.code } : {};
  return { errorDetail: { ...code, message }, error: message };
};

/** Every command line shows the message and nothing else: what to type now belongs to it. */
const withHint = ({ message, hint }: EngineError): string =>
  hint === undefined ? message : `${message}\n\n${hint}`;

/** The answer to a failed request: Docker's status for the kind of error, and {"message"}. Never a stack trace. */
export function errorReply(error: unknown, log: (message: string, error?: unknown) => void): Response {
  if (error instanceof EngineError) {
    const status = HTTP_STATUS[error.kind];
    if (status === 304) return bare(status);
    if (status === 500) log(error.message, error.cause);
    return json({ message: withHint(error) }, status);
  }
  if (error instanceof HttpError) return json({ message: error.message }, error.status);
  if (error instanceof BodyInterrupted) return json({ message: error.message }, 400);
  log(messageOf(error), error);
  return json({ message: messageOf(error) }, 500);
}
