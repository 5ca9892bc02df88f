import { cleanPath } from "./clean_path.ts";
import { invalid } from "./errors.ts";

/** A part of a pattern: a character, `?`, `*`, `**`, or a set. */
type Token =
  | { readonly kind: "char"; readonly char: string }
  | { readonly kind: "any" }
  | { readonly kind: "star" }
  /** `**` in the middle: any directories, slash included, or none. */
  | { readonly kind: "dirs" }
  /** `**` at the end, or at the beginning right before a name: anything. */
  | { readonly kind: "rest" }
  | {
    readonly kind: "set";
    readonly negated: boolean;
    readonly ranges: readonly (readonly [string, string])[];
  };

interface Pattern {
  /** `!`: what matches is taken after all. */
  readonly exception: boolean;
  readonly text: string;
  /** undefined: there is nothing special in it. */
  readonly tokens: readonly Token[] | undefined;
}

/** Longest `.dockerignore` in characters. */
const MAX_TEXT = 1024 * 1024;

/**
 * Patterns of a `.dockerignore`: lines without comments, empty ones and blanks around, paths made short, slashes at the beginning taken
 * away (moby/patternmatcher, ignorefile).
 */
export function readDockerignore(text: string): string[] {
  if (text.length > MAX_TEXT) throw invalid(".dockerignore is larger than 1 MiB");
  return text.replace(/^\uFEFF/, "").split("\n").flatMap((line) => {
    if (line.startsWith("#")) return [];
    const trimmed = line.trim();
    if (trimmed === "") return [];
    const exception = trimmed.startsWith("!");
    const pattern = exception ? trimmed.slice(1).trim() : trimmed;
    const cleaned = pattern === "" ? "" : cleanPath(pattern);
    return [(exception ? "!" : "") + (cleaned.length > 1 ? cleaned.replace(/^\//, "") : cleaned)];
  });
}

/** Names of the file that says what is left out, in the order in which they are looked for. `dockerfile` is a path in the context. */
export const dockerignoreNames = (
  dockerfile: string,
): string[] => [`${dockerfile}.dockerignore`, ".dockerignore"];

/** What is known of a directory when its entries are looked at: {@link DockerIgnore.check}. */
export type ParentMatch = readonly boolean[];

/**
 * Says what a `.dockerignore` leaves out, as moby/patternmatcher does: the last pattern that matches a path or one of the directories above it
 * decides. Matching takes no longer than the pattern's length times the path's, whatever the pattern.
 */
export class DockerIgnore {
  readonly #patterns: readonly Pattern[];

  /**
   * @param patterns as {@link readDockerignore} returns them, or `--exclude` of COPY.
   * @throws {EngineError} invalid
   */
  constructor(patterns: readonly string[]) {
    this.#patterns = patterns.map((one) => one.trim()).filter((one) => one !== "").map(parsePattern);
  }

  /** Whether there are `!` patterns: then a directory that is left out may have something inside that is not. */
  get hasExceptions(): boolean {
    return this.#patterns.some((pattern) => pattern.exception);
  }

  /** Whether every name at the top is left out by a pattern that says just that. */
  get coversAll(): boolean {
    return this.#patterns.some(({ exception, text }) => !exception && ["*", "**", "**/*"].includes(text));
  }

  /** @param path relative, slashes between names, nothing to clean. */
  ignores(path: string): boolean {
    return this.check(path).ignored;
  }

  /**
   * The same for a walk through directories: what was found for a directory is passed on to its entries.
   *
   * @param parent of the directory above; undefined at the top, or when it was not looked at.
   */
  check(path: string, parent?: ParentMatch): { ignored: boolean; match: ParentMatch } {
    let ignored = false;
    const match = this.#patterns.map((pattern, i) => {
      let matches = parent?.[i] ?? false;
      if (!matches) {
        // a pattern that cannot change anything is not tried
        if (pattern.exception !== ignored) return false;
        matches = matchesPattern(pattern, path) || (parent === undefined && matchesParent(pattern, path));
      }
      if (matches) ignored = !pattern.exception;
      return matches;
    });
    return { ignored, match };
  }

  /** Whether something below a directory that is left out may be taken after all: no need to walk through it otherwise. */
  mayHaveExceptionsBelow(directory: string): boolean {
    return this.#patterns.some((pattern) => pattern.exception && mayMatchBelow(pattern, directory));
  }
}

function matchesParent(pattern: Pattern, path: string): boolean {
  for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
    if (matchesPattern(pattern, path.slice(0, slash))) return true;
  }
  return false;
}

