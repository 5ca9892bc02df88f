import type { ImageStore } from "../image/image_store.ts";
import type { EngineContext } from "./context.ts";
import type { DiskUsageObject } from "./file_types.ts";
import { imageListView } from "./image_views.ts";
import { listView } from "./views.ts";

/** `GET /system/df`: bytes are those of the files, each layer counted once. */
export async function diskUsage(
  ctx: EngineContext,
  images: ImageStore,
  objects: ReadonlySet<DiskUsageObject>,
): Promise<Record<string, unknown>> {
  const view: Record<string, unknown> = {};
  const containers = ctx.containers.all();
  if (objects.has("image")) {
    const { layersSize, shared } = images.layerUsage();
    view["LayersSize"] = layersSize;
    view["Images"] = images.list().map((image) => ({
      ...imageListView(image, containers.filter(({ record }) => record.imageId === image.id).length),
      SharedSize: shared(image),
    }));
  }
  if (objects.has("container")) {
    view["Containers"] = await Promise.all(containers.map(async ({ record }) => {
      const sizeRw = await ctx.driver.usage(record.id);
      return listView(record, { sizeRw, sizeRootFs: sizeRw + imageSize(images, record.imageId) });
    }));
  }
  if (objects.has("volume")) view["Volumes"] = [];
  if (objects.has("build-cache")) {
    view["BuildCache"] = [];
    view["BuilderSize"] = 0;
  }
  return view;
}

function imageSize(images: ImageStore, id: string): number {
  try {
    return images.getForContainer(id).size;
  } catch {
    return 0;
  }
}
