import type { Image } from "../image/types.ts";
import type { EventLog } from "./events.ts";

/**
 * Tells of something that happened to an image, with its labels, by which clients filter. As in Docker what has no name of
 * its own is named by the id (moby: daemon/images/image_events.go).
 *
 * @param id the image's; of pull and push the reference.
 * @param image as it was, if it may be gone by now.
 */
export function imageEvent(
  { events, images }: { readonly events: EventLog; readonly images: { get(reference: string): Image } },
  action: string,
  id: string,
  name: string = id,
  image: Image | undefined = found(() => images.get(id)),
): void {
  events.publish("image", action, id, { ...image?.config.config?.Labels, name });
}

function found(get: () => Image): Image | undefined {
  try {
    return get();
  } catch {
    // it has just been removed
    return undefined;
  }
}
