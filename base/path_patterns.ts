/**
 * Patterns of file names, as Docker has them: those of Go's filepath.Match (COPY's sources), and those of moby's patternmatcher,
 * which know `**` as well (`.dockerignore`, `--exclude`, `--parents`).
 */
import { invalid } from "./errors.ts";

/** A pattern that is none. @throws always */
function malformed(pattern: string): never {
  throw invalid(`syntax error in pattern: ${JSON.stringify(pattern)}`);
}

const escape = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
/** Inside of brackets. */
const escapeInClass = (text: string): string => text.replace(/[\\^[\]-]/g, "\\$&");

/** Whether Go's filepath.Match would take something in it for a wildcard. */
export function hasWildcards(path: string): boolean {
  for (let at = 0; at < path.length; at++) {
    if (path[at] === "\\") at++;
    else if ("*?[".includes(path[at] ?? "")) return true;
  }
  return false;
}

/** What a pattern is made of: one character of some kind, or any number of characters. */
type Piece =
  | { readonly kind: "one"; readonly source: string }
  /** `*` */
  | { readonly kind: "name" }
  /** `**` followed by more: directories, each with its slash, or none. */
  | { readonly kind: "directories" }
  | { readonly kind: "everything" };

const SOURCES = { name: "[^/]*", directories: "(?:.*/)?", everything: ".*" } as const;

/**
 * Whether an expression of these pieces takes a reasonable time on every text, though it tries one way after the other. Patterns come from whoever
 * wrote the Dockerfile, paths from whoever made the context: names have 255 bytes, but paths thousands.
 */
function isQuick(pieces: readonly Piece[]): boolean {
  const long = pieces.filter(({ kind }) => kind === "directories" || kind === "everything").length;
  return long <= 1 && pieces.filter(({ kind }) => kind === "name").length <= 2;
}

/** Expression of one `[…]`, and where the text goes on behind it. */
function characterClass(pattern: string, start: number): { source: string; end: number } {
  let at = start + 1;
  let source = "[";
  if (pattern[at] === "^") {
    source += "^/";
    at++;
  }
  const one = (): string => {
    let char = pattern[at] ?? malformed(pattern);
    if (char === "-" || char === "]") malformed(pattern);
    if (char === "\\") char = pattern[++at] ?? malformed(pattern);
    at++;
    return char;
  };
  for (let count = 0; count === 0 || pattern[at] !== "]"; count++) {
    const low = one();
    source += escapeInClass(low);
    if (pattern[at] !== "-") continue;
    at++;
    const high = one();
    // an empty range matches nothing, where JavaScript would refuse it
    source += high < low ? "" : `-${escapeInClass(high)}`;
  }
  return { source: `${source}]`, end: at + 1 };
}

/** @param globstar `**` means something; otherwise it is two of `*`. */
function parse(pattern: string, globstar: boolean): Piece[] {
  const pieces: Piece[] = [];
  // two of a kind in a row say no more than one
  const repeat = (kind: "name" | "directories" | "everything") => {
    if (pieces.at(-1)?.kind !== kind) pieces.push({ kind });
  };
  for (let at = 0; at < pattern.length;) {
    const char = pattern[at] ?? "";
    if (char === "[") {
      const { source, end } = characterClass(pattern, at);
      pieces.push({ kind: "one", source });
      at = end;
    } else if (char === "*" && globstar && pattern[at + 1] === "*") {
      const slash = pattern[at + 2] === "/";
      const rest = pattern.slice(at + (slash ? 3 : 2));
      // `**x` at the very beginning is any path that ends so (moby's suffixMatch)
      repeat(rest === "" || (at === 0 && !slash && !hasWildcards(rest)) ? "everything" : "directories");
      at = pattern.length - rest.length;
    } else if (char === "*") {
      repeat("name");
      at++;
    } else if (char === "?") {
      pieces.push({ kind: "one", source: "[^/]" });
      at++;
    } else if (char === "\\") {
      const escaped = pattern[at + 1] ?? (globstar ? "\\" : malformed(pattern));
      pieces.push({ kind: "one", source: escape(escaped) });
      at += 2;
    } else {
      pieces.push({ kind: "one", source: escape(char) });
      at++;
    }
  }
  return pieces;
}

