/**
 * HTTP where `fetch` says no: registries that the user has listed as insecure, whose certificate is not looked at,
 * registries that sign for themselves, and registries at ports that browsers must not use. Loaded only then.
 */
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { nodeBuiltin } from "../../base/node_builtin.ts";
import type { HttpRequest } from "./transport.ts";

const { request: httpRequest } = nodeBuiltin("node:http");
const { request: httpsRequest } = nodeBuiltin("node:https");
const { isIP } = nodeBuiltin("node:net");
const { Readable } = nodeBuiltin("node:stream");
const { rootCertificates } = nodeBuiltin("node:tls");

interface ClientPair {
  readonly cert: string;
  readonly key: string;
}

/** As `fetch` with `redirect: "manual"`, without a look at the certificate. */
export function fetchUnverified(
  url: URL,
  request: HttpRequest,
  client: ClientPair | undefined,
): Promise<Response> {
  return send(url, request, { rejectUnauthorized: false, ...client });
}

/**
 * As {@link fetchUnverified}, for a server whose certificate is itself among the authorities: `fetch` takes no
 * authority's certificate for a server's, but that is what most guides have people make. Nothing is sent before the
 * connection's certificate was compared with the given ones.
 */
export function fetchPinned(
  url: URL,
  request: HttpRequest,
  client: ClientPair | undefined,
  authorities: readonly string[],
): Promise<Response> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const check = (raw: Uint8Array | undefined) =>
    raw === undefined ? "no certificate" : refusal(new X509Certificate(raw), host, authorities);
  return send(url, request, { rejectUnauthorized: false, ...client }, check);
}

/** As `fetch` with `redirect: "manual"`, whatever the port, and never by way of a proxy. */
export function fetchAtAnyPort(
  url: URL,
  request: HttpRequest,
  client: ClientPair | undefined,
  authorities: readonly string[],
): Promise<Response> {
  return send(url, request, { ca: [...rootCertificates, ...authorities], ...client });
}

/** Why a server's certificate is not good; undefined when it is. */
function refusal(
  certificate: X509Certificate,
  host: string,
  authorities: readonly string[],
): string | undefined {
  const known = authorities.some((pem) => {
    try {
      return new X509Certificate(pem).fingerprint256 === certificate.fingerprint256;
    } catch {
      return false;
    }
  });
  if (!known) return "UnknownIssuer";
  const matches = isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host);
  if (matches === undefined) return `not valid for name ${JSON.stringify(host)}`;
  const now = Date.now();
  if (now < Date.parse(certificate.validFrom)) return "NotValidYet";
  return now > Date.parse(certificate.validTo) ? "Expired" : undefined;
}

/** @param check what is wrong with the server's certificate; nothing is sent before it has said that nothing is. */
function send(
  url: URL,
  request: HttpRequest,
  options: Record<string, unknown>,
  check?: (raw: Uint8Array | undefined) => string | undefined,
): Promise<Response> {
  const { method = "GET", headers = {}, body, signal } = request;
  const whole = typeof body === "string" || body instanceof Uint8Array;
  return new Promise((resolve, reject) => {
    const outgoing = (url.protocol === "http:" ? httpRequest : httpsRequest)(url, {
      method,
      headers: { ...headers, ...(whole ? { "Content-Length": String(Buffer.byteLength(body)) } : {}) },
      agent: false,
      ...options,
      ...(signal === undefined ? {} : { signal }),
    }, (incoming) => {
      const status = incoming.statusCode ?? 0;
      const answer = new Headers();
      for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
        answer.append(incoming.rawHeaders[i] ?? "", incoming.rawHeaders[i + 1] ?? "");
      }
      const empty = method === "HEAD" || status === 204 || status === 304;
      if (empty) incoming.resume();
      const stream = empty
        ? null
        : Readable.toWeb(incoming) as unknown as ReadableStream<Uint8Array<ArrayBuffer>>;
      const statusText = incoming.statusMessage ?? "";
      const response = new Response(stream, { status, statusText, headers: answer });
      Object.defineProperty(response, "url", { value: url.href });
      resolve(response);
    });
    outgoing.on("error", reject);
    const write = () => {
      if (body === undefined) outgoing.end();
      else if (whole) outgoing.end(body);
      else {Readable.fromWeb(body as never).on("error", (error: Error) => outgoing.destroy(error)).pipe(
          outgoing,
        );}
    };
    if (check === undefined) return write();
    outgoing.once("socket", (socket) => {
      const tls = socket as TLSSocket;
      tls.once("secureConnect", () => {
        const problem = check(tls.getPeerX509Certificate()?.raw);
        if (problem === undefined) write();
        else outgoing.destroy(new Error(`invalid peer certificate: ${problem}`));
      });
    });
  });
}
