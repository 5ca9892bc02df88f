/** The Docker Engine API as the commands use it: versioned paths, JSON bodies, errors with the engine's text. */

import { userHeaders } from "./user_config.ts";
import { ApiError, CliError, ConnectError } from "./errors.ts";
import type { EngineConnection } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";
import {
  type HijackedConnection,
  HttpClient,
  type HttpRequest,
  HttpResponse,
  isDisconnect,
} from "./http_client.ts";
import { API_VERSION, VERSION } from "../base/version.ts";

type QueryValue = string | number | boolean | undefined;
export type Query = Readonly<Record<string, QueryValue | readonly string[]>>;

export interface ApiRequest {
  readonly query?: Query;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is, chunked. */
  readonly stream?: AsyncIterable<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** Called when the request is written (not for a stream): what can be done while the engine is at it. */
  readonly sent?: (() => void) | undefined;
}

/** Oldest API that is asked for when an engine does not say what it speaks. */
const FALLBACK_VERSION = "1.24";

/**
 * How an engine refuses an API that is newer than its own, before it does anything: Docker's words since 17.06, and those
 * of the releases before. What it speaks comes last.
 */
const TOO_NEW =
  /^client version \S+ is too new\. Maximum supported API version is (\d+\.\d+)$|^client is newer than server \(client API version: \S+, server API version: (\d+\.\d+)\)$/;

export class ApiClient implements Disposable {
  readonly endpoint: Endpoint;
  readonly #http: HttpClient;
  /** Known to be understood by the engine, or said by the user. */
  #version: string | undefined;

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
    this.#http = new HttpClient(() => this.dial(), endpoint.httpHost);
    // Our own engine is as new as we are: no need to ask.
    this.#version = endpoint.isDefault ? API_VERSION : Deno.env.get("DOCKER_API_VERSION") || undefined;
  }

  /** API version in use ("1.51"); asks the engine the first time when it may be another's. */
  async version(): Promise<string> {
    this.#version ??= await this.#negotiate();
    return this.#version;
  }

  /** Sends a request; throws `ApiError` for a status of 400 or more. The caller reads the body. */
  request(method: string, path: string, request: ApiRequest = {}): Promise<HttpResponse> {
    return this.#negotiated(method, request, async (version) => {
      const response = await this.#http.request(this.#http1(method, version, path, request));
      if (response.status >= 400) throw await apiError(response);
      return response;
    });
  }

  /** Sends a request and parses the JSON it answers. The type is the caller's knowledge of the API. */
  async json<T>(method: string, path: string, request: ApiRequest = {}): Promise<T> {
    const response = await this.request(method, path, request);
    return await response.json() as T;
  }

  /** Sends a request whose answer, if any, does not matter. */
  async send(method: string, path: string, request: ApiRequest = {}): Promise<void> {
    await (await this.request(method, path, request)).text();
  }

  /** Takes a connection over (attach, exec). */
  hijack(path: string, request: ApiRequest = {}): Promise<HijackedConnection> {
    return this.#negotiated("POST", request, async (version) => {
      const answer = await this.#http.hijack(this.#http1("POST", version, path, request));
      if (answer instanceof HttpResponse) throw await apiError(answer);
      return answer;
    });
  }

  /** Opens connections ahead, until `count` are idle. */
  open(count: number): void {
    this.#http.open(count);
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }

  async #negotiate(): Promise<string> {
    const response = await this.#guard(() => this.#http.request({ method: "GET", target: "/_ping" }));
    await response.text();
    const theirs = response.headers.get("api-version") ?? FALLBACK_VERSION;
    return compareVersions(theirs, API_VERSION) < 0 ? theirs : API_VERSION;
  }

  /**
   * Does `exchange` in a version that the engine understands. As long as that is not known, a small request simply is sent in our
   * own, and again in the engine's when it refuses: most engines are as new, and asking costs another round trip.
   */
  async #negotiated<T>(
    method: string,
    request: ApiRequest,
    exchange: (version: string) => Promise<T>,
  ): Promise<T> {
    return await this.#guard(async () => {
      // A stream cannot be sent twice, and the answer to HEAD has no words.
      if (request.stream !== undefined || method === "HEAD") await this.version();
      if (this.#version !== undefined) return await exchange(this.#version);
      try {
        const answer = await exchange(API_VERSION);
        this.#version ??= API_VERSION;
        return answer;
      } catch (error) {
        const refusal = error instanceof ApiError && error.status === 400
          ? TOO_NEW.exec(error.message)
          : null;
        const theirs = refusal?.[1] ?? refusal?.[2];
        if (theirs === undefined || compareVersions(theirs, API_VERSION) >= 0) throw error;
        this.#version = theirs;
        return await exchange(theirs);
      }
    });
  }

  #http1(method: string, version: string, path: string, request: ApiRequest): HttpRequest {
    return {
      method,
      target: `/v${version}${path}${queryString(request.query)}`,
      headers: this.#headers(request),
      body: body(request),
      signal: request.signal,
      sent: request.sent,
    };
  }

  #headers(request: ApiRequest): Record<string, string> {
    const headers: Record<string, string> = {
      ...userHeaders(),
      "User-Agent": `berth-client/${VERSION} (linux)`,
    };
    if (request.json !== undefined) headers["Content-Type"] = "application/json";
    return { ...headers, ...request.headers };
  }

  /** A connection of its own for whoever speaks HTTP himself; starts the user's own engine when it does not run. */
  async dial(): Promise<EngineConnection> {
    try {
      return await this.endpoint.dial();
    } catch (error) {
      const missing = error instanceof Deno.errors.NotFound || error instanceof Deno.errors.ConnectionRefused;
      if (missing && this.endpoint.isDefault) {
        const { startEngine } = await import("./engine_start.ts");
        return await startEngine(this.endpoint);
      }
      throw connectError(this.endpoint, error);
    }
  }

  async #guard<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      // With TLS 1.3 a client learns that its certificate is refused when it reads the first answer.
      if (isDisconnect(error) || error instanceof Deno.errors.InvalidData) {
        throw new ConnectError(
          `error during connect: ${
            error instanceof Error ? error.message : error
          }: is the engine at ${this.endpoint.url} running?`,
        );
      }
      throw error;
    }
  }
}

