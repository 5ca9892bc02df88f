/** What comes out of an archive is checked here before anything relies on its shape. */
import * as z from "zod/mini";
import { invalid } from "../base/errors.ts";

const digest = z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/));
const strings = z.nullish(z.array(z.string()));
const emptyObjects = z.nullish(z.record(z.string(), z.looseObject({})));

const defaults = z.looseObject({
  User: z.nullish(z.string()),
  Env: strings,
  // very old images have a string here
  Entrypoint: z.nullish(z.union([z.array(z.string()), z.string()])),
  Cmd: z.nullish(z.union([z.array(z.string()), z.string()])),
  WorkingDir: z.nullish(z.string()),
  ExposedPorts: emptyObjects,
  Volumes: emptyObjects,
  Labels: z.nullish(z.record(z.string(), z.string())),
  StopSignal: z.nullish(z.string()),
  Shell: strings,
  OnBuild: strings,
});

const history = z.looseObject({
  created: z.nullish(z.string()),
  created_by: z.nullish(z.string()),
  comment: z.nullish(z.string()),
  author: z.nullish(z.string()),
  empty_layer: z.nullish(z.boolean()),
});

export const imageConfigSchema = z.looseObject({
  architecture: z.optional(z.string()),
  os: z.optional(z.string()),
  variant: z.optional(z.string()),
  created: z.nullish(z.string()),
  author: z.nullish(z.string()),
  config: z.nullish(defaults),
  rootfs: z.looseObject({ type: z.literal("layers"), diff_ids: z.nullish(z.array(digest)) }),
  history: z.nullish(z.array(history)),
});

/** manifest.json of `docker save`. */
export const dockerManifestSchema = z.array(z.looseObject({
  Config: z.string(),
  RepoTags: z.nullish(z.array(z.string())),
  Layers: z.nullish(z.array(z.string())),
}));

const descriptor = z.looseObject({
  mediaType: z.optional(z.string()),
  digest,
  size: z.number().check(z.int(), z.nonnegative()),
  annotations: z.nullish(z.record(z.string(), z.string())),
  platform: z.nullish(z.looseObject({
    os: z.string(),
    architecture: z.string(),
    variant: z.optional(z.string()),
  })),
});

export const ociIndexSchema = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.optional(z.string()),
  manifests: z.array(descriptor),
});

export const ociManifestSchema = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.optional(z.string()),
  config: descriptor,
  layers: z.array(descriptor),
});

export type OciDescriptor = z.infer<typeof descriptor>;

/**
 * Parses JSON and checks its shape.
 *
 * @throws {EngineError} invalid, with the place of the first thing that is wrong.
 */
export function parseJson<S extends z.ZodMiniType>(text: string, schema: S, what: string): z.infer<S> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`invalid ${what}: ${error instanceof Error ? error.message : "no JSON"}`, error);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const place = issue === undefined || issue.path.length === 0
    ? ""
    : ` at ${issue.path.map(String).join(".")}`;
  throw invalid(`invalid ${what}: ${issue?.message ?? "wrong shape"}${place}`, parsed.error);
}
