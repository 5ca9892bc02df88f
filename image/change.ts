import type { ContainerDefaults } from "./types.ts";

/**
 * Applies `--change` instructions (of import and commit) to an image's defaults: lines of a Dockerfile.
 *
 * @throws {EngineError} invalid
 */
export async function applyChanges(
  base: ContainerDefaults,
  changes: readonly string[],
): Promise<ContainerDefaults> {
  if (changes.every((change) => change.trim() === "")) return base;
  // the builder's front end: most commits do without it
  const { changedConfig } = await import("./build/changed_config.ts");
  return changedConfig(base, changes);
}
