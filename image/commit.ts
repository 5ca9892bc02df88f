import { invalid } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import type { LayerFile } from "../fs/tree_job.ts";
import { UnpackPool } from "../fs/unpack.ts";
import { applyChanges } from "./change.ts";
import { chainIds } from "./digest.ts";
import { LAYER_TAR } from "./layer_media.ts";
import type { LayerRecord } from "./layer_store.ts";
import type { StoreInternals } from "./store_internals.ts";
import type { ContainerDefaults, Image } from "./types.ts";

/** Layers that an image may have: what Docker allows (moby: layer.maxLayerDepth). */
const MAX_LAYERS = 125;

export interface CommitOptions {
  /** The container's image. */
  readonly base: Image;
  /** What the container has changed, as a layer's archive. */
  readonly layer: LayerFile;
  /** The archive: it is taken over. */
  readonly file: string;
  /** Id of the container. */
  readonly container: string;
  /** The container's configuration, as far as images have it. */
  readonly defaults: ContainerDefaults;
  /** Lines of a Dockerfile. */
  readonly changes: readonly string[];
  readonly author: string;
  readonly comment: string;
  /** The container's command. */
  readonly createdBy: string;
}

/** A new image on top of another, ready to be put into the database. */
export interface CommittedImage {
  readonly configJson: string;
  readonly layers: readonly LayerRecord[];
  readonly chain: readonly string[];
}

/**
 * Makes the layer and the configuration of an image out of what a container has changed, and hands them to `insert` while
 * everything is held.
 *
 * @throws {EngineError} invalid
 */
export async function commitImage<T>(
  { layers, content, tables }: StoreInternals,
  options: CommitOptions,
  insert: (image: CommittedImage) => Promise<T>,
): Promise<T> {
  const { base, layer, file } = options;
  const config = await applyChanges(options.defaults, options.changes);
  const empty = layer.entries === 0;
  const baseIds = base.config.rootfs.diff_ids;
  if (!empty && baseIds.length >= MAX_LAYERS) throw invalid("max depth exceeded");
  const diffIds = empty ? baseIds : [...baseIds, layer.diffId];
  const chain = await chainIds(diffIds);
  using _hold = layers.hold(chain);
  using _blob = content.hold([layer.diffId]);
  const records = base.chainIds.flatMap((id) => tables.layer(id) ?? []);
  if (!empty) {
    using pool = new UnpackPool(1);
    if (content.get(layer.diffId) === undefined) {
      content.adopt(file, { digest: layer.diffId, size: layer.length });
    }
    content.setLayerBlob(layer.diffId, layer.diffId, LAYER_TAR);
    records.push(
      await layers.ensure({
        chainId: chain.at(-1) ?? "",
        parent: chain.at(-2) ?? "",
        diffId: layer.diffId,
        part: { path: content.path(layer.diffId), offset: 0, length: layer.length },
        digest: layer.diffId,
      }, pool),
    );
  }
  return await insert({ configJson: configJson(options, config, diffIds, empty), layers: records, chain });
}

function configJson(
  { base, author, comment, container, createdBy }: CommitOptions,
  config: ContainerDefaults,
  diffIds: readonly string[],
  empty: boolean,
): string {
  const created = new Date().toISOString();
  const { architecture, os, variant, history = [] } = base.config;
  return JSON.stringify({
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    ...(author === "" ? {} : { author }),
    ...(comment === "" ? {} : { comment }),
    container,
    created,
    docker_version: VERSION,
    config,
    rootfs: { type: "layers", diff_ids: diffIds },
    history: [...history, {
      created,
      created_by: createdBy,
      ...(author === "" ? {} : { author }),
      ...(comment === "" ? {} : { comment }),
      ...(empty ? { empty_layer: true } : {}),
    }],
  });
}
