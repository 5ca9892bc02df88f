import { expect, test } from "vitest";
import { componentMatcher, hasWildcards, PathPatterns } from "../../base/path_patterns.ts";

test.each([
  // the table of Go's path/filepath match_test.go, as far as one component goes
  ["abc", "abc", true],
  ["*", "abc", true],
  ["*c", "abc", true],
  ["a*", "abc", true],
  ["a*b?c*x", "abxbbxdbxebxczzx", true],
  ["a*b?c*x", "abxbbxdbxebxczzy", false],
  ["ab[c]", "abc", true],
  ["ab[b-d]", "abc", true],
  ["ab[e-g]", "abc", false],
  ["ab[^c]", "abc", false],
  ["ab[^e-g]", "abc", true],
  ["a\\*b", "a*b", true],
  ["a\\*b", "ab", false],
  ["a?b", "a☺b", true],
  ["[a-ζ]*", "α", true],
  ["[\\]a]", "]", true],
  ["[\\-]", "-", true],
  ["[x\\-]", "z", false],
  ["a[", "a", undefined],
  ["[]a]", "]", undefined],
  ["[-x]", "x", undefined],
  ["[a-b-c]", "a", undefined],
  ["[a", "a", undefined],
  ["[", "a", undefined],
  ["a\\", "a", undefined],
  ["*x", "xxx", true],
  ["a.b", "axb", false],
])("componentMatcher(%j) on %j is %j", (pattern, name, expected) => {
  if (expected === undefined) {
    expect(() => componentMatcher(pattern)(name)).toThrow("syntax error in pattern");
  } else expect(componentMatcher(pattern)(name)).toBe(expected);
});

test("hasWildcards() passes over escaped characters", () => {
  expect(["a*", "a?b", "a[b]", "a\\*b", "a/b", "a]"].map(hasWildcards))
    .toEqual([true, true, true, false, false, false]);
});

test.each([
  // moby/patternmatcher's own tables
  ["**", "file", true],
  ["**", "dir/file", true],
  ["**/", "dir/file", true],
  ["**/**", "dir/file", true],
  ["dir/**", "dir/file", true],
  ["dir/**", "dir/dir2/file", true],
  ["**/dir", "dir/file", true],
  ["**/dir2/*", "dir/dir2/file", true],
  ["**/file", "dir/dir/file", true],
  ["**/file", "file", true],
  ["**file", "xfile", true],
  ["**/file", "xfile", false],
  ["a**b", "a/b", true],
  ["a**b", "axb", false],
  ["a/**/b", "a/b", true],
  ["a/**/b", "a/x/y/b", true],
  ["*.go", "x.go", true],
  ["*.go", "dir/x.go", false],
  ["dir", "dir/x", true],
  ["/dir/", "dir/x", true],
  ["./dir", "dir", true],
  ["a.b", "axb", false],
  ["abc.def", "abcZdef", false],
  ["**/foo/bar", "foo/bar/baz", true],
  ["a/./b/../c", "a/c", true],
  ["\\!x", "!x", true],
])("PathPatterns([%j]) on %j is %j", (pattern, path, expected) => {
  expect(new PathPatterns([pattern]).matches(path)).toBe(expected);
});

test("PathPatterns: the last pattern that says something decides", () => {
  const patterns = new PathPatterns(["*.md", "!README*.md", "README-secret.md", "docs", "!docs/keep/**"]);
  const excluded = (path: string) => patterns.matches(path);
  expect(["a.md", "README.md", "README-secret.md", "docs/x", "docs/keep/x", "src/a.md"].map(excluded))
    .toEqual([true, false, true, true, false, false]);
  expect(patterns.hasNegations).toBe(true);
});

test("PathPatterns takes no time to speak of for patterns made to take long", () => {
  const patterns = new PathPatterns(["**/".repeat(60) + "x", `${"*".repeat(300)}x`]);
  expect(patterns.matches(`${"a/".repeat(300)}b`)).toBe(false);
  expect(componentMatcher("*a".repeat(40))("a".repeat(255))).toBe(true);
  expect(componentMatcher("*a".repeat(40) + "b")("a".repeat(255))).toBe(false);
});

test.each([
  ["a*b*c*d*e*f", "a1b2c3d4e5f", true],
  ["a*b*c*d*e*f", "a1b2c3d4e5g", false],
  ["a*b*c*d*e*f", "a1b2c3/d4e5f", false],
  ["**/a/**/b/**/c/**/d/**/e", "x/a/b/c/y/z/d/e", true],
  ["**/a/**/b/**/c/**/d/**/e", "x/a/b/c/y/z/d/xe", false],
  ["**/a/*/b/*/c/**", "a/1/b/2/c/3", true],
  ["**/a/*/b/*/c*/**/d", "a/1/b/2/c/3/4/d", true],
])("PathPatterns([%j]), with many wildcards, on %j is %j", (pattern, path, expected) => {
  expect(new PathPatterns([pattern]).matches(path)).toBe(expected);
});

test("PathPatterns refuses a lone exclamation mark", () => {
  expect(() => new PathPatterns(["!"])).toThrow('illegal exclusion pattern: "!"');
});
