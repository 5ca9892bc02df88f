import { digestOf } from "../../base/digest.ts";
import { EngineError, invalid } from "../../base/errors.ts";
import { Authorization } from "./authorization.ts";
import type { Endpoint } from "./endpoints.ts";
import { ConnectionError, errorOf, RegistryError } from "./errors.ts";
import { MANIFEST_ACCEPT } from "./media_types.ts";
import type { RegistryAuth } from "./settings.ts";
import type { HttpRequest, Transport } from "./transport.ts";

/** A manifest or an index as a registry gave it, verified where its digest was known before. */
export interface FetchedManifest {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Registries refuse larger ones (distribution, manifests.go). */
const MAX_MANIFEST = 4 * 1024 * 1024;
/** Pages of a list of tags: more than any repository has. */
const MAX_PAGES = 1000;

/** One repository at one registry (OCI distribution-spec; Docker Registry HTTP API V2). */
export class RegistryClient {
  readonly endpoint: Endpoint;
  /** `library/busybox` */
  readonly path: string;
  readonly #transport: Transport;
  readonly #authorization: Authorization;

  /** @param scopes what tokens must permit, for example `repository:library/busybox:pull`. */
  constructor(
    endpoint: Endpoint,
    path: string,
    transport: Transport,
    auth: RegistryAuth | undefined,
    scopes: readonly string[],
  ) {
    this.endpoint = endpoint;
    this.path = path;
    this.#transport = transport;
    this.#authorization = new Authorization(transport, endpoint.mirror ? undefined : auth, scopes);
  }

  get identityToken(): string | undefined {
    return this.#authorization.identityToken;
  }

  /** Keeps its connections for work that may outlive whoever has begun it. */
  hold(): Disposable {
    return this.#transport.hold();
  }

  url(rest: string): string {
    return `${this.endpoint.base}/v2/${this.path}/${rest}`;
  }

  /**
   * Sends a request, proving who the user is when the registry asks for it. The answer may have any status but 401.
   *
   * @param body made anew for a second attempt.
   */
  async send(
    url: string,
    request: Omit<HttpRequest, "body"> & { body?: () => HttpRequest["body"] } = {},
  ): Promise<Response> {
    for (let attempt = 0;; attempt++) {
      // an upload may have been sent to a host of its own, which says in the address who may write
      const own = new URL(url).host === new URL(this.endpoint.base).host;
      const used = own ? this.#authorization.header : undefined;
      const body = request.body?.();
      const response = await this.#transport.fetch(url, {
        ...(request.method === undefined ? {} : { method: request.method }),
        signal: request.signal,
        prompt: request.method === undefined || request.method === "GET" || request.method === "HEAD",
        headers: { ...request.headers, ...(used === undefined ? {} : { Authorization: used }) },
        ...(body === undefined ? {} : { body }),
      });
      if (response.status !== 401 || !own || attempt >= 2) return response;
      if (!await this.#authorization.renew(response, used, request.signal)) return response;
      await response.body?.cancel();
    }
  }

  /** As {@link send}; throws RegistryError for anything but the statuses in `expected`. */
  async expect(
    url: string,
    expected: readonly number[],
    request: Parameters<RegistryClient["send"]>[1] = {},
  ): Promise<Response> {
    const response = await this.send(url, request);
    if (!expected.includes(response.status)) throw await errorOf(response);
    return response;
  }

  /**
   * @param reference tag or digest.
   * @throws {EngineError} invalid when the answer does not match the digest.
   */
  async manifest(reference: string, signal?: AbortSignal): Promise<FetchedManifest> {
    const response = await this.expect(this.url(`manifests/${reference}`), [200], {
      headers: { Accept: MANIFEST_ACCEPT.join(", ") },
      signal,
    });
    const bytes = await wholeBody(response, MAX_MANIFEST, "manifest");
    const digest = await digestOf(bytes);
    const claimed = reference.includes(":") ? reference : undefined;
    if (claimed !== undefined && claimed !== digest) {
      throw invalid(`manifest verification failed for digest ${claimed}`);
    }
    return { mediaType: mediaTypeOf(response, bytes), digest, bytes };
  }

  /** Digest, size and media type of a manifest without its content; undefined when there is none. */
  async headManifest(reference: string, signal?: AbortSignal): Promise<{ digest: string } | undefined> {
    const response = await this.send(this.url(`manifests/${reference}`), {
      method: "HEAD",
      headers: { Accept: MANIFEST_ACCEPT.join(", ") },
      signal,
    });
    await response.body?.cancel();
    const digest = response.headers.get("docker-content-digest");
    return response.status === 200 && digest !== null ? { digest } : undefined;
  }

