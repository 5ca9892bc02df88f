import { EngineError, messageOf } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { abortableResponse } from "./abortable_response.ts";
import { isInsecure } from "./endpoints.ts";
import { ConnectionError } from "./errors.ts";
import type { RegistrySettings } from "./settings.ts";

export interface HttpRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>> | string;
  readonly signal?: AbortSignal | undefined;
  /** The answer has to begin within the time in which a transfer has to bring something (`stallMs`). Not for uploads, which are answered at their end. */
  readonly prompt?: boolean;
}

/** Redirects are followed by hand: what proves who the user is must not reach another host. */
const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Where distributions keep the certificates of the authorities that the machine trusts. */
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/**
 * HTTP to registries: each host with the certificates that `certs.d` holds for it. Proxies come from the environment.
 * Connections are kept until it is disposed of, and everything that {@link hold} has given.
 */
export class Transport implements Disposable {
  readonly #settings: RegistrySettings;
  readonly #clients = new Map<string, Deno.HttpClient>();
  /** Hosts whose own certificate is an authority's. */
  readonly #selfSigned = new Set<string>();
  /** Hosts at a port that `fetch` refuses: 6000, 10080 and others, which browsers must not use (fetch.spec.whatwg.org, "bad port"). */
  readonly #badPort = new Set<string>();
  #users = 1;

  constructor(settings: RegistrySettings) {
    this.#settings = settings;
  }

  /**
   * Sends one request, following redirects of GET and HEAD. The caller reads or cancels the body.
   *
   * @throws {ConnectionError} when there is no answer.
   * @throws {EngineError} invalid when a certificate of `certs.d` is of no use.
   */
  async fetch(address: string, request: HttpRequest = {}): Promise<Response> {
    const { method = "GET", prompt = false, signal } = request;
    if (!prompt) return await this.#follow(address, request);
    const late = new AbortController();
    const giveUp = () => late.abort(new ConnectionError(method, address, new Error("i/o timeout")));
    const timer = setTimeout(giveUp, this.#settings.stallMs);
    const signals = signal === undefined ? [late.signal] : [signal, late.signal];
    try {
      return await this.#follow(address, { ...request, signal: AbortSignal.any(signals) });
    } finally {
      clearTimeout(timer);
    }
  }

  async #follow(address: string, request: HttpRequest): Promise<Response> {
    const { method = "GET", signal } = request;
    let url = new URL(address);
    let headers: Record<string, string> = { "User-Agent": `berth/${VERSION} (linux)`, ...request.headers };
    for (let hops = 0;; hops++) {
      const response = await this.#once(url, { ...request, method, headers, signal });
      const location = response.headers.get("location");
      const follow = REDIRECTS.has(response.status) && location !== null &&
        (method === "GET" || method === "HEAD");
      if (!follow) return response;
      await response.body?.cancel();
      if (hops >= MAX_REDIRECTS) {
        throw new ConnectionError(method, address, new Error(`stopped after ${hops} redirects`));
      }
      const target = new URL(location, url);
      if (target.protocol !== "https:" && target.protocol !== "http:") {
        throw new ConnectionError(
          method,
          address,
          new Error(`unsupported protocol scheme ${target.protocol}`),
        );
      }
      if (target.host !== url.host || target.protocol !== url.protocol) {
        const { Authorization: _secret, ...rest } = headers;
        headers = rest;
      }
      url = target;
    }
  }

