import { Growth } from "../fs/growing_file.ts";
import { UnpackPool } from "../fs/unpack.ts";
import { BlobDownload, DigestMismatch } from "./blob_download.ts";
import type { ContentStore } from "./content_store.ts";
import type { LayerDownload, LayerRecord, LayerStore } from "./layer_store.ts";
import type { RemoteLayer } from "./pull_manifest.ts";
import type { RegistryClient } from "./registry/client.ts";
import type { RegistrySettings } from "./registry/settings.ts";
import { type Report, SharedTransfers, Slots } from "./transfers.ts";

/** How far a layer is, in Docker's words. */
export interface LayerProgress {
  readonly status: string;
  /** Bytes of the compressed layer; absent when there is nothing to count. */
  readonly current?: number;
  readonly total?: number;
}

/** Time between two reports of the same kind. */
const REPORT_MS = 100;

/** Attempts at a layer whose first download was spoilt, or shared with a pull that was called off. */
const MAX_ROUNDS = 3;

export interface WantedLayer extends RemoteLayer {
  readonly chainId: string;
  /** Chain id below, "" for the first. */
  readonly parent: string;
}

/**
 * Gets layers: each is downloaded, verified and unpacked in one go, several at a time, and once only however many pulls
 * want it.
 */
export class LayerPuller {
  readonly #layers: LayerStore;
  readonly #content: ContentStore;
  readonly #settings: RegistrySettings;
  readonly #slots: Slots;
  readonly #transfers = new SharedTransfers<LayerRecord, LayerProgress>();
  /** By digest: images may have the same bytes at several places. */
  readonly #downloads = new Map<string, Promise<LayerDownload>>();
  #pool: UnpackPool | undefined;
  #users = 0;

  constructor(layers: LayerStore, content: ContentStore, settings: RegistrySettings) {
    this.#layers = layers;
    this.#content = content;
    this.#settings = settings;
    this.#slots = new Slots(() => settings.maxDownloads);
  }

  /** Keeps the unpacking threads for as long as somebody pulls. */
  use(): Disposable {
    this.#users++;
    return {
      [Symbol.dispose]: () => {
        if (--this.#users > 0) return;
        this.#pool?.close();
        this.#pool = undefined;
      },
    };
  }

  /** The caller holds the layer and its blob, and has a {@link use}. */
  async pull(
    layer: WantedLayer,
    client: RegistryClient,
    report: Report<LayerProgress>,
    signal: AbortSignal,
  ): Promise<LayerRecord> {
    const work = (tell: Report<LayerProgress>, shared: AbortSignal) =>
      this.#work(layer, client, tell, shared);
    return await this.#transfers.join(layer.chainId, work, report, signal);
  }

  async #work(
    layer: WantedLayer,
    client: RegistryClient,
    report: Report<LayerProgress>,
    signal: AbortSignal,
  ): Promise<LayerRecord> {
    // the pull that has begun it may let go while others wait for it
    using _connections = client.hold();
    using _layer = this.#layers.hold([layer.chainId]);
    using _blob = this.#content.hold([layer.digest]);
    // When nobody wants it any more, whoever lets go of the blob last, the pull or this, keeps it for the next one.
    using _kept = {
      [Symbol.dispose]: () => {
        if (signal.aborted) this.#content.shelve([layer.digest]);
      },
    };
    using _use = this.use();
    const pool = this.#pool ??= new UnpackPool(Math.min(4, Math.max(2, navigator.hardwareConcurrency)));
    for (let round = 1;; round++) {
      using extracting = new Extracting(layer.size, report);
      try {
        const download = async () => {
          const { file, verified } = await this.#download(layer, client, report, signal);
          const told = verified.then(() => extracting.follow(file.growth));
          // whoever unpacks waits for it, unless that has failed before
          told.catch(() => {});
          return { file, verified: told };
        };
        return await this.#layers.ensure({ ...layer, part: undefined, download }, pool, signal);
      } catch (error) {
        signal.throwIfAborted();
        const again = error instanceof DigestMismatch ? error.resumed : error instanceof DOMException;
        if (!again || round >= MAX_ROUNDS) throw error;
      }
    }
  }

  async #download(
    layer: WantedLayer,
    client: RegistryClient,
    report: Report<LayerProgress>,
    signal: AbortSignal,
  ): Promise<LayerDownload> {
    if (this.#content.get(layer.digest) !== undefined) return present(this.#content, layer);
    const running = this.#downloads.get(layer.digest);
    if (running !== undefined) return await running;
    const started = this.#start(layer, client, report, signal);
    this.#downloads.set(layer.digest, started);
    const forget = () => this.#downloads.delete(layer.digest);
    started.then(({ verified }) => verified).then(forget, forget);
    return await started;
  }

  async #start(
    layer: WantedLayer,
    client: RegistryClient,
    report: Report<LayerProgress>,
    signal: AbortSignal,
  ): Promise<LayerDownload> {
    const { digest, size } = layer;
    const slot = await this.#slots.take(signal, () => report({ status: "Waiting" }));
    try {
      const download = new BlobDownload(this.#content, { digest, size });
      await download.prepare(signal);
      let next = 0;
      const verified = download.run(client, this.#settings, {
        onBytes(current) {
          const now = performance.now();
          if (now < next && current < size) return;
          next = now + REPORT_MS;
          report({ status: "Downloading", current, total: size });
        },
        onRetry: (seconds) => report({ status: `Retrying in ${seconds} second${seconds === 1 ? "" : "s"}` }),
        onVerify: () => report({ status: "Verifying Checksum" }),
      }, signal).then(() => report({ status: "Download complete" })).finally(() => slot[Symbol.dispose]());
      verified.catch(() => {});
      return { file: download.file, verified };
    } catch (error) {
      slot[Symbol.dispose]();
      throw error;
    }
  }
}

/** A blob that the store has already. */
function present(content: ContentStore, { digest, size }: WantedLayer): LayerDownload {
  const growth = new Growth();
  growth.grow(size);
  growth.end(true);
  return { file: { path: () => content.path(digest), growth }, verified: Promise.resolve() };
}

/** Tells how far unpacking is once the download is whole. */
class Extracting implements Disposable {
  readonly #total: number;
  readonly #report: Report<LayerProgress>;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(total: number, report: Report<LayerProgress>) {
    this.#total = total;
    this.#report = report;
  }

  follow(growth: Growth): void {
    const tell = () => this.#report({ status: "Extracting", current: growth.consumed, total: this.#total });
    tell();
    this.#timer = setInterval(tell, REPORT_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
