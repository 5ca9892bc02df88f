/** What docker's `config.json` says about the command line itself: default formats, detach keys, proxies, headers. */

import { messageOf } from "../base/errors.ts";
import { dockerConfigDirectory } from "../base/paths.ts";
import { CliError } from "./errors.ts";
import { csvFields } from "./flags/csv.ts";
import { printError } from "./stdio.ts";

/** Templates that stand for a missing `--format`. */
export type FormatKey = "psFormat" | "imagesFormat" | "statsFormat" | "networksFormat" | "volumesFormat";

interface ProxyConfig {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy?: string;
  readonly ftpProxy?: string;
  readonly allProxy?: string;
}

export type UserConfig = Readonly<Partial<Record<FormatKey | "detachKeys", string>>> & {
  /** `name=value`, for every prune. */
  readonly pruneFilters?: readonly string[];
  /** More places of plugins. */
  readonly cliPluginsExtraDirs?: readonly string[];
  readonly HttpHeaders?: Readonly<Record<string, string>>;
  /** By the engine's address, or "default". */
  readonly proxies?: Readonly<Record<string, ProxyConfig>>;
};

let known: { readonly path: string; readonly config: UserConfig } | undefined;

/** Read once. A file that is missing says nothing; one that is damaged is told, and says nothing. */
export function userConfig(): UserConfig {
  const path = `${dockerConfigDirectory()}/config.json`;
  if (known?.path !== path) known = { path, config: read(path) };
  return known.config;
}

function read(path: string): UserConfig {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch {
    // Whoever needs credentials of it complains.
    return {};
  }
  try {
    const value: unknown = text.trim() === "" ? {} : JSON.parse(text);
    if (typeof value !== "object" || value === null) throw new Error("no JSON object");
    return value;
  } catch (error) {
    printError(`WARNING: Error parsing config file (${path}): ${messageOf(error)}`);
    return {};
  }
}

/** A text of the file; whatever else somebody wrote there is none. */
export function configText(key: FormatKey | "detachKeys"): string {
  const value: unknown = userConfig()[key];
  return typeof value === "string" ? value : "";
}

/** Names and values of `pruneFilters`; what is no such pair is passed over, as by docker. */
export function pruneFilters(): [name: string, value: string][] {
  const given: unknown = userConfig().pruneFilters;
  if (!Array.isArray(given)) return [];
  return given.flatMap((one: unknown): [string, string][] => {
    const at = typeof one === "string" ? one.indexOf("=") : -1;
    return typeof one === "string" && at >= 0 ? [[one.slice(0, at), one.slice(at + 1)]] : [];
  });
}

const HEADERS_VARIABLE = "DOCKER_CUSTOM_HEADERS";

/**
 * Headers of every request: those of the file, or instead of them those that the environment has, as `name=value,…`.
 *
 * @throws {CliError} in docker's words.
 */
export function userHeaders(): Readonly<Record<string, string>> {
  const given = Deno.env.get(HEADERS_VARIABLE) ?? "";
  if (given === "") return userConfig().HttpHeaders ?? {};
  const refuse = (what: string, reason: string) =>
    new CliError(
      `Failed to initialize: failed to ${what} custom headers from ${HEADERS_VARIABLE} environment variable: ${reason}`,
    );
  let fields: string[];
  try {
    fields = csvFields(given);
  } catch {
    throw refuse("parse", "value must be formatted as comma-separated key=value pairs");
  }
  return Object.fromEntries(fields.map((field) => {
    const at = field.indexOf("=");
    const name = (at < 0 ? field : field.slice(0, at)).trim();
    if (name === "") throw refuse("set", `value contains a key=value pair with an empty key: '${field}'`);
    if (at < 0) throw refuse("set", `missing "=" in key=value pair: '${field}'`);
    return [name, field.slice(at + 1)];
  }));
}

/** Environment variables by the keys of a proxy's configuration, in both spellings (docker/cli: ParseProxyConfig). */
const PROXY_VARIABLES: Readonly<Record<keyof ProxyConfig, string>> = {
  httpProxy: "HTTP_PROXY",
  httpsProxy: "HTTPS_PROXY",
  noProxy: "NO_PROXY",
  ftpProxy: "FTP_PROXY",
  allProxy: "ALL_PROXY",
};

/**
 * The environment of a new container with the proxies that are set up for `host`. What is there already stays as it is.
 *
 * @param env `KEY=value`, or `KEY` alone.
 */
export function withProxies(env: readonly string[], host: string): string[] {
  const { proxies } = userConfig();
  const proxy = proxies?.[host] ?? proxies?.["default"];
  if (proxy === undefined) return [...env];
  const given = new Set(env.map((pair) => pair.split("=", 1)[0]));
  const added = Object.entries(PROXY_VARIABLES).flatMap(([key, name]) => {
    const value = proxy[key as keyof ProxyConfig];
    if (!value) return [];
    return [name, name.toLowerCase()].filter((spelling) => !given.has(spelling)).map((spelling) =>
      `${spelling}=${value}`
    );
  });
  return [...env, ...added];
}
