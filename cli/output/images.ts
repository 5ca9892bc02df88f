/** Images as lists show them. */

import type { ImageSummary } from "../api_types.ts";
import { goTimeString, humanDuration } from "./durations.ts";
import type { Row } from "./list_format.ts";
import { shortId } from "./names.ts";
import { humanSize, humanSizeShort } from "./units.ts";

export const IMAGE_HEADERS = {
  ID: "IMAGE ID",
  Repository: "REPOSITORY",
  Tag: "TAG",
  Digest: "DIGEST",
  CreatedSince: "CREATED",
  CreatedAt: "CREATED AT",
  Size: "SIZE",
  Containers: "CONTAINERS",
  VirtualSize: "SIZE",
  SharedSize: "SHARED SIZE",
  UniqueSize: "UNIQUE SIZE",
};

/** Go's name of what a template is applied to. */
export const IMAGE_TYPE = "*formatter.imageContext";

/** One line: an image under one of its names. */
export interface ImageLine {
  readonly image: ImageSummary;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

/** @param short ids are cut. */
export function imageRow({ image, repository, tag, digest }: ImageLine, short: boolean): Row {
  return {
    Containers: () =>
      image.Containers === undefined || image.Containers < 0 ? "N/A" : String(image.Containers),
    CreatedAt: () => goTimeString(image.Created),
    CreatedSince: () =>
      image.Created === 0 ? "N/A" : `${humanDuration(Date.now() / 1000 - image.Created)} ago`,
    Digest: () => digest,
    ID: () => short ? shortId(image.Id) : image.Id,
    Repository: () => repository,
    SharedSize: () =>
      image.SharedSize === undefined || image.SharedSize < 0 ? "N/A" : humanSize(image.SharedSize),
    Size: () => humanSizeShort(image.Size),
    Tag: () => tag,
    UniqueSize: () =>
      image.SharedSize === undefined || image.SharedSize < 0
        ? "N/A"
        : humanSize(image.Size - image.SharedSize),
    VirtualSize: () => humanSize(image.Size),
  };
}