function connectError(endpoint: Endpoint, error: unknown): Error {
  if (error instanceof ConnectError || error instanceof CliError) return error;
  if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) {
    return new ConnectError(
      `permission denied while trying to connect to the Docker daemon socket at ${endpoint.url}`,
    );
  }
  const lookup = error instanceof Error && /lookup address|Name or service/.test(error.message);
  if (lookup) {
    const name = endpoint.httpHost.replace(/:\d+$/, "");
    return new ConnectError(`error during connect: dial tcp: lookup ${name}: no such host`);
  }
  return new ConnectError(
    `Cannot connect to the Docker daemon at ${endpoint.url}. Is the docker daemon running?`,
  );
}

function body(request: ApiRequest): Uint8Array | AsyncIterable<Uint8Array> | undefined {
  if (request.stream !== undefined) return request.stream;
  return request.json === undefined ? undefined : new TextEncoder().encode(JSON.stringify(request.json));
}

async function apiError(response: HttpResponse): Promise<ApiError> {
  const text = (await response.text()).trim();
  let message = text;
  try {
    const parsed: unknown = JSON.parse(text);
    if (
      typeof parsed === "object" && parsed !== null && "message" in parsed &&
      typeof parsed.message === "string"
    ) {
      message = parsed.message.trim();
    }
  } catch {
    // A proxy's plain text, or an engine older than the JSON errors.
  }
  return new ApiError(response.status, message || `request returned status ${response.status}`);
}

/** "?a=1&b=2", without keys that are undefined; "" for none. Keys in order, booleans as Go's client sends them. */
export function queryString(query: Query | undefined): string {
  const pairs: string[] = [];
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    const values: readonly (string | number | boolean)[] = Array.isArray(value)
      ? value
      : [value as QueryValue ?? ""];
    for (const one of values) {
      const shown = one === true ? "1" : one === false ? "0" : String(one);
      pairs.push(`${encodeURIComponent(key)}=${encodeURIComponent(shown)}`);
    }
  }
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

/** Compares "1.9" and "1.41" number by number. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split(".").map(Number), b.split(".").map(Number)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * A name or id as one segment of a path. Names of images keep their slashes.
 *
 * @param kind of what it is the name; an empty one is refused then, it would be another path.
 */
export function segment(name: string, kind?: "container" | "network" | "volume"): string {
  if (kind !== undefined && name.trim() === "") {
    throw new CliError(`invalid ${kind} name or ID: value is empty`);
  }
  return encodeURIComponent(name).replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%40", "@");
}
