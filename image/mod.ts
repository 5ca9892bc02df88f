export { HOST_IMAGE } from "./host_image.ts";
export { ImageStore, type ImageStoreOptions } from "./image_store.ts";
export type { ImportOptions } from "./import.ts";
export type { LoadProgress } from "./load.ts";
export type { RemovedItem, RemoveOptions } from "./image_removal.ts";
export {
  canonicalString,
  familiarName,
  familiarString,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../base/reference.ts";
export { shortId } from "./digest.ts";
