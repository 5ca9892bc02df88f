import { EngineError, messageOf } from "../base/errors.ts";
import type { ImageStore } from "../image/image_store.ts";
import { LAYER_TAR } from "../image/layer_media.ts";
import type { Image } from "../image/types.ts";
import type { EngineContext } from "./context.ts";

/** Layers that are being packed, by diff id: two that want the same one share the work. */
const packing = new Map<string, Promise<void>>();

/**
 * Makes the archives of an image's layers that were taken over as directories (builds make such): whoever gives the image away needs them.
 * Once made they are kept. A layer whose directory does not give the bytes it is named by is left as it is.
 */
export async function packLayers(
  ctx: Pick<EngineContext, "trees" | "driver" | "log">,
  images: ImageStore,
  image: Image,
): Promise<void> {
  // only here do directories hold all that an archive has
  if (ctx.driver.name !== "overlay" || image.hostDirs.length > 0) return;
  const { content } = images;
  const hold = images.internals.layers.hold(image.chainIds);
  try {
    for (const [index, diffId] of image.config.rootfs.diff_ids.entries()) {
      if (content.layerBlobs(diffId).length > 0) continue;
      const running = packing.get(diffId) ?? pack(ctx, images, image, index, diffId);
      packing.set(diffId, running);
      try {
        await running;
      } finally {
        packing.delete(diffId);
      }
    }
  } finally {
    hold[Symbol.dispose]();
  }
}

async function pack(
  { trees, log }: Pick<EngineContext, "trees" | "log">,
  { content, internals }: ImageStore,
  { chainIds }: Image,
  index: number,
  diffId: string,
): Promise<void> {
  const dirs = chainIds.slice(0, index + 1).map((chainId) => internals.layers.ref(chainId).dir).reverse();
  const [upper = "", ...lower] = dirs;
  const file = content.temporary();
  using _blob = content.hold([diffId]);
  try {
    let found = "";
    // a layer of COPY --link was made on nothing: directories that are as they are below belong to it as well
    for (const below of lower.length === 0 ? [lower] : [lower, []]) {
      const source = {
        kind: "union" as const,
        parts: [{ at: "/", upper, lower: below }],
        whiteoutFiles: false,
        stubs: [],
      };
      const packed = await trees.run({ op: "layer", source, file });
      if (packed.diffId === diffId) {
        content.adopt(file, { digest: diffId, size: packed.length });
        content.setLayerBlob(diffId, diffId, LAYER_TAR);
        return;
      }
      found = packed.diffId;
      await Deno.remove(file);
    }
    log.warn("a layer is not what it is named by", { layer: diffId, found });
  } catch (error) {
    throw new EngineError("system", `cannot pack layer ${diffId}: ${messageOf(error)}`, { cause: error });
  } finally {
    await Deno.remove(file).catch(() => {});
  }
}
