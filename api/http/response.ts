const encoder = new TextEncoder();
const EMPTY = new Uint8Array(0);

/** Reason phrases of RFC 9110 that the API uses; others go out without one. */
const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  201: "Created",
  204: "No Content",
  301: "Moved Permanently",
  304: "Not Modified",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  417: "Expectation Failed",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

/** "content-type" → "Content-Type", as Go's servers write it; people read these lines. */
const canonical = new Map<string, string>();
function canonicalName(name: string): string {
  let known = canonical.get(name);
  if (known === undefined) {
    known = name.replace(/(^|-)[a-z]/g, (letters) => letters.toUpperCase());
    if (canonical.size < 200) canonical.set(name, known);
  }
  return known;
}

let dateSecond = 0;
let dateText = "";
function httpDate(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}

/** A response whose every byte is known. */
export interface Whole {
  readonly body: Uint8Array;
  /** The status line and the response's own headers. */
  readonly start: string;
  /** Every client gets the same until the engine ends. */
  readonly constant: boolean;
}

const wholes = new WeakMap<Response, Whole>();

/**
 * A response whose body is known. The server sends these bytes as they are: to get them back out of the Response takes
 * a stream, a promise or two, and longer than to write them.
 *
 * @param constant every client gets the same for this method and target, whatever else it sends: the server need not ask again.
 */
export function wholeResponse(
  body: Uint8Array<ArrayBuffer>,
  status: number,
  headers: Readonly<Record<string, string>>,
  constant = false,
): Response {
  const response = new Response(body, { status, headers });
  wholes.set(response, { body, start: formatStart(status, Object.entries(headers)), constant });
  return response;
}

/** What is known of a {@link wholeResponse}; undefined for responses made in another way. */
export function wholeOf(response: Response): Whole | undefined {
  return wholes.get(response);
}

/** As many requests with constant answers are remembered: nobody asks for more, unless to fill the memory. */
const MAX_CONSTANTS = 32;

/** Answers that need not be asked for again, by method and target. */
export class ConstantAnswers {
  readonly #answers = new Map<string, { readonly whole: Whole; second: number; bytes: Uint8Array }>();

  /** The bytes of an answer on a connection that goes on; undefined when there is none to be remembered. */
  find(method: string, target: string): Uint8Array | undefined {
    const answer = this.#answers.get(`${method} ${target}`);
    if (answer === undefined) return undefined;
    const second = Math.floor(Date.now() / 1000);
    if (answer.second !== second) {
      answer.second = second;
      answer.bytes = wholeBytes(answer.whole, method, "");
    }
    return answer.bytes;
  }

  add(method: string, target: string, whole: Whole): void {
    if (this.#answers.size >= MAX_CONSTANTS) return;
    this.#answers.set(`${method} ${target}`, { whole, second: -1, bytes: EMPTY });
  }
}

/** All of a response; that to a HEAD has its length and no body. */
export function wholeBytes({ start, body }: Whole, method: string, closeLine: string): Uint8Array {
  const head = `${start}${formatEnd(`Content-Length: ${body.length}\r\n${closeLine}`)}`;
  return joinHead(head, method === "HEAD" ? EMPTY : body);
}

/** Responses with these codes never have a body (RFC 9110, 6.4.1). */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304 || status < 200;
}

/** The head of a response; `framing` are the header lines that tell where the body ends. */
export function formatHead(status: number, headers: Iterable<[string, string]>, framing: string): string {
  return formatStart(status, headers) + formatEnd(framing);
}

function formatStart(status: number, headers: Iterable<[string, string]>): string {
  let head = `HTTP/1.1 ${status} ${REASONS[status] ?? ""}\r\n`;
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (lower === "content-length" || lower === "transfer-encoding" || lower === "connection") continue;
    head += `${canonicalName(name)}: ${value}\r\n`;
  }
  return head;
}

const formatEnd = (framing: string): string => `Date: ${httpDate()}\r\n${framing}\r\n`;

/** Head and body in one piece, for one write. */
export function joinHead(head: string, body: Uint8Array): Uint8Array {
  const start = encoder.encode(head);
  if (body.length === 0) return start;
  const bytes = new Uint8Array(start.length + body.length);
  bytes.set(start);
  bytes.set(body, start.length);
  return bytes;
}

export const CRLF = encoder.encode("\r\n");
export const LAST_CHUNK = encoder.encode("0\r\n\r\n");

/** The line before a chunk of `length` bytes. */
export const chunkHead = (length: number): Uint8Array => encoder.encode(`${length.toString(16)}\r\n`);

/** One chunk of a chunked body. */
export function formatChunk(data: Uint8Array): Uint8Array {
  const size = chunkHead(data.length);
  const bytes = new Uint8Array(size.length + data.length + 2);
  bytes.set(size);
  bytes.set(data, size.length);
  bytes.set(CRLF, size.length + data.length);
  return bytes;
}
