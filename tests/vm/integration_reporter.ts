import type { Reporter, SerializedError, TestModule } from "vitest/node";

/**
 * Prints one line for each file of the integration suite as soon as it is done, in the words of tests/vm/checks.ts: what is printed
 * last before the machine's time is over says how far it came.
 */
export default class IntegrationReporter implements Reporter {
  onTestModuleEnd(module: TestModule): void {
    const name = module.relativeModuleId.replace(/^.*\//, "").replace(/\.test\.ts$/, "");
    const tests = [...module.children.allTests()];
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    const failures = [
      ...module.errors().map(textOf),
      ...[...module.children.allSuites()].flatMap((suite) =>
        suite.errors().map((error) => `${suite.fullName}: ${textOf(error)}`)
      ),
      ...tests.flatMap((test) => {
        const result = test.result();
        return result.state === "failed" ? [`${test.fullName}: ${result.errors.map(textOf).join("\n")}`] : [];
      }),
    ];
    const flaky = tests.filter((test) => test.diagnostic()?.flaky).map((test) => test.fullName);
    const reasons = new Set(
      [...module.children.allSuites()].flatMap((suite) => suite.meta().skipReason ?? []),
    );
    const seconds = Math.round(module.diagnostic().duration / 1000);
    const skips = [`${count("skipped")} skipped`, ...reasons].join(": ");
    const numbers = `${count("passed")} passed, ${skips} (${seconds} s)`;
    if (failures.length > 0) {
      console.log(indented(`FAILED integration ${name}: ${numbers}\n${failures.join("\n")}`));
    } else if (count("passed") === 0) {
      console.log(`skipped integration ${name}: ${numbers}`);
    } else {
      console.log(
        `ok integration ${name}: ${numbers}${flaky.length === 0 ? "" : `; unsteady: ${flaky.join("; ")}`}`,
      );
    }
  }

  onTestRunEnd(_modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    for (const error of errors) {
      console.log(indented(`FAILED integration, outside of any test: ${textOf(error)}`));
    }
  }
}

/** An error of the test's process, which has become plain data on its way here. */
function textOf({ message, stack = "", diff }: { message: string; stack?: string; diff?: string }): string {
  const where = stack.split("\n").filter((line) => line.includes("/tests/")).slice(0, 4);
  return [message, ...where, ...(diff === undefined ? [] : [diff])].join("\n");
}

/** So that scripts/test_vm counts one line. */
function indented(text: string): string {
  return text.replaceAll("\n", "\n    ");
}
