/** Lists of processors and memory nodes as the kernel writes them: "0-3,8". */

type Range = readonly [first: number, last: number];

function ranges(list: string): Range[] {
  return list.trim().split(",").filter((range) => range !== "").map((range) => {
    const [first = NaN, last = first] = range.split("-").map(Number);
    return [first, last] as const;
  });
}

/** Whether it is one, with no range that runs backwards. */
export function isNumberList(list: string): boolean {
  return /^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(list) && ranges(list).every(([first, last]) => first <= last);
}

/** How many numbers: 5 for "0-3,8". */
export function countNumbers(list: string): number {
  return ranges(list).reduce((count, [first, last]) => count + last - first + 1, 0);
}

/** The numbers that both lists have. */
export function inBothLists(a: string, b: string): string {
  return ranges(a).flatMap(([first, last]) =>
    ranges(b).map(([low, high]): Range => [Math.max(first, low), Math.min(last, high)])
  ).filter(([first, last]) => first <= last)
    .map(([first, last]) => first === last ? `${first}` : `${first}-${last}`).join(",");
}

/** Whether all numbers of `part` are in `list`, which has no ranges that follow each other directly. */
export function listHolds(list: string, part: string): boolean {
  const there = ranges(list);
  return ranges(part).every(([first, last]) => there.some(([low, high]) => low <= first && last <= high));
}