/** @param below what is below a directory that matches, matches as well. */
function matcher(pieces: readonly Piece[], below: boolean): (text: string) => boolean {
  if (!isQuick(pieces)) return stepwise(pieces, below);
  const source = pieces.map((piece) => piece.kind === "one" ? piece.source : SOURCES[piece.kind]).join("");
  const expression = new RegExp(`^${source}${below ? "(?=/|$)" : "$"}`, "su");
  return (text) => expression.test(text);
}

/** Goes through a text once, with all places of the pattern that it may be at: slower, but never much slower. */
function stepwise(pieces: readonly Piece[], below: boolean): (text: string) => boolean {
  const tests = pieces.map((piece) =>
    piece.kind === "one" ? new RegExp(`^${piece.source}$`, "su") : undefined
  );
  /** Any number may be none. */
  const skipRepeats = (places: Uint8Array) => {
    for (const [at, test] of tests.entries()) if (places[at] === 1 && test === undefined) places[at + 1] = 1;
  };
  return (text) => {
    // 1: may be here; 2 (of "directories"): in the middle of them, where only a slash leads on
    let places = new Uint8Array(pieces.length + 1);
    places[0] = 1;
    skipRepeats(places);
    for (const char of text) {
      if (below && char === "/" && places[pieces.length] === 1) return true;
      const next = new Uint8Array(pieces.length + 1);
      for (const [at, piece] of pieces.entries()) {
        if (!places[at]) continue;
        if (piece.kind === "one") {
          if (tests[at]?.test(char)) next[at + 1] = 1;
        } else if (piece.kind === "everything" || (piece.kind === "name" && char !== "/")) next[at] = 1;
        else if (piece.kind === "directories") next[at] = char === "/" ? 1 : Math.max(next[at] ?? 0, 2);
      }
      skipRepeats(next);
      places = next;
    }
    return places[pieces.length] === 1;
  };
}

/**
 * Matcher of Go's filepath.Match for one component of a path.
 *
 * @throws {EngineError} invalid for a malformed pattern.
 */
export function componentMatcher(pattern: string): (name: string) => boolean {
  return matcher(parse(pattern, false), false);
}

interface Pattern {
  /** Cleaned, without "!". */
  readonly text: string;
  /** Of a path, or of a directory above it. */
  readonly matches: (path: string) => boolean;
  /** Begins with "!": what it matches is not meant after all. */
  readonly negated: boolean;
}

/** `/a/../b//c/` as Go's filepath.Clean has it; a slash in front is left out. */
function clean(pattern: string): string {
  const parts: string[] = [];
  for (const part of pattern.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (part !== ".." || !pattern.startsWith("/")) parts.push(part);
  }
  return parts.join("/") || ".";
}

/**
 * A list of patterns, the last that says something about a path decides. What holds for a directory holds for all below it.
 *
 * @throws {EngineError} invalid for a malformed pattern.
 */
export class PathPatterns {
  readonly #patterns: readonly Pattern[];
  /** Some pattern begins with "!": below a directory that matches there may be paths that do not. */
  readonly hasNegations: boolean;

  /** @param patterns without comments and empty lines; slashes at either end say nothing. */
  constructor(patterns: readonly string[]) {
    this.#patterns = patterns.map((text) => text.trim()).filter((text) => text !== "").map((text) => {
      const negated = text.startsWith("!");
      const pattern = negated ? text.slice(1).trim() : text;
      if (pattern === "") throw invalid(`illegal exclusion pattern: ${JSON.stringify(text)}`);
      const cleaned = clean(pattern);
      return { matches: matcher(parse(cleaned, true), true), negated, text: cleaned };
    });
    this.hasNegations = this.#patterns.some(({ negated }) => negated);
  }

  /** Whether some pattern means all there is. */
  get coversAll(): boolean {
    return this.#patterns.some(({ negated, text }) => !negated && ["*", "**", "**/*"].includes(text));
  }

  get isEmpty(): boolean {
    return this.#patterns.length === 0;
  }

  /** @param path relative, with slashes between names only. */
  matches(path: string): boolean {
    let matched = false;
    for (const { matches, negated } of this.#patterns) {
      if (negated !== matched) continue;
      if (matches(path)) matched = !negated;
    }
    return matched;
  }
}
