/** One line of /proc/self/uid_map: `count` ids from `inside` on are `outside` and following in the parent namespace. */
export interface IdRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** Parses the text of a uid_map or gid_map file. */
export function parseIdMap(text: string): IdRange[] {
  const ranges: IdRange[] = [];
  for (const line of text.split("\n")) {
    const [inside, outside, count] = line.trim().split(/\s+/).map(Number);
    if (inside !== undefined && outside !== undefined && count !== undefined) {
      ranges.push({ inside, outside, count });
    }
  }
  return ranges;
}

/**
 * What this process's user namespace maps: `root` the whole range (identity), `single` one id only, `full` anything between.
 */
export function currentIdMap(
  read: () => string = () => Deno.readTextFileSync("/proc/self/uid_map"),
): "full" | "single" | "root" {
  const ranges = parseIdMap(read());
  const total = ranges.reduce((sum, range) => sum + range.count, 0);
  if (total >= 0xffffffff) return "root";
  return total <= 1 ? "single" : "full";
}
