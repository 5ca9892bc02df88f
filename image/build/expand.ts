import { invalid } from "../../base/errors.ts";
import { quoted } from "./errors.ts";
import { TextPattern } from "./text_pattern.ts";

/** All characters that the expansions of one build may make: a Dockerfile of bombs ends here. */
const BUILD_LIMIT = 64 * 1024 * 1024;
/** What a step of matching a pattern counts as, in characters. */
const STEP_COST = 16;

/** What the expansions of a build have made so far. */
export class ExpansionBudget {
  #spent = 0;

  /** @throws {EngineError} invalid */
  spend(characters: number): void {
    this.#spent += characters;
    if (this.#spent > BUILD_LIMIT) {
      throw invalid(`expanding the Dockerfile's variables makes more than ${BUILD_LIMIT} characters`);
    }
  }
}

/** What variables are looked up in. */
export interface Variables {
  get(name: string): string | undefined;
}

export interface ExpandOptions {
  /** The Dockerfile's escape character. */
  readonly escape: "\\" | "`";
  /** Keep quotation marks in the result. */
  readonly rawQuotes?: boolean;
  /** Keep escape characters in the result. */
  readonly rawEscapes?: boolean;
  /** Quotation marks mean nothing (contents of heredocs). */
  readonly ignoreQuotes?: boolean;
  /** Leave variables that are not set as they are written. */
  readonly skipUnset?: boolean;
  /** Longest result in characters. */
  readonly limit?: number;
  /** The build's. */
  readonly budget?: ExpansionBudget | undefined;
}

export interface Expansion {
  readonly text: string;
  /** `text` split at white space outside of quotes, also at such that came out of a variable. */
  readonly words: readonly string[];
  /** Variables that were looked up and found. */
  readonly matched: ReadonlySet<string>;
  /** Variables that were looked up and not found. */
  readonly unmatched: ReadonlySet<string>;
}

/** Result of one expansion, in characters: far more than the kernel takes as one argument (128 KiB), far less than a bomb makes. */
const DEFAULT_LIMIT = 1024 * 1024;
/** `${a:-${b:-${c…` */
const MAX_DEPTH = 100;

/**
 * Expands variables and removes quotes, by the rules of BuildKit's shell lexer (frontend/dockerfile/shell).
 *
 * `$name`, `${name}`; with `:` (empty counts as unset) or without: `${name-word}`, `${name+word}`, `${name?message}`; `${name#pattern}`, `##`,
 * `%`, `%%`; `${name/pattern/word}`, `//`. A `$` that begins nothing stays. Unset is empty.
 *
 * @throws {EngineError} invalid, in BuildKit's words.
 */
export function expand(text: string, variables: Variables, options: ExpandOptions): Expansion {
  const lexer = new Lexer(text, variables, options);
  try {
    const { result, words } = lexer.run();
    options.budget?.spend(result.length);
    return { text: result, words, matched: lexer.matched, unmatched: lexer.unmatched };
  } catch (error) {
    if (error instanceof SyntaxProblem) throw invalid(`failed to process ${quoted(text)}: ${error.message}`);
    throw error;
  }
}

/** {@link expand}'s text alone. */
export function expandWord(text: string, variables: Variables, options: ExpandOptions): string {
  return expand(text, variables, options).text;
}

/** {@link expand}'s words alone: nothing for an empty variable, several for one with spaces. */
export function expandWords(text: string, variables: Variables, options: ExpandOptions): readonly string[] {
  return expand(text, variables, options).words;
}

class SyntaxProblem extends Error {}

const SPACE = /^\s$/;
const NAME = /[\p{L}\p{Nd}_]/u;
const DIGIT = /\p{Nd}/u;
/** POSIX's special parameters: never set in a Dockerfile. */
const SPECIAL = "@*#?-$!0";

/** Collects words as text comes. */
class Words {
  readonly #done: string[] = [];
  #word = "";

  /** Text that is split at white space. */
  loose(text: string): void {
    for (const char of text) {
      if (!SPACE.test(char)) this.#word += char;
      else this.#end();
    }
  }

  /** Text that is quoted. */
  firm(text: string): void {
    this.#word += text;
  }

  #end(): void {
    if (this.#word !== "") this.#done.push(this.#word);
    this.#word = "";
  }