function parsePattern(source: string): Pattern {
  let text = cleanPath(source);
  const exception = text.startsWith("!");
  if (exception) {
    text = text.slice(1);
    if (text === "") throw invalid('illegal exclusion pattern: "!"');
  }
  const tokens = tokenize(text);
  return {
    exception,
    text,
    tokens: tokens.every(({ kind }) => kind === "char") && !text.includes("\\") ? undefined : tokens,
  };
}

/** @throws {EngineError} invalid: as Go's filepath.Match finds them. */
function tokenize(pattern: string): Token[] {
  const bad = () => invalid(`syntax error in pattern ${JSON.stringify(pattern)}`);
  const chars = [...pattern];
  const tokens: Token[] = [];
  for (let i = 0; i < chars.length; i++) {
    const char = chars[i] ?? "";
    if (char === "*" && chars[i + 1] === "*") {
      const isFirst = i++ === 0;
      const slash = chars[i + 1] === "/";
      if (slash) i++;
      // "**name" and nothing else special: whatever ends so, within a name, too
      const isSuffix = isFirst && !slash && !/[*?[\]\\]/.test(pattern.slice(2));
      tokens.push({ kind: i + 1 === chars.length || isSuffix ? "rest" : "dirs" });
    } else if (char === "*") tokens.push({ kind: "star" });
    else if (char === "?") tokens.push({ kind: "any" });
    else if (char === "[") {
      const set = readSet(chars, i + 1);
      if (set === undefined) throw bad();
      tokens.push(set.token);
      i = set.end;
    } else if (char === "\\") {
      const escaped = chars[++i];
      if (escaped === undefined) throw bad();
      tokens.push({ kind: "char", char: escaped });
    } else tokens.push({ kind: "char", char });
  }
  return tokens;
}

/** `[a-z]`, `[^a]`: ranges up to the closing bracket. undefined: it has none, or nothing in it. */
function readSet(chars: readonly string[], start: number): { token: Token; end: number } | undefined {
  let i = start;
  const negated = chars[i] === "^";
  if (negated) i++;
  const ranges: [string, string][] = [];
  const next = (): string | undefined => {
    if (chars[i] === "\\") i++;
    else if (chars[i] === "-" || chars[i] === "]") return undefined;
    return chars[i++];
  };
  for (;;) {
    if (chars[i] === "]" && ranges.length > 0) return { token: { kind: "set", negated, ranges }, end: i };
    const low = next();
    if (low === undefined) return undefined;
    let high: string | undefined = low;
    if (chars[i] === "-") {
      i++;
      high = next();
      if (high === undefined) return undefined;
    }
    ranges.push([low, high]);
  }
}

function matchesPattern({ text, tokens }: Pattern, path: string): boolean {
  if (tokens === undefined) return path === text;
  const chars = [...path];
  let states = closure(tokens, new Set([0]));
  for (const char of chars) {
    if (states.size === 0) return false;
    states = advance(tokens, states, char);
  }
  return states.has(tokens.length);
}

/** Whether some path that begins with the directory's could match. */
function mayMatchBelow({ text, tokens }: Pattern, directory: string): boolean {
  if (tokens === undefined) {
    return text.startsWith(`${directory}/`) || directory.startsWith(`${text}/`) || text === directory;
  }
  let states = closure(tokens, new Set([0]));
  for (const char of `${directory}/`) {
    // all of the pattern used up by a directory above: it matches everything below
    if (states.has(tokens.length) && char === "/") return true;
    states = advance(tokens, states, char);
    if (states.size === 0) return false;
  }
  return true;
}

function advance(tokens: readonly Token[], states: ReadonlySet<number>, char: string): Set<number> {
  const next = new Set<number>();
  for (const state of states) {
    // "dirs" is two states: outside of a name (state), and inside (-state - 1)
    const token = tokens[state < 0 ? -state - 1 : state];
    if (token === undefined) continue;
    switch (token.kind) {
      case "char":
        if (char === token.char) next.add(state + 1);
        break;
      case "any":
        if (char !== "/") next.add(state + 1);
        break;
      case "star":
        if (char !== "/") next.add(state);
        break;
      case "rest":
        next.add(state);
        break;
      case "dirs": {
        const at = state < 0 ? -state - 1 : state;
        next.add(-at - 1);
        if (char === "/") next.add(at + 1);
        break;
      }
      case "set":
        if (token.negated !== token.ranges.some(([low, high]) => low <= char && char <= high)) {
          next.add(state + 1);
        }
        break;
    }
  }
  return closure(tokens, next);
}

/** With the states that are reached because something may match nothing. */
function closure(tokens: readonly Token[], states: Set<number>): Set<number> {
  for (const state of states) {
    const kind = tokens[state]?.kind;
    if (kind === "star" || kind === "rest" || kind === "dirs") states.add(state + 1);
  }
  return states;
}
