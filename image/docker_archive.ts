import { invalid } from "../base/errors.ts";
import type { SpooledArchive } from "./archive_spool.ts";
import { parseImageConfig } from "./image_config.ts";
import { checkLayerCount, type PlannedImage } from "./load_plan.ts";
import { parseReference, withDefaultTag } from "../base/reference.ts";
import { dockerManifestSchema, parseJson } from "./schemas.ts";

export const DOCKER_MANIFEST = "manifest.json";

/**
 * The images of a `docker save` archive. From Docker 25 on such an archive is an OCI layout too, but the tags as
 * docker writes them are only in `manifest.json`.
 *
 * @throws {EngineError} invalid
 */
export async function planDockerArchive(archive: SpooledArchive): Promise<PlannedImage[]> {
  const manifest = parseJson(await archive.text(DOCKER_MANIFEST), dockerManifestSchema, DOCKER_MANIFEST);
  const images: PlannedImage[] = [];
  for (const item of manifest) {
    const configJson = await archive.text(item.Config);
    const config = parseImageConfig(configJson);
    const files = item.Layers ?? [];
    checkLayerCount(config.rootfs.diff_ids.length, files.length);
    images.push({
      configJson,
      config,
      layers: config.rootfs.diff_ids.map((diffId, i) => {
        const file = files[i] ?? "";
        return { diffId, part: archive.has(file) ? archive.part(file) : undefined, digest: undefined };
      }),
      refs: (item.RepoTags ?? []).map((tag) => {
        const reference = withDefaultTag(parseReference(tag));
        if (reference.tag === undefined) throw invalid(`invalid tag ${JSON.stringify(tag)}`);
        return reference;
      }),
    });
  }
  if (images.length === 0) throw invalid("invalid archive: manifest.json names no image");
  return images;
}
