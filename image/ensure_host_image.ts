import { UnpackPool } from "../fs/unpack.ts";
import {
  fingerprintOf,
  HOST_IMAGE,
  hostConfig,
  hostFingerprint,
  hostLayer,
  hostLayout,
} from "./host_image.ts";
import type { ImageLookup } from "./image_lookup.ts";
import { canonicalString, parseReference } from "../base/reference.ts";
import type { StoreInternals } from "./store_internals.ts";
import type { Image } from "./types.ts";

/** The embedded image of this machine: as it is, or made anew when it is missing, damaged or outdated. */
export async function ensureHostImage(
  store: StoreInternals,
  lookup: ImageLookup,
  inUse: (imageId: string) => boolean,
): Promise<Image> {
  const reference = parseReference(HOST_IMAGE);
  const named = store.tables.ref(canonicalString(reference));
  const present = named && store.tables.image(named.image_id);
  const fingerprint = hostFingerprint();
  if (present) {
    const image = lookup.image(present);
    const outdated = image.hostDirs.length > 0 && fingerprintOf(image.configJson) !== fingerprint;
    const whole = image.chainIds.every((id) => store.layers.known(id) !== undefined);
    if (whole && (!outdated || inUse(image.id))) return image;
  }
  const layout = hostLayout();
  using pool = new UnpackPool(1);
  const { layer, hold } = await store.layers.add({ stream: hostLayer(layout) }, pool);
  using _hold = hold;
  const config = JSON.stringify(hostConfig(layer.diffId, new Date().toISOString(), fingerprint));
  const id = await store.insert(config, [layer], [layer.chainId], [reference], layout.dirs);
  if (present && present.id !== id && store.tables.refs(present.id).length === 0) {
    store.tables.change(() => store.tables.deleteImage(present.id));
  }
  return lookup.get(id);
}
