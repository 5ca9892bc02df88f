import * as z from "zod/mini";
import { config } from "../../schemas/container.ts";
import { dateTime, integer, maybe, slice, text, textMap, texts, unixTime } from "./values.ts";

export const imageSummary = z.object({
  Id: text,
  ParentId: text,
  RepoTags: texts,
  RepoDigests: texts,
  Created: unixTime,
  Size: integer,
  SharedSize: integer,
  VirtualSize: maybe(integer),
  Labels: textMap,
  Containers: integer,
});

export const image = z.object({
  Id: text,
  RepoTags: texts,
  RepoDigests: texts,
  Parent: text,
  Comment: text,
  Created: maybe(dateTime),
  Container: maybe(text),
  ContainerConfig: maybe(config),
  DockerVersion: text,
  Author: text,
  Config: config,
  Architecture: text,
  Variant: maybe(text),
  Os: text,
  OsVersion: maybe(text),
  Size: integer,
  VirtualSize: maybe(integer),
  GraphDriver: z.object({ Data: textMap, Name: text }),
  RootFS: z.object({ Type: text, Layers: maybe(texts) }),
  Metadata: z.object({ LastTagTime: maybe(dateTime) }),
});

export const historyEntry = z.object({
  Id: text,
  Created: unixTime,
  CreatedBy: text,
  Tags: texts,
  Size: integer,
  Comment: text,
});

export const imageRemoved = z.object({ Untagged: maybe(text), Deleted: maybe(text) });
export const imagesPruned = z.object({ ImagesDeleted: slice(imageRemoved), SpaceReclaimed: integer });

/** One line of the answers that tell of progress. */
export const progressLine = z.object({
  id: maybe(text),
  status: maybe(text),
  stream: maybe(text),
  progress: maybe(text),
  progressDetail: maybe(z.object({ current: maybe(integer), total: maybe(integer) })),
  error: maybe(text),
  errorDetail: maybe(z.object({ code: maybe(integer), message: text })),
  aux: maybe(z.unknown()),
});

export const searchResult = z.object({
  name: text,
  description: text,
  star_count: integer,
  is_official: z.boolean(),
  is_automated: z.boolean(),
});

const platform = z.object({
  architecture: text,
  os: text,
  "os.version": maybe(text),
  "os.features": maybe(texts),
  variant: maybe(text),
});

export const distribution = z.object({
  Descriptor: z.object({
    mediaType: text,
    digest: text,
    size: integer,
    annotations: maybe(textMap),
    platform: maybe(platform),
  }),
  Platforms: slice(platform),
});

export const loggedIn = z.object({ Status: text, IdentityToken: text });
