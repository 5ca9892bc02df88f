import * as z from "zod/mini";
import { invalid, messageOf } from "../../base/errors.ts";
import type { RegistryAuth } from "../../image/registry/settings.ts";
import { decode, opt, struct, text } from "./go.ts";

/** Docker's registry.AuthConfig, as a body and inside of X-Registry-Auth. */
export const authConfig = struct("registry.AuthConfig", {
  username: opt(text),
  password: opt(text),
  auth: opt(text),
  email: opt(text),
  serveraddress: opt(text),
  identitytoken: opt(text),
  registrytoken: opt(text),
});

/**
 * The user's credentials of the X-Registry-Auth header: JSON in base64, of either alphabet, padded or not. Clients
 * without credentials send nothing, `{}`, or the JSON `null`.
 *
 * @throws {EngineError} invalid
 */
export function registryAuth(header: string | undefined): RegistryAuth | undefined {
  if (header === undefined || header === "") return undefined;
  let value: unknown;
  try {
    const standard = header.trim().replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "");
    value = JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(standard)));
  } catch (error) {
    throw invalid(`invalid X-Registry-Auth header: ${messageOf(error)}`);
  }
  return authOf(decode(authConfig, value ?? {}, "registry.AuthConfig"));
}

/** Credentials without the fields that nobody filled in. */
export function authOf(config: z.output<typeof authConfig>): RegistryAuth | undefined {
  const { username, password, auth, identitytoken, registrytoken } = config;
  const [user, secret] = username || !auth ? [username, password] : userAndPassword(auth);
  const filled = {
    ...(user ? { username: user } : {}),
    ...(secret ? { password: secret } : {}),
    ...(identitytoken ? { identityToken: identitytoken } : {}),
    ...(registrytoken ? { registryToken: registrytoken } : {}),
  };
  return Object.keys(filled).length > 0 ? filled : undefined;
}

/** `auth` is both in one, as ~/.docker/config.json has it. */
function userAndPassword(auth: string): [string, string] {
  try {
    const both = new TextDecoder().decode(Uint8Array.fromBase64(auth));
    const colon = both.indexOf(":");
    return colon < 0 ? [both, ""] : [both.slice(0, colon), both.slice(colon + 1)];
  } catch {
    throw invalid("invalid auth configuration: no base64");
  }
}

/** Credentials by the registry's host, "docker.io" for Docker Hub. */
export type RegistryLogins = (host: string) => RegistryAuth | undefined;

/** How clients name Docker Hub: by its first API's address. */
const HUB = /^(?:https?:\/\/)?(?:(?:registry-1|index)\.)?docker\.io(?:\/.*)?$/;
const hostOf = (server: string): string =>
  HUB.test(server) ? "docker.io" : server.replace(/^https?:\/\//, "").replace(/\/.*$/, "");

/** The X-Registry-Config header of builds: credentials for all registries, by their addresses. What is damaged counts as none, as in Docker. */
export function registryConfig(header: string | undefined): RegistryLogins {
  const logins = new Map<string, RegistryAuth>();
  try {
    const standard = (header ?? "").trim().replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "");
    const value: unknown = JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(standard)));
    for (const [server, config] of Object.entries(value ?? {})) {
      const auth = authOf(decode(authConfig, config, "registry.AuthConfig"));
      if (auth !== undefined) logins.set(hostOf(server), auth);
    }
  } catch {
    // as if nobody were logged in
  }
  return (host) => logins.get(hostOf(host));
}
