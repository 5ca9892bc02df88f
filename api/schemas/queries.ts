/** The parameters of each operation that has some. Routes read them by these schemas, and the OpenAPI document shows them. */
import * as z from "zod/mini";
import { filters, flag, flagOr, integer, tail, terminalSize, timestamp, word } from "./query.ts";

export const containerCreateQuery = z.object({ name: word, platform: word });
export const containerListQuery = z.object({
  all: flag,
  limit: integer,
  size: flag,
  filters,
  since: word,
  before: word,
});
export const containerInspectQuery = z.object({ size: flag });
export const startQuery = z.object({ checkpoint: word, "checkpoint-dir": word, detachKeys: word });
export const stopQuery = z.object({ t: integer, signal: word });
export const killQuery = z.object({ signal: word });
export const renameQuery = z.object({ name: word });
export const containerRemoveQuery = z.object({ force: flag, v: flag, link: flag });
export const sizeQuery = z.object({ h: terminalSize("height"), w: terminalSize("width") });
export const topQuery = z.object({ ps_args: word });
export const waitQuery = z.object({ condition: word });
export const logsQuery = z.object({
  stdout: flag,
  stderr: flag,
  follow: flag,
  since: timestamp,
  until: timestamp,
  timestamps: flag,
  details: flag,
  tail,
});
export const attachQuery = z.object({
  stdin: flag,
  stdout: flag,
  stderr: flag,
  logs: flag,
  stream: flag,
  detachKeys: word,
});
export const imageListQuery = z.object({
  all: flag,
  filters,
  filter: word,
  "shared-size": flag,
  digests: flag,
});
export const imageCreateQuery = z.object({
  fromImage: word,
  fromSrc: word,
  repo: word,
  tag: word,
  message: word,
  platform: word,
});
export const imageInspectQuery = z.object({ manifests: flag });
export const imageLoadQuery = z.object({ quiet: flagOr(true) });
export const imageRemoveQuery = z.object({ force: flag, noprune: flag });
export const tagQuery = z.object({ repo: word, tag: word });
export const pushQuery = z.object({ tag: word });
export const searchQuery = z.object({ term: word, limit: integer, filters });
export const commitQuery = z.object({
  container: word,
  repo: word,
  tag: word,
  comment: word,
  author: word,
  pause: flagOr(true),
});
export const eventsQuery = z.object({ since: timestamp, until: timestamp, filters });
export const filterQuery = z.object({ filters });
export const networkInspectQuery = z.object({ scope: word });
export const networkDoctorQuery = z.object({ fresh: flag });
export const volumeRemoveQuery = z.object({ force: flag });
export const statsQuery = z.object({ stream: flagOr(true), "one-shot": flag });
export const pathQuery = z.object({ path: word });
export const archivePutQuery = z.object({ path: word, noOverwriteDirNonDir: flag, copyUIDGID: flag });
