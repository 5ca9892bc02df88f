/** What docker's `config.json` says about the command line itself: default formats, detach keys, proxies, headers. */

import { dockerConfigDirectory } from "../base/paths.ts";

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
  /** More places of plugins. */
  readonly cliPluginsExtraDirs?: readonly string[];
  readonly HttpHeaders?: Readonly<Record<string, string>>;
  /** By the engine's address, or "default". */
  readonly proxies?: Readonly<Record<string, ProxyConfig>>;
};

let known: { readonly path: string; readonly config: UserConfig } | undefined;

/** Read once. A file that is missing or damaged says nothing here: whoever needs credentials of it complains. */
export function userConfig(): UserConfig {
  const path = `${dockerConfigDirectory()}/config.json`;
  if (known?.path !== path) known = { path, config: read(path) };
  return known.config;
}

function read(path: string): UserConfig {
  try {
    const value: unknown = JSON.parse(Deno.readTextFileSync(path));
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** A text of the file; whatever else somebody wrote there is none. */
export function configText(key: FormatKey | "detachKeys"): string {
  const value: unknown = userConfig()[key];
  return typeof value === "string" ? value : "";
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
