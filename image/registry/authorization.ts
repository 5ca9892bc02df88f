import { unlessAborted } from "../../base/deadline.ts";
import { EngineError } from "../../base/errors.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { errorOf } from "./errors.ts";
import type { RegistryAuth } from "./settings.ts";
import type { Transport } from "./transport.ts";

/** How berth calls itself to token servers; it may stand in their logs. */
const CLIENT_ID = "berth";

/**
 * Earns the right to use a registry: basic authentication, or a token of the server that the registry names
 * (distribution, docs/spec/auth). One for each registry and operation.
 */
export class Authorization {
  readonly #transport: Transport;
  readonly #auth: RegistryAuth;
  /** `repository:library/busybox:pull` */
  readonly #scopes: readonly string[];
  readonly #offline: boolean;
  #header: string | undefined;
  #renewing: Promise<void> | undefined;
  /** What a login must remember instead of the password, when the server gave one. */
  identityToken: string | undefined;

  /** @param offline ask for an identity token as well. */
  constructor(
    transport: Transport,
    auth: RegistryAuth | undefined,
    scopes: readonly string[],
    offline = false,
  ) {
    this.#offline = offline;
    this.#transport = transport;
    this.#auth = auth ?? {};
    this.#scopes = scopes;
    if (auth?.registryToken) this.#header = `Bearer ${auth.registryToken}`;
  }

  /** Value of the Authorization header; undefined until the registry has asked for one. */
  get header(): string | undefined {
    return this.#header;
  }

  /**
   * Answers a 401.
   *
   * @param used the header that the refused request had.
   * @returns whether trying again makes sense.
   * @throws {EngineError} when the token server refuses.
   */
  async renew(response: Response, used: string | undefined, signal?: AbortSignal): Promise<boolean> {
    if (used !== this.#header) return true;
    const challenges = parseChallenges(response.headers.get("www-authenticate") ?? "");
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer !== undefined) {
      // for all requests that wait for it: the first one's end is not theirs
      this.#renewing ??= this.#token(bearer).then((token) => {
        this.#header = `Bearer ${token}`;
      }).finally(() => this.#renewing = undefined);
      await unlessAborted(this.#renewing, signal);
      return true;
    }
    if (!challenges.some(({ scheme }) => scheme === "basic")) return false;
    const { username, password } = this.#auth;
    if (!username && !password) {
      throw new EngineError("unauthorized", `Get ${JSON.stringify(response.url)}: no basic auth credentials`);
    }
    const header = basic(username ?? "", password ?? "");
    if (header === used) return false;
    this.#header = header;
    return true;
  }

  async #token({ parameters }: Challenge): Promise<string> {
    const { realm = "", service, scope } = parameters;
    const url = URL.parse(realm);
    if (url === null || !/^https?:$/.test(url.protocol)) {
      throw new EngineError("system", `invalid token auth challenge realm: ${JSON.stringify(realm)}`);
    }
    const scopes = [...new Set([...scope?.split(" ") ?? [], ...this.#scopes])].filter((one) => one !== "");
    const { identityToken } = this.#auth;
    const response = identityToken
      ? await this.#refresh(url, service, scopes, identityToken)
      : await this.#ask(url, service, scopes);
    if (!response.ok) throw await errorOf(response);
    const answer = await response.json() as Record<string, unknown>;
    const token = answer["token"] || answer["access_token"];
    if (typeof token !== "string") {
      throw new EngineError("system", "authorization server did not include a token in the response");
    }
    if (typeof answer["refresh_token"] === "string") this.identityToken = answer["refresh_token"];
    return token;
  }

  async #ask(url: URL, service: string | undefined, scopes: readonly string[]) {
    const { username, password } = this.#auth;
    if (service) url.searchParams.set("service", service);
    for (const scope of scopes) url.searchParams.append("scope", scope);
    if (username) url.searchParams.set("account", username);
    if (this.#offline) {
      url.searchParams.set("offline_token", "true");
      url.searchParams.set("client_id", CLIENT_ID);
    }
    const headers = username || password ? { Authorization: basic(username ?? "", password ?? "") } : {};
    return await this.#transport.fetch(url.href, { headers, prompt: true });
  }

  async #refresh(
    url: URL,
    service: string | undefined,
    scopes: readonly string[],
    refreshToken: string,
  ) {
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      refresh_token: refreshToken,
      client_id: CLIENT_ID,
      service: service ?? "",
      scope: scopes.join(" "),
    });
    return await this.#transport.fetch(url.href, {
      method: "POST",
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
      body: form.toString(),
      prompt: true,
    });
  }
}

const basic = (username: string, password: string): string =>
  `Basic ${new TextEncoder().encode(`${username}:${password}`).toBase64()}`;