  async #once(url: URL, request: HttpRequest & { method: string }): Promise<Response> {
    try {
      if (url.protocol === "https:" && isInsecure(url.host, this.#settings.insecure)) {
        const { fetchUnverified } = await import("./unverified.ts");
        return await fetchUnverified(url, request, this.#certificates(url.host).client);
      }
      if (this.#selfSigned.has(url.host)) return await this.#pinned(url, request);
      if (this.#badPort.has(url.host)) return await this.#atBadPort(url, request);
      const { body, headers, method, signal } = request;
      const response = await fetch(url, {
        method,
        redirect: "manual",
        client: this.#client(url.host),
        ...(headers === undefined ? {} : { headers }),
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      });
      return abortableResponse(response, signal);
    } catch (error) {
      request.signal?.throwIfAborted();
      if (error instanceof EngineError) throw error;
      const again = !(request.body instanceof ReadableStream);
      if (again && isBadPort(error) && !this.#badPort.has(url.host)) {
        this.#badPort.add(url.host);
        return await this.#once(url, request);
      }
      if (
        again && isSelfSigned(error) && !this.#selfSigned.has(url.host)
      ) {
        this.#selfSigned.add(url.host);
        return await this.#once(url, request);
      }
      throw new ConnectionError(request.method, url.href, error);
    }
  }

  async #pinned(url: URL, request: HttpRequest): Promise<Response> {
    const { fetchPinned } = await import("./unverified.ts");
    const { authorities, client } = this.#certificates(url.host);
    return await fetchPinned(url, request, client, authorities);
  }

  async #atBadPort(url: URL, request: HttpRequest): Promise<Response> {
    const { fetchAtAnyPort } = await import("./unverified.ts");
    const { authorities, client } = this.#certificates(url.host);
    return await fetchAtAnyPort(url, request, client, [...systemAuthorities(), ...authorities]);
  }

  #client(host: string): Deno.HttpClient {
    if (this.#users === 0) throw new Error("the transport is closed");
    let client = this.#clients.get(host);
    if (client === undefined) {
      const { authorities, client: pair } = this.#certificates(host);
      try {
        client = Deno.createHttpClient({
          caCerts: [...systemAuthorities(), ...authorities],
          ...(pair === undefined ? {} : pair),
        });
      } catch (error) {
        throw new EngineError("invalid", `the certificates for ${host} cannot be used: ${messageOf(error)}`, {
          cause: error,
        });
      }
      this.#clients.set(host, client);
    }
    return client;
  }

  /** Files of `certs.d/<host>`: `*.crt` are authorities, `x.cert` with `x.key` says who we are (moby: registry.ReadCertsDirectory). */
  #certificates(host: string): { authorities: string[]; client: { cert: string; key: string } | undefined } {
    const authorities: string[] = [];
    let client: { cert: string; key: string } | undefined;
    for (const base of this.#settings.certDirs) {
      const dir = `${base}/${host}`;
      for (const name of namesIn(dir)) {
        if (name.endsWith(".crt")) authorities.push(read(`${dir}/${name}`));
        if (name.endsWith(".cert") && client === undefined) {
          const key = `${name.slice(0, -".cert".length)}.key`;
          client = {
            cert: read(`${dir}/${name}`),
            key: read(`${dir}/${key}`, `missing key ${key} for client certificate ${name}`),
          };
        }
      }
    }
    return { authorities, client };
  }

  /** Keeps it open for somebody who may outlive its owner: a transfer that another pull has joined. */
  hold(): Disposable {
    this.#users++;
    return { [Symbol.dispose]: () => this.#leave() };
  }

  [Symbol.dispose](): void {
    this.#leave();
  }

  #leave(): void {
    if (--this.#users > 0) return;
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}

/** rustls's word for a server that shows an authority's certificate as its own. */
function isSelfSigned(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause.message.includes("CaUsedAsEndEntity")) return true;
  }
  return false;
}

const isBadPort = (error: unknown): boolean => messageOf(error).includes("are blocked");

let bundle: string[] | undefined;

/** Authorities of this machine, beside those that Deno brings. */
function systemAuthorities(): readonly string[] {
  if (bundle !== undefined) return bundle;
  const given = Deno.env.get("SSL_CERT_FILE");
  for (const path of given ? [given, ...SYSTEM_BUNDLES] : SYSTEM_BUNDLES) {
    try {
      return bundle = [Deno.readTextFileSync(path)];
    } catch {
      // another distribution's place
    }
  }
  return bundle = [];
}

function namesIn(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
  } catch {
    return [];
  }
}

function read(path: string, problem?: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new EngineError("invalid", problem ?? `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}