  finish(): string[] {
    this.#end();
    return this.#done;
  }
}

class Lexer {
  readonly #chars: readonly string[];
  readonly #variables: Variables;
  readonly #options: ExpandOptions;
  readonly #limit: number;
  #at = 0;
  #depth = 0;
  readonly matched = new Set<string>();
  readonly unmatched = new Set<string>();

  constructor(text: string, variables: Variables, options: ExpandOptions) {
    this.#chars = [...text];
    this.#variables = variables;
    this.#options = options;
    this.#limit = Math.max(options.limit ?? DEFAULT_LIMIT, text.length);
  }

  run(): { result: string; words: string[] } {
    return this.#until(undefined, this.#options.rawEscapes ?? false);
  }

  #peek(): string | undefined {
    return this.#chars[this.#at];
  }

  #next(): string | undefined {
    return this.#chars[this.#at++];
  }

  /** Reads up to and over `stop`. */
  #until(stop: string | undefined, rawEscapes: boolean): { result: string; words: string[] } {
    if (++this.#depth > MAX_DEPTH) throw new SyntaxProblem("substitutions are nested too deeply");
    let result = "";
    const words = new Words();
    const escape = this.#options.escape;
    for (let char; (char = this.#peek()) !== undefined;) {
      if (result.length > this.#limit) {
        throw new SyntaxProblem(`result is longer than ${this.#limit} characters`);
      }
      if (char === stop) {
        this.#at++;
        this.#depth--;
        return { result, words: words.finish() };
      }
      if (char === "$") {
        const value = this.#dollar();
        result += value;
        words.loose(value);
      } else if (char === "<") {
        const value = this.#heredocMark();
        result += value;
        words.firm(value);
      } else if ((char === '"' || char === "'") && !this.#options.ignoreQuotes) {
        const value = char === "'" ? this.#singleQuotes() : this.#doubleQuotes(rawEscapes);
        result += value;
        words.firm(value);
      } else if (char === escape) {
        this.#at++;
        if (rawEscapes) {
          result += char;
          words.firm(char);
        }
        const escaped = this.#next();
        if (escaped === undefined) break;
        result += escaped;
        words.firm(escaped);
      } else {
        this.#at++;
        result += char;
        words.loose(char);
      }
    }
    if (result.length > this.#limit) {
      throw new SyntaxProblem(`result is longer than ${this.#limit} characters`);
    }
    if (stop !== undefined) {
      throw new SyntaxProblem(`unexpected end of statement while looking for matching ${stop}`);
    }
    this.#depth--;
    return { result, words: words.finish() };
  }

  #singleQuotes(): string {
    const end = this.#chars.indexOf("'", this.#at + 1);
    if (end < 0) {
      throw new SyntaxProblem("unexpected end of statement while looking for matching single-quote");
    }
    const inner = this.#chars.slice(this.#at + 1, end).join("");
    this.#at = end + 1;
    return this.#options.rawQuotes ? `'${inner}'` : inner;
  }

  #doubleQuotes(rawEscapes: boolean): string {
    const mark = this.#options.rawQuotes ? '"' : "";
    const escape = this.#options.escape;
    this.#at++;
    let result = mark;
    for (;;) {
      if (result.length > this.#limit) {
        throw new SyntaxProblem(`result is longer than ${this.#limit} characters`);
      }
      const char = this.#peek();
      if (char === undefined) {
        throw new SyntaxProblem("unexpected end of statement while looking for matching double-quote");
      }
      if (char === "$") {
        result += this.#dollar();
        continue;
      }
      this.#at++;
      if (char === '"') return result + mark;
      if (char !== escape) {
        result += char;
        continue;
      }
      if (rawEscapes) result += char;
      const next = this.#peek();
      if (next === undefined) continue;
      // in double quotes the escape character is one before these only
      if (next === '"' || next === "$" || next === escape) {
        this.#at++;
        result += next;
      } else result += char;
    }
  }

  /** `<<` and white space behind it, which belongs to the word that follows. */
  #heredocMark(): string {
    this.#at++;
    if (this.#peek() !== "<") return "<";
    this.#at++;
    let result = "<<";
    for (let char; (char = this.#peek()) !== undefined && /[\t ]/.test(char); this.#at++) result += char;
    return result;
  }

  #dollar(): string {
    this.#at++;
    if (this.#peek() !== "{") {
      const name = this.#name();
      if (name === "") return "$";
      return this.#lookUp(name) ?? (this.#options.skipUnset ? `$${name}` : "");
    }
    this.#at++;
    const first = this.#peek();
    if (first === undefined) throw new SyntaxProblem("syntax error: missing '}'");
    if ("{}:".includes(first)) throw new SyntaxProblem("syntax error: bad substitution");
    return this.#braces(this.#name());
  }

  /** `${name` has been read. */
  #braces(name: string): string {
    let modifier = this.#next() ?? "";
    if (modifier === "}") return this.#lookUp(name) ?? (this.#options.skipUnset ? `\${${name}}` : "");
    if (modifier === "/") return this.#replacement(name);
    const emptyIsUnset = modifier === ":";
    if (emptyIsUnset) modifier = this.#next() ?? "";
    const shown = (emptyIsUnset ? ":" : "") + modifier;
    const isPattern = modifier === "#" || modifier === "%";
    if (modifier === "" || !"+-?#%".includes(modifier) || (emptyIsUnset && isPattern)) {
      // whatever follows is looked at first: it may end too early
      if (emptyIsUnset && !isPattern) this.#operand("}", "'}'", false);
      throw new SyntaxProblem(`unsupported modifier (${shown}) in substitution`);
    }
    const word = this.#operand("}", "'}'", isPattern);
    const value = this.#lookUp(name);
    if (value === undefined && this.#options.skipUnset) return `\${${name}${shown}${word}}`;
    if (isPattern) return this.#trimmed(value ?? "", modifier, word);
    const isUnset = value === undefined || (emptyIsUnset && value === "");
    if (modifier === "-") return isUnset ? word : value;
    if (modifier === "+") return isUnset ? "" : word;
    if (!isUnset) return value;
    const reason = value === undefined ? "is not allowed to be unset" : "is not allowed to be empty";
    throw new SyntaxProblem(`${name}: ${word || reason}`);
  }

  #trimmed(value: string, modifier: string, word: string): string {
    const longest = word.startsWith(modifier);
    const pattern = TextPattern.parse(longest ? word.slice(1) : word);
    const result = modifier === "%"
      ? pattern.withoutSuffix(value, longest)
      : pattern.withoutPrefix(value, longest);
    this.#options.budget?.spend(pattern.steps * STEP_COST);
    return result;
  }

  /** `${name/` has been read. */
  #replacement(name: string): string {
    const all = this.#peek() === "/";
    if (all) this.#at++;
    const pattern = this.#operand("/", "'/' in ${}", true);
    const replacement = this.#operand("}", "'}'", true);
    const value = this.#lookUp(name);
    if (value === undefined && this.#options.skipUnset) return `\${${name}/${pattern}/${replacement}}`;
    const parsed = TextPattern.parse(pattern);
    const result = parsed.replace(value ?? "", replacement, all);
    this.#options.budget?.spend(parsed.steps * STEP_COST);
    if (result.length > this.#limit) {
      throw new SyntaxProblem(`result is longer than ${this.#limit} characters`);
    }
    return result;
  }

  /** What stands before `stop`, expanded. */
  #operand(stop: string, missing: string, rawEscapes: boolean): string {
    try {
      return this.#until(stop, rawEscapes).result;
    } catch (error) {
      const ended = error instanceof SyntaxProblem && error.message.startsWith("unexpected end of statement");
      if (ended && this.#peek() === undefined) throw new SyntaxProblem(`syntax error: missing ${missing}`);
      throw error;
    }
  }

  /** A name; digits; one special character; or nothing. */
  #name(): string {
    const first = this.#peek();
    if (first === undefined) return "";
    let name = "";
    if (DIGIT.test(first)) {
      for (let char; (char = this.#peek()) !== undefined && DIGIT.test(char); this.#at++) name += char;
      return name;
    }
    if (SPECIAL.includes(first)) {
      this.#at++;
      return first;
    }
    for (let char; (char = this.#peek()) !== undefined && NAME.test(char); this.#at++) name += char;
    return name;
  }

  #lookUp(name: string): string | undefined {
    const value = this.#variables.get(name);
    (value === undefined ? this.unmatched : this.matched).add(name);
    return value;
  }
}
