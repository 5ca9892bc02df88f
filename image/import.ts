import { invalid } from "../base/errors.ts";
import { UnpackPool } from "../fs/unpack.ts";
import { chunksOf } from "./abortable.ts";
import { applyChanges } from "./change.ts";
import { KeptLayers } from "./kept_layers.ts";
import { HOST_PLATFORM, parsePlatform } from "./platform.ts";
import { parseReference, withDefaultTag } from "../base/reference.ts";
import type { StoreInternals } from "./store_internals.ts";

export interface ImportOptions {
  readonly reference?: string | undefined;
  /** Lines of a Dockerfile, `--change`. */
  readonly changes: readonly string[];
  readonly message?: string | undefined;
  readonly platform?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Makes an image of one layer out of a root file system's tar archive, as `docker import`. */
export async function importTar(
  store: StoreInternals,
  input: ReadableStream<Uint8Array>,
  options: ImportOptions,
): Promise<{ id: string }> {
  const reference = options.reference ? withDefaultTag(parseReference(options.reference)) : undefined;
  if (reference?.digest !== undefined) throw invalid("cannot import digest reference");
  const defaults = await applyChanges({}, options.changes);
  const platform = options.platform ? parsePlatform(options.platform) : HOST_PLATFORM;
  if (platform.os !== "linux") throw invalid(`operating system is not supported: ${platform.os}`);
  using pool = new UnpackPool(1);
  // its bytes are kept as they came: only so can the layer be given away again
  using blob = await store.content.ingest(chunksOf(input, options.signal));
  const path = store.content.path(blob.digest);
  const { layer, hold } = await store.layers.add({ path }, pool, options.signal);
  using _hold = hold;
  using kept = new KeptLayers(store.content);
  await kept.keep(layer.diffId, { path, offset: 0, length: blob.size }, blob.digest);
  const created = new Date().toISOString();
  const config = JSON.stringify({
    ...platform,
    created,
    config: defaults,
    rootfs: { type: "layers", diff_ids: [layer.diffId] },
    history: [{ created, comment: options.message || "Imported from -" }],
  });
  return { id: await store.insert(config, [layer], [layer.chainId], reference ? [reference] : []) };
}
