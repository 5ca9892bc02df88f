import { HOST_PLATFORM } from "./platform.ts";
import { imageConfigSchema, parseJson } from "./schemas.ts";
import type { ContainerDefaults, ImageConfig } from "./types.ts";

/**
 * An image configuration from its JSON. Nulls (Go writes them for empty maps and lists) are left out; what Docker never
 * wrote but old images lack gets its meaning: no platform is this machine's.
 *
 * @throws {EngineError} invalid
 */
export function parseImageConfig(json: string): ImageConfig {
  const parsed = parseJson(json, imageConfigSchema, "image configuration");
  const config = withoutNulls(parsed.config ?? {});
  for (const key of ["Cmd", "Entrypoint"]) {
    if (typeof config[key] === "string") config[key] = ["/bin/sh", "-c", config[key]];
  }
  const { rootfs, history, ...rest } = parsed;
  return {
    ...withoutNulls(rest),
    architecture: parsed.architecture || HOST_PLATFORM.architecture,
    os: parsed.os || HOST_PLATFORM.os,
    config: config as ContainerDefaults,
    rootfs: { type: "layers", diff_ids: rootfs.diff_ids ?? [] },
    ...(history ? { history: history.map((entry) => withoutNulls(entry)) } : {}),
  };
}

function withoutNulls(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null && v !== undefined));
}
