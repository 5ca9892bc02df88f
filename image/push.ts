import { EngineError } from "../base/errors.ts";
import { parseImageConfig } from "./image_config.ts";
import type { ImageRow } from "./image_tables.ts";
import { type Platform, requirePlatform } from "./platform.ts";
import type { TransferMessage } from "./pull.ts";
import { planPush, type PushLayer, type PushPlan } from "./push_manifest.ts";
import {
  canonicalName,
  canonicalString,
  familiarName,
  familiarString,
  parseReference,
  type Reference,
} from "../base/reference.ts";
import { RegistryClient } from "./registry/client.ts";
import { type Endpoint, endpointsOf } from "./registry/endpoints.ts";
import { ConnectionError, isTransient } from "./registry/errors.ts";
import { pause, retryDelay } from "./registry/retry.ts";
import type { RegistryAuth, RegistrySettings } from "./registry/settings.ts";
import { Transport } from "./registry/transport.ts";
import { mountBlob, uploadBlob, type UploadSource } from "./registry/upload.ts";
import type { StoreInternals } from "./store_internals.ts";
import { type Report, SharedTransfers, Slots } from "./transfers.ts";

/** `aux`: what programs read at the end of a push. */
export interface PushMessage extends TransferMessage {
  readonly aux?: { readonly Tag: string; readonly Digest: string; readonly Size: number };
}

export interface PushOptions {
  /** Without a tag: all tags of that name. */
  readonly reference: Reference;
  /** What the image must be for. Undefined: anything, an image is for one platform here. */
  readonly platform?: Platform | undefined;
  readonly auth?: RegistryAuth | undefined;
  readonly signal: AbortSignal;
  readonly report: (message: PushMessage) => void;
  /** Called with the id of each image before its layers are looked for. */
  readonly prepare?: (imageId: string) => Promise<void>;
}

interface LayerProgress {
  readonly status: string;
  readonly current?: number;
  readonly total?: number;
}

const REPORT_MS = 100;
/** Repositories that are tried as the source of a mount. */
const MAX_MOUNTS = 4;

/** Gives images to registries. One for each store. */
export class ImagePusher {
  readonly #store: StoreInternals;
  readonly #settings: RegistrySettings;
  readonly #slots: Slots;
  readonly #transfers = new SharedTransfers<void, LayerProgress>();

  constructor(store: StoreInternals, settings: RegistrySettings) {
    this.#store = store;
    this.#settings = settings;
    this.#slots = new Slots(() => settings.maxUploads);
  }

  /**
   * @throws {EngineError} in Docker's words; forbidden for an image of this machine's own directories, not-found for one of
   * another platform than was asked for.
   */
  async push(options: PushOptions): Promise<void> {
    const { reference, platform, report, signal } = options;
    const images = this.#images(reference);
    for (const { row, tagged } of images) {
      refuseHostImage(row, tagged);
      requirePlatform(familiarString(tagged), parseImageConfig(row.config), platform);
    }
    report({ status: `The push refers to repository [${canonicalName(reference)}]` });
    if (images.length === 0) {
      throw new EngineError(
        "not-found",
        reference.tag !== undefined && this.#tagsOf(reference).length > 0
          ? `tag does not exist: ${familiarString(reference)}`
          : `An image does not exist locally with the tag: ${familiarName(reference)}`,
      );
    }
    using transport = new Transport(this.#settings);
    const endpoint = await this.#reachable(reference, transport, signal);
    for (const { row, tagged } of images) {
      await options.prepare?.(row.id);
      const plan = await this.#plan(row);
      using _blobs = this.#store.content.hold(plan.layers.map(({ digest }) => digest));
      const mounts = this.#mountCandidates(reference, plan);
      const client = new RegistryClient(endpoint, reference.path, transport, options.auth, [
        `repository:${reference.path}:pull,push`,
        ...mounts.map((path) => `repository:${path}:pull`),
      ]);
      await this.#pushOne(client, row, tagged, plan, options);
    }
  }

  /** The first of the registry's addresses that answers at all: an insecure one may speak HTTPS or not. */
  async #reachable(reference: Reference, transport: Transport, signal: AbortSignal): Promise<Endpoint> {
    const endpoints = endpointsOf(reference.domain, this.#settings, true);
    for (const endpoint of endpoints.slice(0, -1)) {
      try {
        const response = await transport.fetch(`${endpoint.base}/v2/`, { signal, prompt: true });
        await response.body?.cancel();
        return endpoint;
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
      }
    }
    const last = endpoints.at(-1);
    if (last === undefined) throw new EngineError("system", `no registry is known for ${reference.domain}`);
    return last;
  }

  #tagsOf(reference: Reference): { ref: string; image_id: string }[] {
    return this.#store.tables.tagsOf(`${canonicalName(reference)}:`);
  }