  /** A small blob, whole and verified: an image's configuration. */
  async smallBlob(digest: string, size: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    if (size > MAX_MANIFEST) throw invalid(`blob ${digest} is too large: ${size} bytes`);
    const response = await this.expect(this.url(`blobs/${digest}`), [200], { signal });
    const bytes = await wholeBody(response, MAX_MANIFEST, "blob");
    if (await digestOf(bytes) !== digest) {
      throw invalid(`image config verification failed for digest ${digest}`);
    }
    return bytes;
  }

  /** Starts to read a blob at `offset`. `from` tells where the answer begins: registries may ignore the range. */
  async blob(
    digest: string,
    offset: number,
    signal: AbortSignal,
  ): Promise<{ body: ReadableStream<Uint8Array>; from: number }> {
    const response = await this.expect(this.url(`blobs/${digest}`), [200, 206], {
      headers: { "Accept-Encoding": "identity", ...(offset > 0 ? { Range: `bytes=${offset}-` } : {}) },
      signal,
    });
    let from = 0;
    if (response.status === 206) {
      from = Number(/^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1] ?? offset);
      if (!(from <= offset)) {
        await response.body?.cancel();
        throw new RegistryError(`registry answered another range than was asked for: ${from}`, 500, "");
      }
    }
    return { body: response.body ?? new ReadableStream({ start: (c) => c.close() }), from };
  }

  /** Size of a blob; undefined when the registry does not have it. */
  async statBlob(digest: string, signal?: AbortSignal): Promise<number | undefined> {
    const response = await this.send(this.url(`blobs/${digest}`), { method: "HEAD", signal });
    await response.body?.cancel();
    if (response.status === 404) return undefined;
    if (response.status !== 200) throw await errorOf(response);
    return Number(response.headers.get("content-length") ?? 0);
  }

  /** All tags, page by page. */
  async tags(signal?: AbortSignal): Promise<string[]> {
    const tags: string[] = [];
    let url: string | undefined = this.url("tags/list");
    for (let page = 0; url !== undefined && page < MAX_PAGES; page++) {
      const response: Response = await this.expect(url, [200], { signal });
      const answer = await response.json() as { tags?: unknown };
      if (Array.isArray(answer.tags)) tags.push(...answer.tags.filter((tag) => typeof tag === "string"));
      const next = /<([^>]+)>;\s*rel="?next"?/.exec(response.headers.get("link") ?? "")?.[1];
      url = next === undefined ? undefined : new URL(next, url).href;
    }
    return tags;
  }

  /** Stores a manifest; answers its digest as the registry has it. */
  async putManifest(
    reference: string,
    mediaType: string,
    bytes: Uint8Array<ArrayBuffer>,
    signal?: AbortSignal,
  ): Promise<void> {
    const response = await this.expect(this.url(`manifests/${reference}`), [200, 201, 202], {
      method: "PUT",
      headers: { "Content-Type": mediaType },
      body: () => bytes,
      signal,
    });
    await response.body?.cancel();
  }
}

async function wholeBody(response: Response, limit: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of response.body ?? []) {
      length += chunk.length;
      if (length > limit) throw invalid(`${what} is too large: more than ${limit} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof EngineError || error instanceof DOMException) throw error;
    throw new ConnectionError("GET", response.url, error);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** What a manifest says that it is counts before what the server says (image-spec, "mediaType"). */
function mediaTypeOf(response: Response, bytes: Uint8Array): string {
  try {
    const value = JSON.parse(new TextDecoder().decode(bytes)) as
      | { mediaType?: unknown; schemaVersion?: unknown; manifests?: unknown }
      | null;
    if (typeof value?.mediaType === "string") return value.mediaType;
    if (value?.schemaVersion === 1) return "application/vnd.docker.distribution.manifest.v1+json";
    const told = response.headers.get("content-type")?.split(";", 1)[0]?.trim() ?? "";
    if (told.includes("manifest") || told.includes("index")) return told;
    return Array.isArray(value?.manifests)
      ? "application/vnd.oci.image.index.v1+json"
      : "application/vnd.oci.image.manifest.v1+json";
  } catch {
    throw invalid("the registry's manifest is no JSON");
  }
}
