const encoder = new TextEncoder();

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

const wholeBodies = new WeakMap<Response, Uint8Array>();

/**
 * A response whose body is known. The server sends these bytes as they are: to get them back out of the Response takes
 * a stream, a promise or two, and longer than to write them.
 */
export function wholeResponse(body: Uint8Array<ArrayBuffer>, init: ResponseInit): Response {
  const response = new Response(body, init);
  wholeBodies.set(response, body);
  return response;
}

/** The bytes of {@link wholeResponse}; undefined for responses made in another way. */
export function wholeBody(response: Response): Uint8Array | undefined {
  return wholeBodies.get(response);
}

/** Responses with these codes never have a body (RFC 9110, 6.4.1). */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304 || status < 200;
}

/** The head of a response; `framing` are the header lines that tell where the body ends. */
export function formatHead(status: number, headers: Iterable<[string, string]>, framing: string): string {
  let head = `HTTP/1.1 ${status} ${REASONS[status] ?? ""}\r\n`;
  for (const [name, value] of headers) {
    if (name === "content-length" || name === "transfer-encoding" || name === "connection") continue;
    head += `${canonicalName(name)}: ${value}\r\n`;
  }
  return `${head}Date: ${httpDate()}\r\n${framing}\r\n`;
}

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
