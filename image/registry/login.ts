import { EngineError, invalid } from "../../base/errors.ts";
import { DEFAULT_DOMAIN } from "../../base/reference.ts";
import { Authorization } from "./authorization.ts";
import { endpointsOf } from "./endpoints.ts";
import { ConnectionError, errorOf, RegistryError } from "./errors.ts";
import type { RegistryAuth, RegistrySettings } from "./settings.ts";
import { Transport } from "./transport.ts";

/** `docker.io` of "", "https://index.docker.io/v1/" and the like; the host of any other address. */
export function domainOf(serverAddress: string): string {
  const host = serverAddress.replace(/^https?:\/\//i, "").replace(/\/.*$/, "");
  if (host === "" || host === "index.docker.io" || host === "registry-1.docker.io") return DEFAULT_DOMAIN;
  if (!/^[\w.[\]:-]+$/.test(host) || !URL.canParse(`https://${host}/`)) {
    throw invalid(`invalid registry address ${JSON.stringify(serverAddress)}`);
  }
  return host;
}

/**
 * Tries credentials at a registry.
 *
 * @returns the identity token to remember in place of the password, "" when the registry gives none.
 * @throws {EngineError} unauthorized
 */
export async function login(
  serverAddress: string,
  auth: RegistryAuth,
  settings: RegistrySettings,
  signal: AbortSignal,
): Promise<string> {
  using transport = new Transport(settings);
  const endpoints = endpointsOf(domainOf(serverAddress), settings, true);
  for (const [i, { base }] of endpoints.entries()) {
    try {
      return await tryEndpoint(base, auth, transport, signal);
    } catch (error) {
      if (!(error instanceof ConnectionError) || i === endpoints.length - 1) throw error;
    }
  }
  return "";
}

async function tryEndpoint(
  base: string,
  auth: RegistryAuth,
  transport: Transport,
  signal: AbortSignal,
): Promise<string> {
  const url = `${base}/v2/`;
  const refused = (reason: string) =>
    new EngineError("unauthorized", `login attempt to ${url} failed with status: ${reason}`);
  const authorization = new Authorization(transport, auth, [], true);
  for (let attempt = 0;; attempt++) {
    const used = authorization.header;
    const response = await transport.fetch(url, {
      headers: used === undefined ? {} : { Authorization: used },
      signal,
      prompt: true,
    });
    if (response.ok) {
      await response.body?.cancel();
      return authorization.identityToken ?? "";
    }
    if (response.status !== 401) throw await errorOf(response);
    let again: boolean;
    try {
      again = attempt < 2 && await authorization.renew(response, used, signal);
    } catch (error) {
      if (error instanceof RegistryError && error.kind === "unauthorized") {
        throw new EngineError("unauthorized", `Get ${JSON.stringify(url)}: ${error.message}`, {
          cause: error,
        });
      }
      throw error;
    }
    await response.body?.cancel();
    if (!again) throw refused(`401 Unauthorized`);
  }
}
