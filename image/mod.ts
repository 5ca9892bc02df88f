export { HOST_IMAGE } from "./host_image.ts";
export { ImageStore, type ImageStoreOptions, type ImportOptions, type LoadProgress } from "./image_store.ts";
export type { RemovedItem, RemoveOptions } from "./image_removal.ts";
export {
  canonicalString,
  familiarName,
  familiarString,
  parseReference,
  type Reference,
  withDefaultTag,
} from "./reference.ts";
export { shortId } from "./digest.ts";
