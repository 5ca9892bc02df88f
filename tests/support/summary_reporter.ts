import type { Reporter, SerializedError, TestModule } from "vitest/node";

/**
 * Prints every skipped test with its reason and, as the very last line, `N passed, N failed, N skipped`.
 *
 * scripts/test runs the checks (types, lint, format, layers) before the tests and hands over how many of them
 * passed and failed in BERTH_CHECKS="passed failed": they count as tests.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const [checksPassed = 0, checksFailed = 0] = (Deno.env.get("BERTH_CHECKS") ?? "").split(" ").map(Number);
    let passed = checksPassed;
    // An error outside of any test (a file that does not load, a rejection nobody awaits) must not go unseen.
    let failed = checksFailed + errors.length;
    const skipped: string[] = [];
    for (const module of modules) {
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "passed") passed += 1;
        else if (result.state === "failed") failed += 1;
        else skipped.push(`${test.module.relativeModuleId}: ${test.fullName}: ${reasonOf(result)}`);
      }
    }
    // After what the other reporter prints at the end of the run.
    addEventListener("unload", () => {
      if (skipped.length > 0) console.log(`\nSkipped:\n${skipped.map((s) => `  ${s}`).join("\n")}`);
      console.log(`\n${passed} passed, ${failed} failed, ${skipped.length} skipped`);
    });
  }
}

function reasonOf(result: { state: string; note?: string | undefined }): string {
  if (result.state === "pending") return "did not run";
  return result.note ?? "no reason given";
}
