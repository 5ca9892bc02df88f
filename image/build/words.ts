import { expandWords } from "./expand.ts";

/** White space between words of an instruction. */
const BLANKS = /[\t\v\f\r ]+/;
const SPACE = /\s/;

/** At blanks alone: quotes mean nothing here. */
export const splitBlanks = (text: string): string[] => text === "" ? [] : text.split(BLANKS);

/** Keyword and the rest. */
export function splitKeyword(line: string): { keyword: string; rest: string } {
  const text = line.trim();
  const blank = BLANKS.exec(text);
  if (blank === null) return { keyword: text, rest: "" };
  return { keyword: text.slice(0, blank.index), rest: text.slice(blank.index + blank[0].length) };
}

/**
 * Words separated by white space outside of quotes. Quotes and escape characters stay: they are taken away when variables
 * are expanded.
 */
export function splitQuoted(text: string, escape: string): string[] {
  const words: string[] = [];
  let word = "", quote = "", begun = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i] ?? "";
    if (quote === "" && SPACE.test(char)) {
      if (begun) words.push(word);
      word = "";
      begun = false;
      continue;
    }
    if (char === escape && quote !== "'") {
      // at the end of all it escapes nothing
      if (i + 1 === text.length) break;
      word += char + (text[++i] ?? "");
      begun = true;
      continue;
    }
    if (char === quote) quote = "";
    else if (quote === "" && (char === '"' || char === "'")) quote = char;
    word += char;
    begun = true;
  }
  if (begun) words.push(word);
  return words;
}

/**
 * Takes `--flag` and `--flag=value` from the beginning, up to `--` or the first word that is no flag. Quotes are removed.
 *
 * @returns the flags as they are written, and the rest.
 */
export function takeFlags(text: string, escape: string): { flags: string[]; rest: string } {
  const flags: string[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && SPACE.test(text[at] ?? "")) at++;
    if (!text.startsWith("--", at)) return { flags, rest: text.slice(at).trim() };
    let flag = "", quote = "";
    for (; at < text.length; at++) {
      const char = text[at] ?? "";
      if (quote === "" && SPACE.test(char)) break;
      if (char === quote) quote = "";
      else if (quote === "" && (char === '"' || char === "'")) quote = char;
      else if (char === escape) flag += text[++at] ?? "";
      else flag += char;
    }
    if (flag === "--") return { flags, rest: text.slice(at).trim() };
    flags.push(flag);
  }
}

/** A list in JSON form; undefined: it is not one. "mixed": a list of other things than strings. */
export function jsonWords(text: string): string[] | "mixed" | undefined {
  const trimmed = text.trimStart();
  if (!trimmed.startsWith("[")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(trimmed);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  return value.every((item) => typeof item === "string") ? value : "mixed";
}

const HEREDOC = /^(\d*)<<(-?)\s*([^<]*)$/;
const NOTHING = { get: () => undefined };

/** What `<<EOF` says, without its content. */
export interface HeredocMark {
  readonly name: string;
  readonly expand: boolean;
  readonly stripTabs: boolean;
  readonly fileDescriptor: number;
}

/** A word as the beginning of a heredoc; undefined: it is none. */
export function heredocMark(word: string): HeredocMark | undefined {
  const [, descriptor = "", dash = "", rest = ""] = HEREDOC.exec(word) ?? [];
  if (rest === "") return undefined;
  const options = { escape: "\\", skipUnset: true } as const;
  const names = expandWords(rest, NOTHING, options);
  const raw = expandWords(rest, NOTHING, { ...options, rawQuotes: true })[0] ?? "";
  const [name] = names;
  if (names.length !== 1 || name === undefined) return undefined;
  return {
    name,
    expand: quotes(name) === quotes(raw),
    stripTabs: dash === "-",
    fileDescriptor: Number(descriptor),
  };
}

const quotes = (text: string): number => text.replace(/[^'"]/g, "").length;

/** The heredocs that a whole instruction begins, in order. */
export function heredocMarks(line: string): HeredocMark[] {
  let words: readonly string[];
  try {
    words = expandWords(line, NOTHING, {
      escape: "\\",
      skipUnset: true,
      rawQuotes: true,
      rawEscapes: true,
    });
  } catch {
    // quotes that are the shell's business, not ours
    return [];
  }
  return words.flatMap((word) => heredocMark(word) ?? []);
}

/** Content of `<<-`. */
export const withoutLeadingTabs = (text: string): string => text.replace(/(^|\n)\t+/g, "$1");
