import { EngineError } from "../base/errors.ts";
import { chainIds } from "./digest.ts";
import { LayerPuller, type WantedLayer } from "./layer_pull.ts";
import { matches, type Platform, platformMismatch, platformOf } from "./platform.ts";
import { type RemoteImage, resolveImage } from "./pull_manifest.ts";
import { canonicalName, familiarName, familiarString, type Reference } from "../base/reference.ts";
import { RegistryClient } from "./registry/client.ts";
import { endpointsOf } from "./registry/endpoints.ts";
import { ConnectionError, isTransient, RegistryError } from "./registry/errors.ts";
import type { RegistryAuth, RegistrySettings } from "./registry/settings.ts";
import { Transport } from "./registry/transport.ts";
import type { StoreInternals } from "./store_internals.ts";

/** A line of Docker's progress stream, before it is made into JSON. */
export interface TransferMessage {
  readonly status: string;
  readonly id?: string;
  /** Present (perhaps without numbers) for a layer's own lines. */
  readonly progress?: { readonly current?: number; readonly total?: number };
}

export interface PullOptions {
  /** With neither tag nor digest: all tags. */
  readonly reference: Reference;
  readonly platform?: Platform | undefined;
  readonly auth?: RegistryAuth | undefined;
  readonly signal: AbortSignal;
  readonly report: (message: TransferMessage) => void;
}

/** Gets images from registries. One for each store. */
export class ImagePuller {
  readonly #store: StoreInternals;
  readonly #settings: RegistrySettings;
  readonly #layers: LayerPuller;

  constructor(store: StoreInternals, settings: RegistrySettings) {
    this.#store = store;
    this.#settings = settings;
    this.#layers = new LayerPuller(store.layers, store.content, settings);
  }

