import process from "node:process";
import type { Reporter, SerializedError, TestCase, TestModule } from "vitest/node";
import "./needs.ts";
import { leftBehind } from "./run_directory.ts";

/** A test that did not run. */
export interface Skipped {
  readonly file: string;
  readonly name: string;
  readonly reason: string;
}

/** What one run of vitest hands to the next one, which runs what needed root: see scripts/test. */
interface Results {
  /** Names of tests that passed at the second try only. */
  readonly unsteady: readonly string[];
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly Skipped[];
  /** Of `skipped`: those that wait for the next run. */
  readonly waiting: readonly Skipped[];
}

/**
 * Prints the reasons of skipped tests and, as the very last line, `N passed, N failed, N skipped`.
 *
 * scripts/test runs the checks (types, lint, format, layers) before the tests and hands over how many of them
 * passed and failed in BERTH_CHECKS="passed failed": they count as tests. With BERTH_TEST_RESULTS=file, tests that
 * need root are left for another run: the results are written to that file and nothing is printed. That run gets
 * the file as BERTH_TEST_BEFORE, and counts only what was left.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const before = readBefore();
    const awaited = before && new Set(before.waiting.map(idOf));
    const [checksPassed = 0, checksFailed = 0] = (Deno.env.get("BERTH_CHECKS") ?? "").split(" ").map(Number);
    let passed = before?.passed ?? checksPassed;
    // An error outside of any test (a file that does not load, a rejection nobody awaits) must not go unseen.
    let failed = (before?.failed ?? checksFailed) + errors.length;
    const skipped: Skipped[] = before?.skipped.filter((each) => !awaited?.has(idOf(each))) ?? [];
    const waiting: Skipped[] = [];
    const seen = new Set<string>();
    const unsteady = [...before?.unsteady ?? []];
    for (const module of modules) {
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        const entry = { file: module.relativeModuleId, name: test.fullName, reason: reasonOf(test) };
        if (awaited !== undefined && !awaited.has(idOf(entry))) continue;
        seen.add(idOf(entry));
        if (test.diagnostic()?.flaky) unsteady.push(`${entry.file}: ${entry.name}`);
        if (state === "passed") passed += 1;
        else if (state === "failed") failed += 1;
        else {
          skipped.push(entry);
          if (test.tags.includes("root")) waiting.push(entry);
        }
      }
    }
    skipped.push(...absentees(before?.waiting ?? [], seen));
    const dir = Deno.env.get("BERTH_TEST_DIR");
    const left = dir === undefined ? [] : leftBehind(dir);
    if (left.length > 0) {
      console.log(`\nLeft behind by tests:\n${left.map((path) => `  ${path}`).join("\n")}`);
      failed += 1;
      process.exitCode = 1;
    }
    const results = Deno.env.get("BERTH_TEST_RESULTS");
    if (results && waiting.length > 0) {
      Deno.writeTextFileSync(
        results,
        JSON.stringify({ unsteady, passed, failed, skipped, waiting } satisfies Results),
      );
      return;
    }
    // After what the other reporter prints at the end of the run.
    addEventListener("unload", () => console.log(summaryText(passed, failed, skipped, unsteady)));
  }
}

/** The end of the output: each reason with the files it concerns, tests that passed at the second try, then the numbers. */
export function summaryText(
  passed: number,
  failed: number,
  skipped: readonly Skipped[],
  unsteady: readonly string[] = [],
): string {
  const lines: string[] = [""];
  const byReason = Map.groupBy(skipped, ({ reason }) => reason);
  if (byReason.size > 0) lines.push("Skipped:");
  for (const [reason, tests] of byReason) {
    lines.push(`  ${tests.length} × ${reason}`);
    const byFile = Map.groupBy(tests, ({ file }) => file);
    for (const [file, { length, 0: first }] of byFile) {
      lines.push(`      ${file}: ${length === 1 ? first?.name : `${length} tests`}`);
    }
  }
  if (byReason.size > 0) lines.push("");
  if (unsteady.length > 0) {
    lines.push("Unsteady (failed once, then passed):", ...unsteady.map((name) => `  ${name}`), "");
  }
  return [...lines, `${passed} passed, ${failed} failed, ${skipped.length} skipped`].join("\n");
}

/** Tests that waited for this run and are not in it, under the name that they had: they have not run at all. */
export function absentees(waiting: readonly Skipped[], seen: ReadonlySet<string>): Skipped[] {
  return waiting.filter((each) => !seen.has(idOf(each)))
    .map((each) => ({ ...each, reason: "was to run as root of a user namespace, and is not there" }));
}

function readBefore(): Results | undefined {
  const file = Deno.env.get("BERTH_TEST_BEFORE");
  return file ? JSON.parse(Deno.readTextFileSync(file)) as Results : undefined;
}

function idOf({ file, name }: Skipped): string {
  return `${file}\n${name}`;
}

/** From `context.skip(reason)`, or from the suite it stands in (needs.ts). */
function reasonOf(test: TestCase): string {
  const result = test.result();
  if (result.state === "pending") return "did not run";
  if (result.state === "skipped" && result.note !== undefined) return result.note;
  let suite: TestCase["parent"] | TestCase = test;
  while (suite.type !== "module") {
    const { skipReason } = suite.meta();
    if (skipReason !== undefined) return skipReason;
    suite = suite.parent;
  }
  for (let suite = test.parent; suite.type !== "module"; suite = suite.parent) {
    if (suite.errors().length > 0) return "its suite failed before";
  }
  return test.module.errors().length > 0 ? "its file failed before" : "no reason given";
}
