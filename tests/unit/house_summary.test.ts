import { expect, it } from "vitest";
import { absentees, summaryText } from "../support/summary_reporter.ts";

it("summaryText() groups skipped tests by reason and ends with the numbers", () => {
  const skipped = [
    { file: "tests/a.test.ts", name: "one", reason: "needs root" },
    { file: "tests/a.test.ts", name: "two", reason: "needs root" },
    { file: "tests/b.test.ts", name: "three", reason: "no cc: sudo apt-get install gcc" },
  ];
  expect(summaryText(5, 1, skipped).split("\n")).toEqual([
    "",
    "Skipped:",
    "  2 × needs root",
    "      tests/a.test.ts: 2 tests",
    "  1 × no cc: sudo apt-get install gcc",
    "      tests/b.test.ts: three",
    "",
    "5 passed, 1 failed, 3 skipped",
  ]);
  expect(summaryText(5, 0, [])).toBe("\n5 passed, 0 failed, 0 skipped");
});

it("summaryText() names tests that passed at the second try", () => {
  expect(summaryText(5, 0, [], ["a.test.ts: does it"]).split("\n")).toEqual([
    "",
    "Unsteady (failed once, then passed):",
    "  a.test.ts: does it",
    "",
    "5 passed, 0 failed, 0 skipped",
  ]);
});

it("absentees() are tests that waited for the second run and do not come in it", () => {
  const test = (name: string) => ({ file: "a.test.ts", name, reason: "needs root" });
  expect(absentees([test("one"), test("two as me")], new Set(["a.test.ts\none", "a.test.ts\ntwo as root"])))
    .toEqual([{ ...test("two as me"), reason: "was to run as root of a user namespace, and is not there" }]);
});