  /**
   * Pulls one image, or all tags of a repository.
   *
   * @returns the names that were pulled and the ids they lead to.
   * @throws {EngineError} in Docker's words.
   */
  async pull(options: PullOptions): Promise<{ id: string; reference: Reference }[]> {
    const { reference, auth, signal } = options;
    using transport = new Transport(this.#settings);
    const endpoints = endpointsOf(reference.domain, this.#settings);
    for (const [i, endpoint] of endpoints.entries()) {
      const client = new RegistryClient(endpoint, reference.path, transport, auth, [
        `repository:${reference.path}:pull`,
      ]);
      try {
        return await this.#pullFrom(client, options);
      } catch (error) {
        signal.throwIfAborted();
        const last = i === endpoints.length - 1;
        if (last || !(endpoint.mirror || error instanceof ConnectionError)) {
          throw translated(error, reference);
        }
        if (endpoint.mirror) {
          this.#store.log(`mirror ${endpoint.base}: ${error instanceof Error ? error.message : error}`);
        }
      }
    }
    throw new EngineError("system", `no registry is known for ${reference.domain}`);
  }

  async #pullFrom(
    client: RegistryClient,
    options: PullOptions,
  ): Promise<{ id: string; reference: Reference }[]> {
    const { reference, signal } = options;
    if (reference.tag !== undefined || reference.digest !== undefined) {
      return [{ id: await this.#pullOne(client, reference, options), reference }];
    }
    const tags = await client.tags(signal);
    const pulled: { id: string; reference: Reference }[] = [];
    for (const tag of tags) {
      const tagged = { ...reference, tag };
      pulled.push({ id: await this.#pullOne(client, tagged, options), reference: tagged });
    }
    return pulled;
  }

  async #pullOne(client: RegistryClient, reference: Reference, options: PullOptions): Promise<string> {
    const { report, signal, platform } = options;
    // a tag beside a digest says nothing: the digest decides
    const wanted = reference.digest ?? reference.tag ?? "latest";
    const top = await client.manifest(wanted, signal);
    report({ status: `Pulling from ${reference.path}`, id: wanted });
    const image = await resolveImage(client, top, platform, familiarString(reference), signal);
    const { id, changed } = await this.#take(client, image, reference, options);
    report({ status: `Digest: ${image.digest}` });
    const name = familiarString(reference);
    report({
      status: changed
        ? `Status: Downloaded newer image for ${name}`
        : `Status: Image is up to date for ${name}`,
    });
    // an image that is for one platform only is taken all the same, as in Docker
    const actual = platformOf(image.config);
    if (platform !== undefined && !matches(actual, platform)) {
      report({ status: `WARNING: ${platformMismatch(name, actual, platform).message}` });
    }
    return id;
  }

  async #take(
    client: RegistryClient,
    image: RemoteImage,
    reference: Reference,
    { report, signal }: PullOptions,
  ): Promise<{ id: string; changed: boolean }> {
    const { layers: layerStore, content } = this.#store;
    const chain = await chainIds(image.config.rootfs.diff_ids);
    using _layers = layerStore.hold(chain);
    const blobs = [image.manifest.digest, ...image.layers.map(({ digest }) => digest)];
    using _blobs = content.hold(blobs);
    using _use = this.#layers.use();
    const wanted = image.layers.map((layer, i): WantedLayer => ({
      ...layer,
      chainId: chain[i] ?? "",
      parent: chain[i - 1] ?? "",
    }));
    const missing = new Set(wanted.filter(({ chainId }) => layerStore.known(chainId) === undefined));
    const idOf = ({ digest }: WantedLayer) => digest.slice(7, 19);
    for (const layer of wanted) {
      const status = missing.has(layer) ? "Pulling fs layer" : "Already exists";
      report({ status, id: idOf(layer), progress: {} });
    }
    const give = new AbortController();
    const both = AbortSignal.any([signal, give.signal]);
    const outcomes = await Promise.allSettled(wanted.map(async (layer) => {
      const id = idOf(layer);
      try {
        const record = await this.#layers.pull(layer, client, ({ status, ...progress }) => {
          if (missing.has(layer)) report({ status, id, progress });
        }, both);
        if (missing.has(layer)) report({ status: "Pull complete", id, progress: {} });
        return record;
      } catch (error) {
        // the first failure ends the others
        give.abort(error);
        throw error;
      }
    }));
    // what has come whole is not to be fetched again
    if (signal.aborted || isTransient(give.signal.reason)) content.shelve(blobs);
    signal.throwIfAborted();
    if (give.signal.aborted) throw give.signal.reason;
    const records = outcomes.flatMap((outcome) => outcome.status === "fulfilled" ? [outcome.value] : []);
    using manifest = await content.put(image.manifest.bytes);
    const repository = canonicalName(reference);
    return await this.#store.insertPulled({
      configJson: image.configJson,
      records,
      chain,
      reference,
      digest: image.digest,
      also: (imageId) => {
        content.setManifest(imageId, manifest.digest, image.manifest.mediaType);
        for (const { digest, diffId, mediaType } of image.layers) {
          if (content.get(digest) !== undefined) content.setLayerBlob(diffId, digest, mediaType);
          content.setOrigin(digest, repository);
        }
      },
    });
  }
}

/** A registry's refusal as Docker tells it (moby: distribution/errors.go). */
export function translated(error: unknown, reference: Reference): unknown {
  if (!(error instanceof RegistryError)) return error;
  const name = familiarName(reference);
  switch (error.code) {
    case "MANIFEST_UNKNOWN":
      return new EngineError(
        "not-found",
        `manifest for ${familiarString(reference)} not found: ${error.message}`,
      );
    case "NAME_UNKNOWN":
      return new EngineError("not-found", `repository ${name} not found: ${error.message}`);
    case "DENIED":
      return new EngineError(
        "not-found",
        `pull access denied for ${name}, repository does not exist or may require 'docker login': ${error.message}`,
      );
    default: {
      const refused = error.kind === "unauthorized" || error.kind === "forbidden";
      return new EngineError(refused ? error.kind : "system", error.message, { cause: error });
    }
  }
}
