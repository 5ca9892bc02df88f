import { EngineError } from "../base/errors.ts";
import { MissingLayer } from "../fs/missing_layer.ts";
import type { Image } from "../image/types.ts";

/**
 * Does something with the layers of an image; says what to type when one of them has gone.
 *
 * @throws {EngineError} conflict: a layer is missing.
 */
export async function withLayers<T>(image: Image, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof MissingLayer)) throw error;
    const name = image.repoTags[0] ?? image.repoDigests[0];
    const advice = image.hostDirs.length > 0
      ? "Stop the engine and start it again: it makes this image itself."
      : name === undefined
      ? "Load the image again:  berth load -i ARCHIVE"
      : `Get the image again:  berth pull ${name}  (or: berth load -i ARCHIVE)`;
    throw new EngineError(
      "conflict",
      `image ${name ?? image.id} is damaged: ${error.message}. ${advice}`,
      { cause: error },
    );
  }
}