  #images(reference: Reference): { row: ImageRow; tagged: Reference }[] {
    const { tables } = this.#store;
    const named = reference.tag === undefined
      ? this.#tagsOf(reference)
      : [tables.ref(canonicalString(reference))];
    return named.flatMap((ref) => {
      const row = ref && tables.image(ref.image_id);
      return row && ref ? [{ row, tagged: parseReference(ref.ref) }] : [];
    });
  }

  async #plan(row: ImageRow): Promise<PushPlan> {
    const { diff_ids: diffIds } = parseImageConfig(row.config).rootfs;
    return await planPush(this.#store.content, { id: row.id, configJson: row.config, diffIds });
  }

  /** Repositories of the same registry that are known to have some of the layers. */
  #mountCandidates(reference: Reference, plan: PushPlan): string[] {
    const prefix = `${reference.domain}/`;
    const paths = plan.layers.flatMap(({ digest }) => this.#store.content.origins(digest))
      .filter((origin) => origin.startsWith(prefix) && origin !== canonicalName(reference))
      .map((origin) => origin.slice(prefix.length));
    return [...new Set(paths)].slice(0, MAX_MOUNTS);
  }

  async #pushOne(
    client: RegistryClient,
    row: ImageRow,
    tagged: Reference,
    plan: PushPlan,
    { report, signal }: PushOptions,
  ): Promise<void> {
    const { content, tables } = this.#store;
    // the topmost first, as Docker lists them
    const layers = [...plan.layers].reverse();
    const idOf = ({ diffId }: PushLayer) => diffId.slice(7, 19);
    for (const layer of layers) report({ status: "Preparing", id: idOf(layer), progress: {} });
    const give = new AbortController();
    const both = AbortSignal.any([signal, give.signal]);
    await Promise.allSettled(layers.map(async (layer) => {
      const key = `${client.endpoint.base}/${client.path}@${layer.digest}`;
      const tell: Report<LayerProgress> = ({ status, ...progress }) =>
        report({ status, id: idOf(layer), progress });
      try {
        const work = (inner: Report<LayerProgress>, shared: AbortSignal) =>
          this.#pushLayer(client, tagged, layer, inner, shared);
        await this.#transfers.join(key, work, tell, both);
      } catch (error) {
        // the first failure ends the others
        give.abort(error);
        throw error;
      }
    }));
    signal.throwIfAborted();
    if (give.signal.aborted) throw give.signal.reason;
    const { digest, bytes } = plan.config;
    if (await this.#retrying(() => client.statBlob(digest, signal), () => {}, signal) === undefined) {
      const source = { bytes, size: bytes.length };
      await this.#retrying(
        () => uploadBlob(client, digest, source, undefined, () => {}, signal),
        () => {},
        signal,
      );
    }
    const tag = tagged.tag ?? "latest";
    const put = () => client.putManifest(tag, plan.mediaType, plan.bytes, signal);
    await this.#retrying(put, () => {}, signal);
    using manifest = await content.put(plan.bytes);
    tables.change(() => {
      if (tables.image(row.id) === undefined) return;
      content.setManifest(row.id, manifest.digest, plan.mediaType);
      tables.setRef(
        `${canonicalName(tagged)}@${manifest.digest}`,
        row.id,
        "digest",
        new Date().toISOString(),
      );
    });
    const size = plan.bytes.length;
    report({ status: `${tag}: digest: ${plan.digest} size: ${size}` });
    report({ status: "", aux: { Tag: tag, Digest: plan.digest, Size: size } });
  }

  async #pushLayer(
    client: RegistryClient,
    target: Reference,
    layer: PushLayer,
    report: Report<LayerProgress>,
    signal: AbortSignal,
  ): Promise<void> {
    const { content } = this.#store;
    const { digest, size } = layer;
    // the push that has begun it may let go while others wait for it
    using _connections = client.hold();
    using _blob = content.hold([digest]);
    using _slot = await this.#slots.take(signal, () => report({ status: "Waiting" }));
    const repository = canonicalName(target);
    const onRetry = (seconds: number) =>
      report({ status: `Retrying in ${seconds} second${seconds === 1 ? "" : "s"}` });
    if (await this.#retrying(() => client.statBlob(digest, signal), onRetry, signal) !== undefined) {
      content.setOrigin(digest, repository);
      return report({ status: "Layer already exists" });
    }
    content.forgetOrigin(digest, repository);
    const { mountedFrom, location } = await this.#mount(client, target, digest, signal);
    if (mountedFrom !== undefined) {
      content.setOrigin(digest, repository);
      return report({ status: `Mounted from ${mountedFrom}` });
    }
    const source: UploadSource = { path: content.path(digest), size };
    let open = location;
    let next = 0;
    const onBytes = (current: number) => {
      const now = performance.now();
      if (now < next && current < size) return;
      next = now + REPORT_MS;
      report({ status: "Pushing", current, total: size });
    };
    await this.#retrying(
      () => {
        const at = open;
        open = undefined;
        return uploadBlob(client, digest, source, at, onBytes, signal);
      },
      onRetry,
      signal,
    );
    content.setOrigin(digest, repository);
    report({ status: "Pushed" });
  }

  async #mount(
    client: RegistryClient,
    target: Reference,
    digest: string,
    signal: AbortSignal,
  ): Promise<{ mountedFrom?: string; location?: string | undefined }> {
    const { content } = this.#store;
    const prefix = `${target.domain}/`;
    const sources = content.origins(digest).filter((origin) => origin.startsWith(prefix)).slice(
      0,
      MAX_MOUNTS,
    );
    let location: string | undefined;
    for (const origin of sources) {
      const from = origin.slice(prefix.length);
      const outcome = await mountBlob(client, digest, from, signal);
      if (outcome.mounted) return { mountedFrom: from };
      location ??= outcome.location;
      // it is not there any more, or not for us
      content.forgetOrigin(digest, origin);
    }
    return { location };
  }

  async #retrying<T>(
    work: () => Promise<T>,
    onRetry: (seconds: number) => void,
    signal: AbortSignal,
  ): Promise<T> {
    for (let failures = 1;; failures++) {
      try {
        return await work();
      } catch (error) {
        signal.throwIfAborted();
        if (!isTransient(error) || failures >= this.#settings.maxAttempts) throw error;
        await pause(retryDelay(error, failures, this.#settings), onRetry, signal);
      }
    }
  }
}

/** @throws {EngineError} forbidden */
function refuseHostImage(row: ImageRow, tagged: Reference): void {
  const dirs = JSON.parse(row.host_dirs) as string[];
  if (dirs.length === 0) return;
  throw new EngineError(
    "forbidden",
    `${familiarString(tagged)} cannot be pushed: it is made of this machine's own ${
      dirs.join(", ")
    }, which no registry can hold`,
  );
}
