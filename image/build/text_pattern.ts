import { invalid } from "../../base/errors.ts";

/** One element of a pattern: a character, any character but a line break, or any number of those. */
type Token = string | typeof ANY | typeof STAR;
const ANY = Symbol("?");
const STAR = Symbol("*");

/** Steps that one substitution may take by itself: patterns and values are a stranger's. */
const MAX_STEPS = 2_000_000;

/**
 * A pattern of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?`, `\` before `*`, `?`, `\`. No brackets (BuildKit, frontend/dockerfile/shell).
 * All possible ends of a match are followed at once, so no pattern takes longer than its length times the text's.
 */
export class TextPattern {
  readonly #tokens: readonly Token[];
  /** Steps taken so far, of all matches. */
  steps = 0;

  private constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /** @throws {EngineError} invalid */
  static parse(source: string): TextPattern {
    const tokens: Token[] = [];
    const chars = [...source];
    for (let i = 0; i < chars.length; i++) {
      const char = chars[i] ?? "";
      if (char === "*") tokens.push(STAR);
      else if (char === "?") tokens.push(ANY);
      else if (char === "\\") {
        const next = chars[++i];
        // "}" and "/" are escaped for the substitution's own sake
        if (next === undefined || !"*?\\}/".includes(next)) {
          throw invalid(`invalid pattern (${source}) in substitution: invalid escape '\\${next ?? ""}'`);
        }
        tokens.push(next);
      } else tokens.push(char);
    }
    return new TextPattern(tokens);
  }

  /** The text without the shortest or longest beginning that matches. */
  withoutPrefix(text: string, longest: boolean): string {
    const chars = [...text];
    const end = this.#matchAt(chars, 0, longest);
    return end === undefined ? text : chars.slice(end).join("");
  }

  /** The text without the shortest or longest end that matches. */
  withoutSuffix(text: string, longest: boolean): string {
    const mirrored = new TextPattern(this.#tokens.toReversed());
    const result = [...mirrored.withoutPrefix([...text].reverse().join(""), longest)].reverse().join("");
    this.steps += mirrored.steps;
    return result;
  }

  /** The text with the first, or every, longest match replaced. */
  replace(text: string, replacement: string, all: boolean): string {
    const chars = [...text];
    const out: string[] = [];
    let position = 0, afterMatch = -1;
    for (let start = 0; start <= chars.length;) {
      const end = this.#matchAt(chars, start, true);
      // an empty match right behind another one is none
      if (end === undefined || (end === start && start === afterMatch)) {
        start++;
        continue;
      }
      out.push(...chars.slice(position, start), replacement);
      position = afterMatch = end;
      if (!all) break;
      start = end > start ? end : start + 1;
    }
    return out.concat(chars.slice(position)).join("");
  }

  /** Where a match that begins at `start` ends. */
  #matchAt(chars: readonly string[], start: number, longest: boolean): number | undefined {
    const tokens = this.#tokens;
    let states = this.#closure(new Set([0]));
    let found: number | undefined;
    for (let i = start;; i++) {
      if (states.has(tokens.length)) {
        found = i;
        if (!longest) return found;
      }
      const char = chars[i];
      if (char === undefined || states.size === 0) return found;
      this.steps += states.size;
      if (this.steps > MAX_STEPS) throw invalid("pattern in substitution takes too long to match");
      const next = new Set<number>();
      for (const state of states) {
        const token = tokens[state];
        if (token === STAR && char !== "\n") next.add(state);
        else if (token === char || (token === ANY && char !== "\n")) next.add(state + 1);
      }
      states = this.#closure(next);
    }
  }

  /** With the states that are reached because a star may match nothing. */
  #closure(states: Set<number>): Set<number> {
    for (const state of states) if (this.#tokens[state] === STAR) states.add(state + 1);
    return states;
  }
}
