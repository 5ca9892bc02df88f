/** Columns of text, laid out as Go's text/tabwriter does with docker's settings. */

const MIN_WIDTH = 10;
const PADDING = 3;

/**
 * Aligns the cells that tabs end. A column is as wide as its widest cell in *consecutive* lines that have it; the last
 * cell of a line belongs to no column.
 */
export function alignTabs(text: string, minWidth = MIN_WIDTH, padding = PADDING): string {
  const lines = text.split("\n").map((line) => line.split("\t"));
  const widths = lines.map((): number[] => []);
  layout(lines, widths, 0, lines.length, 0, minWidth, padding);
  return lines
    .map((cells, row) =>
      cells.map((cell, i) => cell + " ".repeat(Math.max(0, (widths[row]?.[i] ?? 0) - width(cell)))).join("")
    )
    .join("\n");
}

function layout(
  lines: readonly string[][],
  widths: number[][],
  from: number,
  to: number,
  column: number,
  minWidth: number,
  padding: number,
): void {
  for (let start = from; start < to;) {
    if ((lines[start]?.length ?? 0) - 1 <= column) {
      start++;
      continue;
    }
    let end = start;
    let widest = minWidth;
    while (end < to && (lines[end]?.length ?? 0) - 1 > column) {
      widest = Math.max(widest, width(lines[end]?.[column] ?? "") + padding);
      end++;
    }
    for (let row = start; row < end; row++) widths[row]?.push(widest);
    layout(lines, widths, start, end, column + 1, minWidth, padding);
    start = end;
  }
}

const width = (text: string): number => [...text].length;

/** A table with docker's spacing: rows of cells, each line ended by a newline. */
export function table(rows: readonly (readonly string[])[]): string {
  return alignTabs(rows.map((row) => row.join("\t")).join("\n")) + "\n";
}
