/**
 * A registry in this process, with images in memory, that a test can make misbehave: each request first goes to
 * `intercept`. Serves pulls and takes pushes.
 */
import { createHash } from "node:crypto";
import type { BuiltImage } from "./image_archive.ts";

export interface RegistryRequest {
  readonly method: string;
  /** `/v2/…` with its query. */
  readonly path: string;
  readonly headers: Headers;
}

export type Intercept = (
  request: Request,
  path: string,
  registry: FakeRegistry,
) => Response | undefined | Promise<Response | undefined>;

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const encode = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

const OCI = "application/vnd.oci.image";

export interface StoredManifest {
  readonly mediaType: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export class FakeRegistry implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly blobs = new Map<string, Uint8Array<ArrayBuffer>>();
  /** By `repository:tag` and `repository@digest`. */
  readonly manifests = new Map<string, StoredManifest>();
  /** `repository` has `digest`. */
  readonly has = new Set<string>();
  readonly requests: RegistryRequest[] = [];
  readonly #uploads = new Map<string, Uint8Array<ArrayBuffer>>();
  intercept: Intercept = () => undefined;

  /** @param port 0: any. */
  constructor(tls?: { cert: string; key: string }, port = 0) {
    this.#server = Deno.serve({
      port,
      hostname: "127.0.0.1",
      onListen() {},
      onError: () => new Response(null, { status: 500 }),
      ...tls,
    }, (request) => this.#handle(request)) as Deno.HttpServer<Deno.NetAddr>;
  }

  /** `127.0.0.1:port` */
  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  addBlob(repository: string, bytes: Uint8Array<ArrayBuffer>): { digest: string; size: number } {
    const digest = sha256(bytes);
    this.blobs.set(digest, bytes);
    this.has.add(`${repository} ${digest}`);
    return { digest, size: bytes.length };
  }

  addManifest(repository: string, tag: string | undefined, mediaType: string, value: unknown): {
    mediaType: string;
    digest: string;
    size: number;
  } {
    const bytes = encode(value);
    const digest = sha256(bytes);
    this.manifests.set(`${repository}@${digest}`, { mediaType, bytes });
    if (tag !== undefined) this.manifests.set(`${repository}:${tag}`, { mediaType, bytes });
    return { mediaType, digest, size: bytes.length };
  }

  /** Publishes an image; answers its manifest's descriptor. */
  add(
    repository: string,
    tag: string | undefined,
    image: BuiltImage,
    layerType = `${OCI}.layer.v1.tar+gzip`,
  ): { mediaType: string; digest: string; size: number } {
    const config = this.addBlob(repository, new TextEncoder().encode(image.configJson));
    return this.addManifest(repository, tag, `${OCI}.manifest.v1+json`, {
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      config: { mediaType: `${OCI}.config.v1+json`, ...config },
      layers: image.layers.map(({ bytes }) => ({
        mediaType: layerType,
        ...this.addBlob(repository, new Uint8Array(bytes)),
      })),
    });
  }

  /** Paths of the requests of one method. */
  paths(method: string): string[] {
    return this.requests.filter((request) => request.method === method).map(({ path }) => path);
  }

  async #handle(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const path = pathname + search;
    this.requests.push({ method: request.method, path, headers: request.headers });
    return await this.intercept(request, path, this) ?? await this.serve(request);
  }

  /** The registry as it should be. */
  async serve(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/v2/") return new Response("{}");
    const match = /^\/v2\/(.+)\/(manifests|blobs|tags)\/(.*)$/.exec(pathname);
    if (match === null) return new Response("404 page not found", { status: 404 });
    const [, name = "", kind = "", rest = ""] = match;
    const upload = /^(.+)\/blobs\/uploads\/(.*)$/.exec(`${name}/${kind}/${rest}`);
    if (upload) return await this.#upload(request, upload[1] ?? "", upload[2] ?? "", searchParams);
    if (kind === "manifests") return await this.#manifest(request, name, rest);
    if (kind === "tags") {
      const tags = [...this.manifests.keys()].filter((key) => key.startsWith(`${name}:`)).map((key) =>
        key.slice(name.length + 1)
      );
      return Response.json({ name, tags });
    }
    return this.#blob(request, name, rest);
  }

  async #manifest(request: Request, name: string, reference: string): Promise<Response> {
    const key = reference.includes(":") ? `${name}@${reference}` : `${name}:${reference}`;
    if (request.method === "PUT") {
      const bytes = new Uint8Array(await request.arrayBuffer());
      const mediaType = request.headers.get("content-type") ?? "";
      this.manifests.set(key, { mediaType, bytes }).set(`${name}@${sha256(bytes)}`, { mediaType, bytes });
      return new Response(null, { status: 201, headers: { "Docker-Content-Digest": sha256(bytes) } });
    }
    const manifest = this.manifests.get(key);
    if (manifest === undefined) return refusal(404, "MANIFEST_UNKNOWN", "manifest unknown");
    return new Response(request.method === "HEAD" ? null : manifest.bytes, {
      headers: { "Content-Type": manifest.mediaType, "Docker-Content-Digest": sha256(manifest.bytes) },
    });
  }

  #blob(request: Request, name: string, digest: string): Response {
    const bytes = this.has.has(`${name} ${digest}`) ? this.blobs.get(digest) : undefined;
    if (bytes === undefined) return refusal(404, "BLOB_UNKNOWN", "blob unknown to registry");
    if (request.method === "HEAD") {
      return new Response(null, { headers: { "Content-Length": String(bytes.length) } });
    }
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.get("range") ?? "")?.[1] ?? 0);
    if (from === 0) return new Response(bytes);
    if (from >= bytes.length) return new Response(null, { status: 416 });
    return new Response(bytes.subarray(from), {
      status: 206,
      headers: { "Content-Range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` },
    });
  }

  async #upload(request: Request, name: string, id: string, query: URLSearchParams): Promise<Response> {
    const accepted = (location: string) =>
      new Response(null, { status: 202, headers: { Location: location } });
    if (request.method === "POST") {
      const mount = query.get("mount");
      if (mount !== null && this.has.has(`${query.get("from")} ${mount}`)) {
        this.has.add(`${name} ${mount}`);
        return new Response(null, { status: 201, headers: { Location: `/v2/${name}/blobs/${mount}` } });
      }
      const session = crypto.randomUUID();
      this.#uploads.set(session, new Uint8Array(0));
      return accepted(`/v2/${name}/blobs/uploads/${session}?state=0`);
    }
    const before = this.#uploads.get(id);
    if (before === undefined) return refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    const more = new Uint8Array(await request.arrayBuffer());
    const bytes = new Uint8Array(before.length + more.length);
    bytes.set(before);
    bytes.set(more, before.length);
    this.#uploads.set(id, bytes);
    if (request.method === "PATCH") return accepted(`/v2/${name}/blobs/uploads/${id}?state=${bytes.length}`);
    if (sha256(bytes) !== query.get("digest")) {
      return refusal(400, "DIGEST_INVALID", "provided digest did not match");
    }
    this.addBlob(name, bytes);
    return new Response(null, { status: 201 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

export function refusal(
  status: number,
  code: string,
  message: string,
  headers: Record<string, string> = {},
): Response {
  return Response.json({ errors: [{ code, message, detail: null }] }, { status, headers });
}

/** A body that breaks off after so many bytes, by the connection's reset. */
export function brokenBody(
  bytes: Uint8Array<ArrayBuffer>,
  after: number,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let sent = false;
  return new ReadableStream({
    pull(controller) {
      if (!sent) controller.enqueue(bytes.subarray(0, after));
      else controller.error(new Error("gone"));
      sent = true;
    },
  });
}
