import { invalid, messageOf } from "../../base/errors.ts";
import { parsePlatform, type Platform } from "../../image/platform.ts";
import { type AppContext, atLeast } from "../context.ts";

/** The JSON of an OCI platform, with Docker's refusals (moby: DecodePlatform). @throws {EngineError} invalid */
export function decodePlatform(text: string): Platform {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`failed to parse platform: ${messageOf(error)}`);
  }
  const { os, architecture, variant } = (value ?? {}) as Record<string, unknown>;
  if (!os && !architecture && variant) {
    throw invalid("optional platform fields provided, but OS and Architecture are missing");
  }
  if (typeof os !== "string" || typeof architecture !== "string" || !os || !architecture) {
    throw invalid("both OS and Architecture must be provided");
  }
  return parsePlatform(
    [os, architecture, ...(typeof variant === "string" && variant ? [variant] : [])].join("/"),
  );
}

/**
 * The parameter `platform` of routes that have it since `version`; older clients cannot mean it.
 *
 * @throws {EngineError} invalid
 */
export function platformSince(c: AppContext, version: string): Platform | undefined {
  const given = c.req.queries("platform") ?? [];
  if (!atLeast(c, version)) return undefined;
  if (given.length > 1) throw invalid("multiple platform parameters not supported");
  return given[0] ? decodePlatform(given[0]) : undefined;
}

/** The parameters `platforms` of a removal, of which there can be one: an image is for one platform here. */
export function platformOfRemoval(c: AppContext): Platform | undefined {
  if (!atLeast(c, "1.50")) return undefined;
  const [platform, ...more] = (c.req.queries("platforms") ?? []).map(decodePlatform);
  if (more.length > 0) throw invalid("multiple platforms are not supported");
  return platform;
}
