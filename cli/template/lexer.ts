/** Splits a template into text and the tokens of its actions. */

import { TemplateError } from "./syntax.ts";

export interface Token {
  readonly kind:
    | "text"
    | "open"
    | "close"
    | "word"
    | "field"
    | "variable"
    | "string"
    | "number"
    | "symbol"
    | "blank";
  readonly text: string;
  /** Offset in the source. */
  readonly at: number;
}

/** Ordered: the first that matches wins. `.field` binds to what stands directly before it. */
const TOKENS: readonly (readonly [Token["kind"], RegExp])[] = [
  ["blank", /[ \t\r\n]+/y],
  ["string", /"(?:[^"\\\n]|\\.)*"|`[^`]*`/y],
  ["number", /[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|'(?:[^'\\]|\\.)'/y],
  ["field", /\.[\p{L}_][\p{L}\p{N}_]*/uy],
  ["variable", /\$[\p{L}\p{N}_]*/uy],
  ["word", /[\p{L}_][\p{L}\p{N}_]*/uy],
  ["symbol", /:=|[.|(),=]/y],
];

/** Tokens of `source`. Throws `TemplateError` for an action that is not closed or holds an unknown character. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let trimNext = false;
  while (at < source.length) {
    const open = source.indexOf("{{", at);
    let text = source.slice(at, open < 0 ? source.length : open);
    if (trimNext) text = text.trimStart();
    const trims = open >= 0 && /^-[ \t\r\n]/.test(source.slice(open + 2, open + 4));
    if (trims) text = text.trimEnd();
    if (text !== "") tokens.push({ kind: "text", text, at });
    if (open < 0) break;
    const inside = open + 2 + (trims ? 1 : 0);
    const comment = /^\s*\/\*[\s\S]*?\*\/(\s+-)?\s*\}\}/.exec(source.slice(inside));
    if (comment) {
      trimNext = comment[1] !== undefined;
      at = inside + comment[0].length;
      continue;
    }
    tokens.push({ kind: "open", text: "{{", at: open });
    ({ at, trimNext } = action(source, inside, tokens));
  }
  return tokens;
}

function action(source: string, from: number, tokens: Token[]): { at: number; trimNext: boolean } {
  for (let at = from; at < source.length;) {
    const close = /^(?:\s-)?\}\}/.exec(source.slice(at, at + 4));
    if (close) {
      tokens.push({ kind: "close", text: "}}", at });
      return { at: at + close[0].length, trimNext: close[0].length === 4 };
    }
    const token = next(source, at);
    if (token === undefined) {
      const char = source.slice(at, at + 1);
      throw new TemplateError(
        char === '"' ? "unterminated quoted string" : `bad character ${codePoint(char)}`,
      );
    }
    tokens.push(token);
    at += token.text.length;
  }
  throw new TemplateError("unclosed action");
}

function next(source: string, at: number): Token | undefined {
  for (const [kind, pattern] of TOKENS) {
    pattern.lastIndex = at;
    const text = pattern.exec(source)?.[0];
    if (text !== undefined) return { kind, text, at };
  }
  return undefined;
}

/** U+007D '}', as Go's %#U. */
function codePoint(char: string): string {
  return `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")} '${char}'`;
}
