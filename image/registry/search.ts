import { EngineError, notFound } from "../../base/errors.ts";
import { DEFAULT_DOMAIN } from "../../base/reference.ts";
import { endpointsOf } from "./endpoints.ts";
import { ConnectionError, errorOf } from "./errors.ts";
import type { RegistryAuth, RegistrySettings } from "./settings.ts";
import { Transport } from "./transport.ts";

export interface SearchResult {
  readonly name: string;
  readonly description: string;
  readonly star_count: number;
  readonly is_official: boolean;
  readonly is_automated: boolean;
}

/** Docker Hub's index, which answers searches; it is not the registry. */
const HUB_INDEX = "https://index.docker.io";

/**
 * Searches a registry by the old protocol, v1: the present one has no search.
 *
 * @param term words, after `host/` for a registry other than Docker Hub.
 * @throws {EngineError} not-found where the registry has none.
 */
export async function search(
  term: string,
  limit: number,
  auth: RegistryAuth | undefined,
  settings: RegistrySettings,
  signal: AbortSignal,
): Promise<SearchResult[]> {
  const [first = "", ...rest] = term.split("/");
  const hasHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  const domain = hasHost ? first : DEFAULT_DOMAIN;
  const words = hasHost ? rest.join("/") : term;
  const bases = domain === DEFAULT_DOMAIN
    ? [HUB_INDEX]
    : endpointsOf(domain, settings, true).map(({ base }) => base);
  using transport = new Transport(settings);
  const { username, password } = auth ?? {};
  const headers = username
    ? { Authorization: `Basic ${new TextEncoder().encode(`${username}:${password ?? ""}`).toBase64()}` }
    : {};
  for (const [i, base] of bases.entries()) {
    const url = `${base}/v1/search?q=${encodeURIComponent(words)}&n=${limit}`;
    try {
      const response = await transport.fetch(url, { headers, signal, prompt: true });
      if (response.status === 404 || response.status === 405) {
        await response.body?.cancel();
        throw notFound(`search is not available: the registry ${domain} does not offer it`);
      }
      if (!response.ok) throw await errorOf(response);
      const answer = await response.json() as { results?: unknown };
      return Array.isArray(answer.results) ? answer.results.map(resultOf) : [];
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      if (i === bases.length - 1) {
        throw new EngineError("unavailable", `search is not available: ${error.message}`, { cause: error });
      }
    }
  }
  return [];
}

function resultOf(value: unknown): SearchResult {
  const { name, description, star_count, is_official, is_automated } = (value ?? {}) as Record<
    string,
    unknown
  >;
  return {
    name: String(name ?? ""),
    description: String(description ?? ""),
    star_count: Number(star_count ?? 0),
    is_official: is_official === true,
    is_automated: is_automated === true,
  };
}
