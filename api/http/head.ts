/**
 * Request heads, strictly after RFC 9112. Whatever two programs could read differently (that is how requests are
 * smuggled) is refused instead of guessed: the connection gets a 4xx and is closed.
 */

/** A request that is answered by the server itself with `status` and {"message"}, and then closed. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** How a request's body is delimited. */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" };

export interface RequestHead {
  readonly method: string;
  /** Path and query, always beginning with "/" (or "*" for OPTIONS). */
  readonly target: string;
  /** HTTP/1.0 clients get neither chunks nor keep-alive by default. */
  readonly minor: 0 | 1;
  readonly headers: [string, string][];
  readonly framing: Framing;
  readonly keepAlive: boolean;
  readonly expectContinue: boolean;
  /** The client sent an Upgrade header (Docker looks at nothing else). */
  readonly upgrade: boolean;
}

/** Bytes of a request's head, its first line included, before 431: Go's limit. X-Registry-Config has a token for each registry. */
export const MAX_HEAD_BYTES = 1024 * 1024;
/** Bytes of trailers after a body, and of requests that are sent ahead of an answer, that are kept. */
export const MAX_AHEAD_BYTES = 64 * 1024;
/** Header lines of a request before 431. */
export const MAX_HEADERS = 200;

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/**
 * Visible ASCII only; "#" never goes over the wire, and a backslash is not a URI. Neither are raw quotes and angle brackets, but Go takes them, and
 * people send `curl -g 'http://d/containers/json?filters={"label":["a=b"]}'`.
 */
const TARGET = /^[!"$-[\]_a-z|~^{}`]+$/;
const BAD_ESCAPE = /%(?![0-9a-fA-F]{2})/;
/** Everything but HTAB, visible ASCII, space and obs-text. */
// deno-lint-ignore no-control-regex
const BAD_VALUE = /[\x00-\x08\x0a-\x1f\x7f]/;
const latin1 = new TextDecoder("latin1");

/**
 * Position just after the blank line that ends a head, or -1. `from` is where the last search ended, so that a head
 * that arrives byte by byte costs linear time.
 */
export function findHeadEnd(bytes: Uint8Array, from: number): number {
  let at = Math.max(0, from - 3);
  for (;;) {
    at = bytes.indexOf(10, at);
    if (at < 0) return -1;
    if (at >= 3 && bytes[at - 1] === 13 && bytes[at - 2] === 10 && bytes[at - 3] === 13) return at + 1;
    at++;
  }
}

/**
 * Parses a head, `bytes` being everything up to and including the blank line.
 *
 * @throws HttpError 400 for anything malformed or ambiguous, 431 for too many headers, 501 for an unknown coding.
 */
export function parseHead(bytes: Uint8Array): RequestHead {
  const lines = latin1.decode(bytes.subarray(0, bytes.length - 4)).split("\r\n");
  const { method, target, minor } = parseRequestLine(lines[0] ?? "");
  if (lines.length - 1 > MAX_HEADERS) throw new HttpError(431, "too many request headers");
  const headers: [string, string][] = [];
  let hosts = 0;
  let length: number | undefined;
  let chunked = false;
  let connection = "";
  let expect: string | undefined;
  let upgrade = false;
  for (let i = 1; i < lines.length; i++) {
    const [name, value] = parseHeaderLine(lines[i] ?? "");
    switch (name) {
      case "host":
        hosts++;
        break;
      case "content-length":
        if (length !== undefined) throw new HttpError(400, "too many Content-Length headers");
        if (!/^[0-9]{1,15}$/.test(value)) throw new HttpError(400, `bad Content-Length "${value}"`);
        length = Number(value);
        break;
      case "transfer-encoding":
        if (chunked) throw new HttpError(400, "too many transfer encodings");
        if (value.toLowerCase() !== "chunked") {
          throw new HttpError(501, `unsupported transfer encoding: "${value}"`);
        }
        chunked = true;
        break;
      case "connection":
        connection += `,${value.toLowerCase()}`;
        break;
      case "expect":
        expect = expect === undefined ? value.toLowerCase() : "";
        break;
      case "upgrade":
        upgrade = true;
        break;
    }
    headers.push([name, value]);
  }
  if (hosts > 1) throw new HttpError(400, "too many Host headers");
  if (hosts === 0 && minor === 1) throw new HttpError(400, "missing required Host header");
  if (chunked && length !== undefined) {
    throw new HttpError(400, "both Content-Length and Transfer-Encoding were given");
  }
  if (chunked && minor === 0) throw new HttpError(400, "Transfer-Encoding in an HTTP/1.0 request");
  if (expect !== undefined && expect !== "100-continue") {
    throw new HttpError(417, "the only expectation that can be met is 100-continue");
  }
  const options = connection === "" ? [] : connection.split(",").map((option) => option.trim());
  const framing: Framing = chunked
    ? { kind: "chunked" }
    : length !== undefined && length > 0
    ? { kind: "length", length }
    : { kind: "none" };
  return {
    method,
    target,
    minor,
    headers,
    framing,
    keepAlive: !options.includes("close") && (minor === 1 || options.includes("keep-alive")),
    expectContinue: expect !== undefined && minor === 1 && framing.kind !== "none",
    upgrade,
  };
}

function parseRequestLine(line: string): { method: string; target: string; minor: 0 | 1 } {
  const [method, target, version, ...rest] = line.split(" ");
  if (method === undefined || target === undefined || version === undefined || rest.length > 0) {
    throw new HttpError(400, "malformed HTTP request");
  }
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0") {
    throw new HttpError(400, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  if (!TOKEN.test(method)) throw new HttpError(400, "invalid method");
  return { method, target: originForm(method, target), minor: version === "HTTP/1.1" ? 1 : 0 };
}

/** Reduces `http://host/path` to `/path`: a server must understand both (RFC 9112, 3.2.2). */
function originForm(method: string, target: string): string {
  if (target === "*" && method === "OPTIONS") return "/";
  if (!TARGET.test(target) || BAD_ESCAPE.test(target)) throw new HttpError(400, "invalid request target");
  if (target.startsWith("/")) return target;
  const absolute = /^https?:\/\/[^/?]+(.*)$/i.exec(target);
  if (absolute === null) throw new HttpError(400, "invalid request target");
  const rest = absolute[1] ?? "";
  return rest.startsWith("/") ? rest : `/${rest}`;
}

/** `[name in lower case, value]` of one header line (also of a trailer). */
export function parseHeaderLine(line: string): [string, string] {
  const colon = line.indexOf(":");
  const name = colon < 0 ? "" : line.slice(0, colon);
  // A name that is no token covers folded lines and blanks before the colon, too.
  if (!TOKEN.test(name)) throw new HttpError(400, "malformed header line");
  const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "");
  if (BAD_VALUE.test(value)) throw new HttpError(400, "invalid header value");
  return [name.toLowerCase(), value];
}
