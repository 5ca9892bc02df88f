/**
 * HTTPS without a look at the certificate, for registries that the user has listed as insecure: `fetch` cannot do that,
 * Node's client can. Loaded only then.
 */
import { Buffer } from "node:buffer";
import { request as httpsRequest } from "node:https";
import { Readable } from "node:stream";
import type { HttpRequest } from "./transport.ts";

/** As `fetch` with `redirect: "manual"`. */
export function fetchUnverified(
  url: URL,
  request: HttpRequest,
  client: { cert: string; key: string } | undefined,
): Promise<Response> {
  const { method = "GET", headers = {}, body, signal } = request;
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(url, {
      method,
      headers: {
        ...headers,
        ...(typeof body === "string" || body instanceof Uint8Array
          ? { "Content-Length": String(Buffer.byteLength(body)) }
          : {}),
      },
      rejectUnauthorized: false,
      agent: false,
      ...client,
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
    if (body === undefined) outgoing.end();
    else if (typeof body === "string" || body instanceof Uint8Array) outgoing.end(body);
    else {Readable.fromWeb(body as never).on("error", (error: Error) => outgoing.destroy(error)).pipe(
        outgoing,
      );}
  });
}
