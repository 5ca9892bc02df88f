import type { ImageStore } from "../image/image_store.ts";
import type { LoadProgress } from "../image/load.ts";
import { type Platform, requirePlatform } from "../image/platform.ts";
import { familiarString, parseReference, withDefaultTag } from "../base/reference.ts";
import type { EngineContext } from "./context.ts";
import { imagesOf } from "./image_mounts.ts";
import { imageEvent } from "./image_events.ts";
import { jsonMessage } from "./image_transfer.ts";
import { imageHistoryView, imageInspectView, imageListView, selectImages } from "./image_views.ts";
import type { Engine } from "./types.ts";

type ImageOperations = Pick<
  Engine,
  | "imageLoad"
  | "imageImport"
  | "imageList"
  | "imageInspect"
  | "imageHistory"
  | "imageTag"
  | "imageRemove"
>;

/** The part of {@link Engine} that is about images: the image store, with Docker's messages and events. */
export function imageOperations(ctx: EngineContext, images: ImageStore): ImageOperations {
  const publish = (action: string, id: string, name?: string) => imageEvent(ctx, action, id, name);
  const usersOf = (imageId: string) =>
    ctx.containers.all()
      .filter(({ record }) => imagesOf(record).includes(imageId))
      .map((container) => ({
        id: container.id,
        running: container.running,
        name: container.record.name,
      }));
  const find = (reference: string, platform: Platform | undefined) => {
    const image = images.get(reference);
    requirePlatform(reference, image.config, platform);
    return image;
  };
  return {
    async imageLoad(input, signal, onMessage, { quiet = true, platform } = {}) {
      const onProgress = ({ id, status, current, total }: LoadProgress) => {
        // as Docker, which says nothing of layers that are there
        if (status === "Loading layer") onMessage(jsonMessage({ id, status, progress: { current, total } }));
      };
      const loaded = await images.load(input, { signal, platform, ...(quiet ? {} : { onProgress }) });
      for (const { id, refs } of loaded.images) {
        for (const reference of refs) onMessage({ stream: `Loaded image: ${reference}\n` });
        if (refs.length === 0) onMessage({ stream: `Loaded image ID: ${id}\n` });
        publish("load", id);
      }
    },

    async imageImport(input, options, signal) {
      const { reference, platform, changes, source } = options;
      const message = options.message ?? (source === undefined ? undefined : `Imported from ${source}`);
      const made = await images.importTar(input, {
        changes,
        signal,
        ...(reference === undefined ? {} : { reference }),
        ...(message === undefined ? {} : { message }),
        ...(platform === undefined ? {} : { platform }),
      });
      publish("import", made.id);
      if (reference !== undefined) publish("tag", made.id, familiarTag(reference));
      return made;
    },

    imageList({ filters, sharedSize }) {
      return attempt(() => {
        const shown = selectImages(images.list(), filters, (reference) => images.get(reference));
        const usage = sharedSize ? images.layerUsage() : undefined;
        return shown.map((image) => ({
          ...imageListView(image, usersOf(image.id).length),
          ...(usage === undefined ? {} : { SharedSize: usage.shared(image) }),
        }));
      });
    },

    imageInspect(reference, platform) {
      return attempt(() => imageInspectView(find(reference, platform), { name: ctx.driver.name }));
    },

    imageHistory(reference, platform) {
      return attempt(() => {
        const image = find(reference, platform);
        return imageHistoryView(image, images.layerSizes(image), images.ancestors(image));
      });
    },

    imageTag(reference, target) {
      return attempt(() => {
        images.tag(reference, target);
        publish("tag", images.get(reference).id, familiarTag(target));
      });
    },

    imageRemove(reference, { platform, ...options }) {
      return attempt(() => {
        const image = find(reference, platform);
        const { id } = image;
        const done = images.remove(reference, { ...options, inUse: usersOf });
        for (const { Untagged, Deleted } of done) {
          if (Untagged !== undefined) imageEvent(ctx, "untag", id, id, image);
          if (Deleted?.startsWith("sha256:") && Deleted === id) publish("delete", id);
        }
        return done.map(({ Untagged, Deleted }) => ({
          ...(Untagged === undefined ? {} : { Untagged }),
          ...(Deleted === undefined ? {} : { Deleted }),
        }));
      });
    },
  };
}

const familiarTag = (reference: string): string => familiarString(withDefaultTag(parseReference(reference)));

/** A synchronous answer, or its failure, as a promise. */
async function attempt<T>(work: () => T): Promise<T> {
  return await work();
}
