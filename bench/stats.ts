/** Numbers of repeated measurements, and the tables that show them. */

/** Middle value; of an even number of values the higher of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** The value that `fraction` of all values do not exceed. */
export function percentile(values: readonly number[], fraction: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(fraction * sorted.length) - 1)] ?? Number.NaN;
}

/** What is printed beside a goal. */
export const verdict = (met: boolean): string => met ? "met" : "MISSED";

/** Milliseconds that `action` takes. */
export async function timed(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

export interface Row {
  name: string;
  /** Milliseconds of each run; empty when it could not be measured. */
  times: readonly number[];
  /** Why there are no times. */
  missing?: string;
}

/** Prints medians and their ratio to the row called `reference`. */
export function printTimes(title: string, reference: string, rows: readonly Row[]): void {
  console.log(`\n${title}\n`);
  const base = median(rows.find((row) => row.name === reference)?.times ?? []);
  const width = Math.max(...rows.map((row) => row.name.length));
  console.log(`  ${"".padEnd(width)}   median      p90    ratio   runs`);
  for (const { name, times, missing } of rows) {
    const label = `  ${name.padEnd(width)}`;
    if (times.length === 0) {
      console.log(`${label}   ${missing ?? "not measured"}`);
      continue;
    }
    const ms = (value: number) => `${value.toFixed(1)} ms`.padStart(9);
    const ratio = Number.isNaN(base) ? "-" : (median(times) / base).toFixed(2);
    console.log(
      `${label}${ms(median(times))}${ms(percentile(times, 0.9))}${ratio.padStart(9)}${
        String(times.length).padStart(7)
      }`,
    );
  }
  if (!Number.isNaN(base)) console.log(`  (ratio: to ${reference})`);
}
