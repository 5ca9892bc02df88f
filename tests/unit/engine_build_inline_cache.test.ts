import { describe, expect, it } from "vitest";
import { inlineCache, inlineSteps, isInlineCacheWanted } from "../../engine/build/inline_cache.ts";
import type { ImageConfig } from "../../image/types.ts";

const KEY = "a".repeat(64);
const config = (members: Readonly<Record<string, unknown>>): ImageConfig => ({
  architecture: "amd64",
  os: "linux",
  rootfs: { type: "layers", diff_ids: ["sha256:1", "sha256:2"] },
  ...members,
});

describe("the inline cache of an image", () => {
  it("says what it was told", () => {
    const steps = [{ key: KEY, layer: 1 }];
    expect(inlineSteps(config(inlineCache(steps)))).toEqual(steps);
    expect(inlineSteps(config({}))).toEqual([]);
  });

  it("is believed as far as it makes sense", () => {
    const [name = ""] = Object.keys(inlineCache([]));
    expect(inlineSteps(config({ [name]: "text" }))).toEqual([]);
    const told = [[KEY, 2], [KEY, -1], [KEY, 0.5], ["../x", 0], [KEY], 7, null, [KEY, 0]];
    expect(inlineSteps(config({ [name]: told }))).toEqual([{ key: KEY, layer: 0 }]);
  });

  it("is asked for by Docker's build argument", () => {
    expect(isInlineCacheWanted({ BUILDKIT_INLINE_CACHE: "1" })).toBe(true);
    expect(isInlineCacheWanted({ BUILDKIT_INLINE_CACHE: "0" })).toBe(false);
    expect(isInlineCacheWanted({})).toBe(false);
  });
});
