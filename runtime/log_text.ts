/**
 * Many entries of a json-file log at once. What a loop over bytes does at some nanoseconds each, V8's own functions for strings do with the
 * processor's wide registers; so ordinary output becomes a string, is escaped by JSON.stringify and cut by one replacement.
 */

const NEWLINE = 0x0a;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** In place of line ends where the text has backslashes of its own; stands for itself in JSON. */
const MARK = "\x7f";

const LINE_END = /\n/g;
const ESCAPED_LINE_END = /\\n/g;
const MARKED_LINE_END = /\x7f/g;
const ESCAPED_TAB = /\\t/g;
const HTML: readonly (readonly [char: string, pattern: RegExp, escape: string])[] = [
  ["<", /</g, "\\u003c"],
  [">", />/g, "\\u003e"],
  ["&", /&/g, "\\u0026"],
];

/**
 * Writes each line of `data`, which ends with a line's end, between `before` and `after` to `output` at `at`: escaped as escapeInto does, with
 * the line's end escaped too.
 *
 * @param before the start of an entry, up to its text.
 * @param after what follows the text, up to the entry's own newline.
 * @returns the position after it, or -1 when this text is not for here (it is to be escaped byte by byte) or has no room. Nothing counts as
 * written then.
 */
export function encodeLines(
  output: Uint8Array,
  at: number,
  data: Uint8Array,
  before: string,
  after: string,
): number {
  if (data[data.length - 1] !== NEWLINE) return -1;
  // a string's search is many times faster than an array's
  const text = decoder.decode(data);
  // JSON.stringify has shorter escapes for these than Go
  if (text.includes("\b") || text.includes("\f")) return -1;
  // bytes that are no UTF-8, and what Go escapes although it need not be
  if (text.includes("\ufffd") || text.includes("\u2028") || text.includes("\u2029")) return -1;
  let lines: string;
  let end: RegExp;
  if (text.includes("\\")) {
    if (text.includes(MARK) || text.includes("\t")) return -1;
    lines = JSON.stringify(text.replace(LINE_END, MARK));
    end = MARKED_LINE_END;
  } else {
    lines = JSON.stringify(text);
    end = ESCAPED_LINE_END;
    if (text.includes("\t")) lines = lines.replace(ESCAPED_TAB, "\\u0009");
  }
  for (const [char, pattern, escape] of HTML) if (text.includes(char)) lines = lines.replace(pattern, escape);
  // without the quotes around it and the last line's end
  const last = end === MARKED_LINE_END ? 2 : 3;
  const between = `\\n${after}${before}`;
  const inner = lines.slice(1, -last).replace(
    end,
    between.includes("$") ? between.replaceAll("$", "$$$$") : between,
  );
  for (const part of [before, inner, `\\n${after}`]) {
    const { read, written } = encoder.encodeInto(part, output.subarray(at));
    if (read !== part.length) return -1;
    at += written;
  }
  return at;
}
