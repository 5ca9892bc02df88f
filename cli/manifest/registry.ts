/** What `manifest` asks of registries, without an engine between: read manifests and lists, put lists together there. */

import { messageOf } from "../../base/errors.ts";
import { canonicalString, type Reference } from "../../base/reference.ts";
import { RegistryClient } from "../../image/registry/client.ts";
import { endpointsOf } from "../../image/registry/endpoints.ts";
import { ConnectionError, RegistryError } from "../../image/registry/errors.ts";
import { isIndex, isManifest } from "../../image/registry/media_types.ts";
import { DEFAULT_REGISTRY_SETTINGS, type RegistrySettings } from "../../image/registry/settings.ts";
import { Transport } from "../../image/registry/transport.ts";
import { mountBlob } from "../../image/registry/upload.ts";
import { CliError } from "../errors.ts";
import { registryCredentials } from "../registry/auth_header.ts";
import { blobsOf, type Descriptor, type ImageManifest, jsonOf, platformOf } from "./image_manifest.ts";

/** What a name leads to. */
export type Fetched =
  | { readonly kind: "image"; readonly manifest: ImageManifest }
  | { readonly kind: "list"; readonly manifests: ImageManifest[] };

/** A conversation with one registry. */
export class ManifestRegistry implements Disposable {
  readonly #settings: RegistrySettings;
  readonly #transport: Transport;

  /** @param insecure the registry may be spoken to in the clear, or with a certificate that proves nothing. */
  constructor(domain: string, insecure: boolean) {
    const home = Deno.env.get("XDG_CONFIG_HOME") || `${Deno.env.get("HOME") || "/root"}/.config`;
    this.#settings = {
      ...DEFAULT_REGISTRY_SETTINGS,
      insecure: insecure ? [domain] : [],
      certDirs: [`${home}/docker/certs.d`, ...DEFAULT_REGISTRY_SETTINGS.certDirs],
    };
    this.#transport = new Transport(this.#settings);
  }

  /** @throws {CliError} there is no such manifest, or the registry refuses. */
  async fetch(ref: Reference): Promise<Fetched> {
    const name = canonicalString(ref);
    return await this.#with(ref, "pull", async (client) => {
      let found;
      try {
        found = await client.manifest(ref.tag ?? ref.digest ?? "latest");
      } catch (error) {
        throw error instanceof RegistryError && isMissing(error)
          ? new CliError(`no such manifest: ${name}`)
          : error;
      }
      const { mediaType, bytes: raw, digest } = found;
      if (ref.digest !== undefined && ref.digest !== digest) {
        throw new CliError(`manifest verification failed for digest ${ref.digest}`);
      }
      if (isManifest(mediaType)) {
        return { kind: "image", manifest: await withPlatform(client, name, mediaType, digest, raw) };
      }
      if (!isIndex(mediaType)) throw new CliError(`unsupported manifest format: ${mediaType}`);
      const { manifests } = jsonOf({ raw }) as { manifests?: readonly Descriptor[] | null };
      const base = name.replace(/@.*$/, "");
      return {
        kind: "list",
        manifests: await Promise.all((manifests ?? []).map((entry) => memberOf(client, base, entry))),
      };
    });
  }

  /** As {@link fetch}, of an image alone. @throws {CliError} also when the name leads to a list. */
  async image(ref: Reference): Promise<ImageManifest> {
    const found = await this.fetch(ref);
    if (found.kind === "list") throw new CliError(`${canonicalString(ref)} is a manifest list`);
    return found.manifest;
  }

  /** Makes what an image of another repository consists of known to `target`'s. @throws {CliError} */
  async mount(manifest: ImageManifest, from: string, target: Reference): Promise<void> {
    await this.#with(target, "pull,push", async (client) => {
      for (const digest of blobsOf(manifest)) {
        const outcome = await mountBlob(client, digest, from, AbortSignal.timeout(MOUNT_TIMEOUT_MS));
        if (outcome.mounted || await client.statBlob(digest) !== undefined) continue;
        // The base layers of Windows are not stored in registries.
        if (manifest.descriptor.platform?.os === "windows") continue;
        throw new CliError(`error mounting ${from}@${digest} to ${canonicalString(target)}`);
      }
    }, from);
  }

  /** @param reference tag or digest. Returns the digest that the registry knows the manifest by. */
  async put(
    target: Reference,
    reference: string,
    mediaType: string,
    bytes: Uint8Array<ArrayBuffer>,
  ): Promise<string> {
    return await this.#with(target, "pull,push", async (client) => {
      try {
        const response = await client.expect(client.url(`manifests/${reference}`), [200, 201, 202], {
          method: "PUT",
          headers: { "Content-Type": mediaType },
          body: () => bytes,
        });
        await response.body?.cancel();
        return response.headers.get("docker-content-digest") ?? "";
      } catch (error) {
        if (!(error instanceof RegistryError)) throw error;
        throw new CliError(`failed to put manifest ${canonicalString(target)}: ${error.message}`);
      }
    });
  }

  /** Asks the registry's addresses one after the other, until one can be reached. */
  async #with<T>(
    ref: Reference,
    actions: string,
    exchange: (client: RegistryClient) => Promise<T>,
    from?: string,
  ): Promise<T> {
    const credentials = await registryCredentials(canonicalString(ref));
    const scopes = [
      `repository:${ref.path}:${actions}`,
      ...(from === undefined ? [] : [`repository:${from}:pull`]),
    ];
    let failure: unknown;
    for (const endpoint of endpointsOf(ref.domain, this.#settings, true)) {
      try {
        return await exchange(new RegistryClient(endpoint, ref.path, this.#transport, credentials, scopes));
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
        failure = error;
      }
    }
    throw new CliError(
      `failed to configure transport: error pinging v2 registry: ${messageOf(failure)}`,
    );
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }
}

const MOUNT_TIMEOUT_MS = 60_000;

/** What docker takes as "there is none": registries say so to those who may not know, too. */
const isMissing = ({ status, code }: RegistryError): boolean =>
  status === 404 || ["UNAUTHORIZED", "MANIFEST_UNKNOWN", "NAME_UNKNOWN"].includes(code);

async function memberOf(client: RegistryClient, base: string, entry: Descriptor): Promise<ImageManifest> {
  const { mediaType, bytes, digest } = await client.manifest(entry.digest);
  if (!isManifest(mediaType)) throw new CliError(`unsupported manifest type: ${mediaType}`);
  const descriptor = { mediaType, digest, size: bytes.length, platform: platformOf({ ...entry.platform }) };
  return { ref: `${base}@${digest}`, descriptor, raw: bytes };
}

/** The platform of an image that stands in no list is in its configuration. */
async function withPlatform(
  client: RegistryClient,
  ref: string,
  mediaType: string,
  digest: string,
  raw: Uint8Array<ArrayBuffer>,
): Promise<ImageManifest> {
  const { config } = jsonOf({ raw }) as { config?: { digest?: string; size?: number } };
  const bytes = await client.smallBlob(config?.digest ?? "", config?.size ?? 0);
  const platform = platformOf(JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>);
  return { ref, descriptor: { mediaType, digest, size: raw.length, platform }, raw };
}
