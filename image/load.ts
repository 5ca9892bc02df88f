import { invalid, notFound } from "../base/errors.ts";
import { UnpackPool } from "../fs/unpack.ts";
import { chunksOf } from "./abortable.ts";
import { SpooledArchive } from "./archive_spool.ts";
import { chainIds } from "./digest.ts";
import { DOCKER_MANIFEST, planDockerArchive } from "./docker_archive.ts";
import { KeptLayers } from "./kept_layers.ts";
import type { PlannedImage } from "./load_plan.ts";
import { OCI_INDEX, planOciLayout } from "./oci_layout.ts";
import { formatPlatform, matches, type Platform, platformOf } from "./platform.ts";
import { familiarString } from "../base/reference.ts";
import type { StoreInternals } from "./store_internals.ts";

/** Layers of one archive that are unpacked at the same time. */
const PARALLEL_LAYERS = 2;

/** How far a load is. `current` and `total` are bytes of the archive or of one layer in it. */
export interface LoadProgress {
  /** Short diff id of a layer; "" while the archive comes in. */
  readonly id: string;
  readonly status: "Receiving archive" | "Loading layer" | "Layer already exists";
  readonly current: number;
  /** 0 = unknown */
  readonly total: number;
}

/** Takes in an archive of `docker save`, or an OCI image layout as tar; compressed or not. */
export async function loadArchive(
  store: StoreInternals,
  input: ReadableStream<Uint8Array>,
  options: {
    signal?: AbortSignal | undefined;
    onProgress?: ((progress: LoadProgress) => void) | undefined;
    /** Only what is for it. Undefined: of an index for several, this machine's; else whatever there is. */
    platform?: Platform | undefined;
  } = {},
): Promise<{ images: { id: string; refs: string[] }[] }> {
  const { signal, onProgress } = options;
  store.layers.makeTmp();
  using archive = await SpooledArchive.spool(
    chunksOf(input, signal),
    `${store.layers.tmp}/load-${crypto.randomUUID()}`,
    throttled((current) => onProgress?.({ id: "", status: "Receiving archive", current, total: 0 })),
  );
  const plans = await planArchive(archive, options.platform);
  using pool = new UnpackPool(PARALLEL_LAYERS);
  const images: { id: string; refs: string[] }[] = [];
  for (const plan of plans) images.push(await loadImage(store, plan, pool, signal, onProgress));
  return { images };
}

async function loadImage(
  store: StoreInternals,
  plan: PlannedImage,
  pool: UnpackPool,
  signal: AbortSignal | undefined,
  onProgress: ((progress: LoadProgress) => void) | undefined,
): Promise<{ id: string; refs: string[] }> {
  const chain = await chainIds(plan.config.rootfs.diff_ids);
  using _hold = store.layers.hold(chain);
  using kept = new KeptLayers(store.content);
  const give = new AbortController();
  const layerSignal = signal ? AbortSignal.any([signal, give.signal]) : give.signal;
  const outcomes = await Promise.allSettled(plan.layers.map(async (layer, i) => {
    const chainId = chain[i] ?? "";
    const id = layer.diffId.slice(7, 19);
    const total = layer.part?.length ?? 0;
    const existing = store.layers.known(chainId) !== undefined;
    onProgress?.({
      id,
      status: existing ? "Layer already exists" : "Loading layer",
      current: existing ? total : 0,
      total,
    });
    try {
      const record = await store.layers.ensure(
        {
          ...layer,
          chainId,
          parent: chain[i - 1] ?? "",
          unpacked: async (digest) => {
            if (layer.part) await kept.keep(layer.diffId, layer.part, digest);
          },
        },
        pool,
        layerSignal,
      );
      if (layer.part) await kept.keep(layer.diffId, layer.part, undefined);
      if (!existing) onProgress?.({ id, status: "Loading layer", current: total, total });
      return record;
    } catch (error) {
      // the first failure ends the others
      give.abort(error);
      throw error;
    }
  }));
  signal?.throwIfAborted();
  if (give.signal.aborted) throw give.signal.reason;
  const records = outcomes.flatMap((outcome) => outcome.status === "fulfilled" ? [outcome.value] : []);
  const id = await store.insert(plan.configJson, records, chain, plan.refs);
  return { id, refs: plan.refs.map(familiarString) };
}

/** docker's own index is preferred: only it has the tags as docker wrote them. */
async function planArchive(archive: SpooledArchive, platform: Platform | undefined): Promise<PlannedImage[]> {
  if (archive.has(DOCKER_MANIFEST)) return ofPlatform(await planDockerArchive(archive), platform);
  if (archive.has(OCI_INDEX)) return ofPlatform(await planOciLayout(archive, platform), platform);
  throw invalid("invalid archive: does not contain a manifest.json or an index.json");
}

/** @throws {EngineError} not-found when there is no image for it. */
function ofPlatform(images: PlannedImage[], platform: Platform | undefined): PlannedImage[] {
  if (platform === undefined) return images;
  const chosen = images.filter(({ config }) => matches(platformOf(config), platform));
  if (chosen.length > 0) return chosen;
  throw notFound(`the archive holds no image for platform ${formatPlatform(platform)}`);
}

/** Lets through one call for every mebibyte. */
function throttled(report: (bytes: number) => void): (bytes: number) => void {
  let next = 0;
  return (bytes) => {
    if (bytes < next) return;
    next = bytes + 1024 * 1024;
    report(bytes);
  };
}
