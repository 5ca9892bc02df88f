/** `.dockerignore`: how its lines are read (moby/patternmatcher, ignorefile). What they match is {@link module:base/path_patterns}'s. */
import { cleanPath } from "./clean_path.ts";

/** The patterns of such a file: without comments and empty lines, paths cleaned, without a slash in front. */
export function ignorePatterns(text: string): string[] {
  const patterns: string[] = [];
  for (const line of text.replace(/^\ufeff/, "").split("\n")) {
    if (line.startsWith("#")) continue;
    const trimmed = line.trim();
    if (trimmed === "") continue;
    const negated = trimmed.startsWith("!");
    const path = negated ? trimmed.slice(1).trim() : trimmed;
    // "!" alone is refused by whoever matches
    const cleaned = path === "" ? "" : cleanPath(path);
    patterns.push(`${negated ? "!" : ""}${cleaned.length > 1 ? cleaned.replace(/^\//, "") : cleaned}`);
  }
  return patterns;
}
