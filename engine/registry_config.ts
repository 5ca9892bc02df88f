import type { EngineOptions } from "./serve_options.ts";
import { DEFAULT_REGISTRY_SETTINGS, type RegistrySettings } from "../image/registry/settings.ts";

/** Directives of daemon.json about registries. */
export const REGISTRY_KEYS = [
  "registry-mirrors",
  "insecure-registries",
  "max-concurrent-downloads",
  "max-concurrent-uploads",
  "max-download-attempts",
  "proxies",
  "http-proxy",
  "https-proxy",
  "no-proxy",
] as const;

type Take = <T>(key: string, expected: string, test: (value: unknown) => value is T) => T | undefined;

/** Proxies as the file gives them; they count before those of the environment. */
export interface ProxySettings {
  readonly http: string | undefined;
  readonly https: string | undefined;
  readonly no: string | undefined;
}

/** Reads the directives; flags (`options`) stand in for those that are missing. `take` answers a directive's value or refuses its type; `refuse` makes dockerd's error. */
export function registrySettings(
  take: Take,
  refuse: (problem: string) => Error,
  options: Pick<EngineOptions, "configFile" | "insecureRegistries" | "registryMirrors">,
): { registry: RegistrySettings; proxies: ProxySettings } {
  const mirrors = take("registry-mirrors", "a list of strings", isTexts) ?? options.registryMirrors ?? [];
  for (const mirror of mirrors) {
    const url = URL.parse(mirror);
    if (url === null || !/^https?:$/.test(url.protocol)) {
      throw refuse(`invalid mirror: ${JSON.stringify(mirror)} is not a valid URI`);
    }
    if (url.search !== "" || url.hash !== "" || url.username !== "") {
      throw refuse(`invalid mirror: query, fragment or credentials in ${JSON.stringify(mirror)}`);
    }
  }
  const insecure = take("insecure-registries", "a list of strings", isTexts) ?? options.insecureRegistries ??
    [];
  for (const entry of insecure) {
    if (entry.includes("://")) throw refuse(`insecure registry ${entry} should not contain '://'`);
  }
  const count = (key: string, fallback: number) => take(key, "a positive whole number", isCount) ?? fallback;
  const nested = take("proxies", "an object of strings", isTextMap) ?? {};
  const proxy = (key: string) => nested[key] ?? take(key, "a string", isText);
  return {
    registry: {
      ...DEFAULT_REGISTRY_SETTINGS,
      mirrors,
      insecure,
      certDirs: [
        `${options.configFile.replace(/\/[^/]*$/, "")}/certs.d`,
        ...DEFAULT_REGISTRY_SETTINGS.certDirs,
      ],
      maxDownloads: count("max-concurrent-downloads", DEFAULT_REGISTRY_SETTINGS.maxDownloads),
      maxUploads: count("max-concurrent-uploads", DEFAULT_REGISTRY_SETTINGS.maxUploads),
      maxAttempts: count("max-download-attempts", DEFAULT_REGISTRY_SETTINGS.maxAttempts),
    },
    proxies: { http: proxy("http-proxy"), https: proxy("https-proxy"), no: proxy("no-proxy") },
  };
}

/** Docker's RegistryConfig, as `info` shows it. */
export function registryInfo({ mirrors, insecure }: RegistrySettings): Record<string, unknown> {
  const networks = insecure.filter((entry) => entry.includes("/"));
  const hosts = insecure.filter((entry) => !entry.includes("/"));
  const index = (Name: string, Secure: boolean, Mirrors: readonly string[] = []) => ({
    Name,
    Mirrors,
    Secure,
    Official: Name === "docker.io",
  });
  return {
    InsecureRegistryCIDRs: ["::1/128", "127.0.0.0/8", ...networks],
    IndexConfigs: Object.fromEntries([
      ["docker.io", index("docker.io", true, mirrors)],
      ...hosts.map((host) => [host, index(host, false)]),
    ]),
    Mirrors: mirrors.length > 0 ? mirrors : null,
  };
}

/**
 * Makes the proxies those of this process: Deno's client reads the environment, in either spelling. Loopback addresses
 * are never asked for by a proxy, as in Go.
 */
export function useProxies({ http, https, no }: ProxySettings): void {
  const set = (name: string, value: string | undefined) => {
    if (value === undefined) return;
    Deno.env.set(name.toUpperCase(), value);
    Deno.env.set(name.toLowerCase(), value);
  };
  set("HTTP_PROXY", http);
  set("HTTPS_PROXY", https);
  const given = no ?? (Deno.env.get("NO_PROXY") || Deno.env.get("no_proxy") || "");
  const used = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
  if (!used.some((name) => Deno.env.get(name))) return;
  set("NO_PROXY", [given, "localhost", "127.0.0.0/8", "::1"].filter((part) => part !== "").join(","));
}

const isText = (value: unknown): value is string => typeof value === "string";
const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText);
const isCount = (value: unknown): value is number => Number.isInteger(value) && Number(value) > 0;
const isTextMap = (value: unknown): value is Record<string, string> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every(isText);
