import { type RegistryAuth, type RegistrySettings } from "./registry/settings.ts";
import { translated } from "./pull.ts";
import type { Platform } from "./platform.ts";
import type { Reference } from "../base/reference.ts";
import { type FetchedManifest, RegistryClient } from "./registry/client.ts";
import { endpointsOf } from "./registry/endpoints.ts";
import { ConnectionError } from "./registry/errors.ts";
import { isImageConfig, isIndex, isManifest } from "./registry/media_types.ts";
import { Transport } from "./registry/transport.ts";
import { ociIndexSchema, ociManifestSchema, parseJson } from "./schemas.ts";

/** What a registry has under a name, without the image itself. */
export interface RemoteDescription {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platforms: readonly Platform[];
}

/** @throws {EngineError} in Docker's words. */
export async function describeRemote(
  reference: Reference,
  auth: RegistryAuth | undefined,
  settings: RegistrySettings,
  signal: AbortSignal,
): Promise<RemoteDescription> {
  using transport = new Transport(settings);
  const endpoints = endpointsOf(reference.domain, settings);
  for (const [i, endpoint] of endpoints.entries()) {
    const scopes = [`repository:${reference.path}:pull`];
    const client = new RegistryClient(endpoint, reference.path, transport, auth, scopes);
    try {
      const manifest = await client.manifest(reference.digest ?? reference.tag ?? "latest", signal);
      const { mediaType, digest, bytes } = manifest;
      return {
        mediaType,
        digest,
        size: bytes.length,
        platforms: await platformsOf(client, manifest, signal),
      };
    } catch (error) {
      signal.throwIfAborted();
      const last = i === endpoints.length - 1;
      if (last || !(endpoint.mirror || error instanceof ConnectionError)) throw translated(error, reference);
    }
  }
  throw new Error(`no endpoint for ${reference.domain}`);
}

async function platformsOf(
  client: RegistryClient,
  { mediaType, bytes }: FetchedManifest,
  signal: AbortSignal,
): Promise<Platform[]> {
  const text = new TextDecoder().decode(bytes);
  const platform = (value: { os?: unknown; architecture?: unknown; variant?: unknown }): Platform => ({
    os: String(value.os ?? ""),
    architecture: String(value.architecture ?? ""),
    ...(typeof value.variant === "string" && value.variant !== "" ? { variant: value.variant } : {}),
  });
  if (isIndex(mediaType)) {
    const { manifests } = parseJson(text, ociIndexSchema, "image index");
    return manifests.flatMap((one) => one.platform ? [platform(one.platform)] : []);
  }
  if (!isManifest(mediaType)) return [];
  const { config } = parseJson(text, ociManifestSchema, "image manifest");
  if (!isImageConfig(config.mediaType ?? "")) return [];
  const json: unknown = JSON.parse(
    new TextDecoder().decode(await client.smallBlob(config.digest, config.size, signal)),
  );
  return [platform((json ?? {}) as Record<string, unknown>)];
}
