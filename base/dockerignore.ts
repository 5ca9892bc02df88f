/** `.dockerignore`: how its lines are read (moby/patternmatcher, ignorefile), and what they leave out. */
import { cleanPath } from "./clean_path.ts";
import { invalid } from "./errors.ts";
import { PathPatterns } from "./path_patterns.ts";

/** Longest `.dockerignore` in characters. */
const MAX_TEXT = 1024 * 1024;

/**
 * The patterns of such a file: without comments, empty lines and blanks around, paths cleaned, without a slash in front.
 *
 * @throws {EngineError} invalid: it is too large.
 */
export function readDockerignore(text: string): string[] {
  if (text.length > MAX_TEXT) throw invalid(".dockerignore is larger than 1 MiB");
  return text.replace(/^\uFEFF/, "").split("\n").flatMap((line) => {
    const trimmed = line.trim();
    if (line.startsWith("#") || trimmed === "") return [];
    const isException = trimmed.startsWith("!");
    const path = isException ? trimmed.slice(1).trim() : trimmed;
    // "!" alone is refused by whoever matches
    const cleaned = path === "" ? "" : cleanPath(path);
    return [(isException ? "!" : "") + (cleaned.length > 1 ? cleaned.replace(/^\//, "") : cleaned)];
  });
}

/** Names of the file that says what is left out, in the order in which they are looked for. `dockerfile` is a path in the context. */
export const dockerignoreNames = (
  dockerfile: string,
): string[] => [`${dockerfile}.dockerignore`, ".dockerignore"];

/** Says what is left out of a build context: the last pattern that matches a path, or a directory above it, decides. */
export class DockerIgnore {
  readonly #patterns: PathPatterns;

  /**
   * @param patterns as {@link readDockerignore} returns them.
   * @throws {EngineError} invalid
   */
  constructor(patterns: readonly string[]) {
    this.#patterns = new PathPatterns(patterns);
  }

  /** Whether there are `!` patterns: then a directory that is left out may have something inside that is not. */
  get hasExceptions(): boolean {
    return this.#patterns.hasNegations;
  }

  /** Whether everything at the top is left out by a pattern that says just that. */
  get coversAll(): boolean {
    return this.#patterns.coversAll;
  }

  /** @param path relative, slashes between names, nothing to clean. */
  ignores(path: string): boolean {
    return this.#patterns.matches(path);
  }
}
