/** Help texts in the layout of Go's pflag as docker prints them. */

import type { FlagTable } from "./spec.ts";

/** Room that may be left at a line's end before a word is moved to the next line. */
const SLOP = 5;

/** Lines "  -s, --name label   text" for all flags that are not hidden, sorted, wrapped to `width` columns. */
export function flagUsages(table: FlagTable, width: number): string {
  const rows = Object.entries(table)
    .filter(([, flag]) => !flag.hidden)
    .sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, flag]) => {
      const short = flag.short === undefined ? "      " : `  -${flag.short}, `;
      const left = `${short}--${name}${flag.label === "" ? "" : ` ${flag.label}`}`;
      const fallback = flag.defaultText === undefined ? "" : ` (default ${flag.defaultText})`;
      return { left, right: flag.help + fallback };
    });
  const column = Math.max(0, ...rows.map(({ left }) => left.length)) + 3;
  return rows.map(({ left, right }) => left.padEnd(column) + wrap(right, column, width) + "\n").join("");
}

/** Wraps `text` that starts at column `indent` so that no line is longer than about `width`. */
function wrap(text: string, indent: number, width: number): string {
  let margin = indent;
  let room = width - margin;
  let start = "";
  if (room < 24) {
    margin = 16;
    room = width - margin;
    start = "\n" + " ".repeat(margin);
  }
  const newline = "\n" + " ".repeat(margin);
  if (room < 24) return text.replaceAll("\n", newline);
  room -= SLOP;
  const lines: string[] = [];
  for (let rest = text; rest !== "";) {
    const end = lineEnd(rest, room);
    lines.push(rest.slice(0, end));
    rest = rest.slice(end + 1);
  }
  return start + lines.join("\n").replaceAll("\n", newline);
}

function lineEnd(text: string, room: number): number {
  if (room + SLOP > text.length) return text.length;
  const head = text.slice(0, room);
  const blank = Math.max(head.lastIndexOf(" "), head.lastIndexOf("\t"), head.lastIndexOf("\n"));
  if (blank <= 0) return text.length;
  const newline = head.lastIndexOf("\n");
  return newline > 0 && newline < blank ? newline : blank;
}

/** Room for names that cobra leaves at least, which most groups of docker's have. */
const NAME_WIDTH = 11;

/** Two columns of names and descriptions, the second one aligned. */
export function nameTable(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(NAME_WIDTH, ...entries.map(([name]) => name.length));
  return entries.map(([name, text]) => `  ${name.padEnd(width)} ${text}\n`).join("");
}

/** Columns of the terminal, 80 when there is none. */
export function helpWidth(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}
