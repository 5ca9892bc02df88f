/** What an image's layers were made of, written in its configuration: `--cache-to type=inline`. */
import type { ImageConfig } from "../../image/types.ts";

/** A step's key, and which of the image's layers is on top after it, counted from the bottom. */
export interface InlineStep {
  readonly key: string;
  readonly layer: number;
}

/** The member of the configuration. Keys are by content: they mean the same to every engine of this version of them. */
const MEMBER = "berth.build.cache.v2";

/** Docker's way to ask for it, which is not for the Dockerfile. */
export function isInlineCacheWanted(buildArgs: Readonly<Record<string, string>>): boolean {
  return /^(?:1|t|true)$/i.test(buildArgs["BUILDKIT_INLINE_CACHE"] ?? "");
}

/** A member for a configuration. */
export function inlineCache(steps: readonly InlineStep[]): Readonly<Record<string, unknown>> {
  return { [MEMBER]: steps.map(({ key, layer }) => [key, layer]) };
}

/** What an image tells, as far as it can be understood: it may come from anywhere. */
export function inlineSteps(config: ImageConfig): InlineStep[] {
  const told = config[MEMBER];
  if (!Array.isArray(told)) return [];
  return told.flatMap((one: unknown) => {
    if (!Array.isArray(one)) return [];
    const [key, layer] = one as unknown[];
    const isKnown = typeof key === "string" && /^[0-9a-f]{64}$/.test(key) && typeof layer === "number" &&
      Number.isInteger(layer) && layer >= 0 && layer < config.rootfs.diff_ids.length;
    return isKnown ? [{ key, layer }] : [];
  });
}
