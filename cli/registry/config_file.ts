/** `~/.docker/config.json`, as far as it is about registries and contexts: whoever is logged in with docker is logged in with berth. */

import { CliError } from "../errors.ts";
import { messageOf } from "../../base/errors.ts";
import { dockerConfigDirectory } from "../../base/paths.ts";
import { printError } from "../stdio.ts";
import { eraseCredentials, getCredentials, listCredentials, storeCredentials } from "./credential_helper.ts";

/** Who the user is to a registry. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** Stands in for user and password. */
  readonly identityToken: string;
}

/** Docker Hub's name in the file and for credential helpers. */
export const HUB_SERVER = "https://index.docker.io/v1/";

interface AuthEntry {
  auth?: string;
  username?: string;
  password?: string;
  identitytoken?: string;
  registrytoken?: string;
}

type ConfigJson = Record<string, unknown> & {
  auths?: Record<string, AuthEntry>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
  currentContext?: string;
  /** docker keeps what is in here for programs that are not its own. */
  plugins?: Record<string, Record<string, string>>;
};

export class ConfigFile {
  readonly path: string;
  #json: ConfigJson;

  private constructor(path: string, json: ConfigJson) {
    this.path = path;
    this.#json = json;
  }

  /** Reads the file; one that is missing is empty. @throws {CliError} when it is damaged. */
  static load(): ConfigFile {
    const path = `${dockerConfigDirectory()}/config.json`;
    let text: string;
    try {
      text = Deno.readTextFileSync(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
        return new ConfigFile(path, {});
      }
      printError(`WARNING: Error loading config file: ${path}: ${messageOf(error)}`);
      return new ConfigFile(path, {});
    }
    try {
      const value: unknown = text.trim() === "" ? {} : JSON.parse(text);
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw new Error("no JSON object");
      }
      return new ConfigFile(path, value as ConfigJson);
    } catch (error) {
      throw new CliError(`Error loading config file: ${path}: ${messageOf(error)}`);
    }
  }

  /** Name of the helper that keeps the credentials of `server`; "" when the file does. */
  helperOf(server: string): string {
    return this.#json.credHelpers?.[server] ?? this.#json.credsStore ?? "";
  }

  /** Undefined when nobody is logged in. */
  async credentials(server: string): Promise<Credentials | undefined> {
    const given = environmentCredentials();
    if (given[server] !== undefined) return given[server];
    const helper = this.helperOf(server);
    if (helper !== "") return await getCredentials(helper, server);
    const auths = this.#json.auths ?? {};
    const key = Object.keys(auths).find((one) => one === server) ??
      Object.keys(auths).find((one) => hostOf(one) === hostOf(server));
    return key === undefined ? undefined : credentialsOf(auths[key] ?? {});
  }

  /** All that are known, by server; for builds. */
  async all(): Promise<Record<string, Credentials>> {
    const found: Record<string, Credentials> = {};
    for (const [server, entry] of Object.entries(this.#json.auths ?? {})) {
      const credentials = credentialsOf(entry);
      if (credentials) found[server] = credentials;
    }
    const store = this.#json.credsStore ?? "";
    const servers = store === "" ? [] : await listCredentials(store);
    for (const server of [...servers, ...Object.keys(this.#json.credHelpers ?? {})]) {
      const credentials = await this.credentials(server);
      if (credentials) found[server] = credentials;
    }
    return { ...found, ...environmentCredentials() };
  }

  /** Remembers credentials, with the helper where one is set up. False: they were known, and the file stays as it is. */
  async store(server: string, credentials: Credentials): Promise<boolean> {
    const helper = this.helperOf(server);
    if (helper !== "") {
      await storeCredentials(helper, server, credentials);
      // docker lists the servers it has helpers' credentials for
      this.#json.auths = { ...this.#json.auths, [server]: {} };
    } else {
      const { username, password, identityToken } = credentials;
      const entry: AuthEntry = {
        auth: new TextEncoder().encode(`${username}:${identityToken === "" ? password : ""}`).toBase64(),
        ...(identityToken === "" ? {} : { identitytoken: identityToken }),
      };
      const old = this.#json.auths?.[server];
      if (old?.auth === entry.auth && old?.identitytoken === entry.identitytoken) return false;
      this.#json.auths = { ...this.#json.auths, [server]: entry };
    }
    this.#save();
    return true;
  }

  async erase(server: string): Promise<void> {
    const helper = this.helperOf(server);
    if (helper !== "") await eraseCredentials(helper, server);
    const auths = { ...this.#json.auths };
    for (const key of Object.keys(auths)) {
      if (key === server || hostOf(key) === hostOf(server)) delete auths[key];
    }
    this.#json.auths = auths;
    this.#save();
  }

  /** Makes a context docker's current one, and notes that berth did; undefined for the default. */
  useContext(name: string | undefined): void {
    const { currentContext: _current, plugins: { berth = {}, ...others } = {}, auths = {}, ...rest } =
      this.#json;
    const { context: _context, ...kept } = berth;
    const noted = name === undefined ? kept : { ...kept, context: name };
    const plugins = Object.keys(noted).length === 0 ? others : { ...others, berth: noted };
    this.#json = {
      auths,
      ...rest,
      ...(name === undefined ? {} : { currentContext: name }),
      ...(Object.keys(plugins).length === 0 ? {} : { plugins }),
    };
    this.#save();
  }

  /** Written whole, readable by its owner only. A link stays a link. */
  #save(): void {
    const dir = this.path.replace(/\/[^/]*$/, "");
    Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
    let target = this.path;
    try {
      target = Deno.realPathSync(this.path);
    } catch {
      // a new one
    }
    const temporary = `${target}.${crypto.randomUUID()}.tmp`;
    try {
      Deno.writeTextFileSync(temporary, JSON.stringify(this.#json, null, "\t"), {
        mode: 0o600,
        createNew: true,
      });
      Deno.renameSync(temporary, target);
    } catch (error) {
      try {
        Deno.removeSync(temporary);
      } catch {
        // it was not made
      }
      throw new CliError(`Error saving ${target}: ${messageOf(error)}`);
    }
  }
}

const AUTH_VARIABLE = "DOCKER_AUTH_CONFIG";

/** What `DOCKER_AUTH_CONFIG` holds for continuous integration: `{"auths":{SERVER:{"auth":…}}}`; it comes before the file. */
function environmentCredentials(): Record<string, Credentials> {
  const text = Deno.env.get(AUTH_VARIABLE) ?? "";
  if (text === "") return {};
  const found: Record<string, Credentials> = {};
  try {
    const { auths } = JSON.parse(text) as { auths?: Record<string, AuthEntry> };
    for (const [server, { auth }] of Object.entries(auths ?? {})) {
      if (!auth) {
        throw new Error(`${AUTH_VARIABLE} environment variable is missing key \`auth\` for ${server}`);
      }
      const credentials = credentialsOf({ auth });
      if (credentials !== undefined) found[server] = credentials;
    }
  } catch (error) {
    printError(`Failed to create credential store from ${AUTH_VARIABLE}: ${messageOf(error)}`);
    return {};
  }
  return found;
}

/** `example.com` of `https://example.com/v1/`: how old files name servers. */
function hostOf(server: string): string {
  return server.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

/** @throws {CliError} */
function bytesOf(auth: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(auth);
  } catch {
    throw new CliError("the auth in docker's configuration file is no base64; log in again");
  }
}

function credentialsOf({ auth, username, password, identitytoken }: AuthEntry): Credentials | undefined {
  const identityToken = identitytoken ?? "";
  let user = username ?? "", secret = password ?? "";
  if (auth) {
    const both = new TextDecoder().decode(bytesOf(auth));
    const colon = both.indexOf(":");
    user = colon < 0 ? both : both.slice(0, colon);
    secret = colon < 0 ? "" : both.slice(colon + 1).replace(/\0+$/, "");
  }
  return user === "" && identityToken === ""
    ? undefined
    : { username: user, password: secret, identityToken };
}
