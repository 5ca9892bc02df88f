import { describe, expect, test } from "vitest";
import { DockerIgnore, dockerignoreNames, readDockerignore } from "../../base/dockerignore.ts";

describe("readDockerignore()", () => {
  test.each<[string, readonly string[]]>([
    ["a\nb\r\n", ["a", "b"]],
    ["\uFEFFa", ["a"]],
    ["# a\n #b\n\n  \nc # d", ["#b", "c # d"]],
    ["/a/\n//b//c/..\n./d\n.", ["a", "b", "d", "."]],
    ["  !  /a  \n!a/../b", ["!a", "!b"]],
    ["/", ["/"]],
    ["../a", ["../a"]],
    ["a\\*b\n\\#c", ["a\\*b", "\\#c"]],
  ])("of %j", (text, patterns) => {
    expect(readDockerignore(text)).toEqual(patterns);
  });

  test("refuses a file that nobody wrote", () => {
    expect(() => readDockerignore("a\n".repeat(600_000))).toThrow(".dockerignore is larger than 1 MiB");
  });
});

test("dockerignoreNames() begins with the Dockerfile's own", () => {
  expect(dockerignoreNames("docker/web.Dockerfile")).toEqual([
    "docker/web.Dockerfile.dockerignore",
    ".dockerignore",
  ]);
});

describe("DockerIgnore leaves out", () => {
  test.each<[string, readonly string[], readonly string[]]>([
    ["node_modules", ["node_modules", "node_modules/a/b"], ["src/node_modules", "node_modules2"]],
    ["**/node_modules", ["node_modules", "a/node_modules/b", "a/b/node_modules"], ["a/xnode_modules"]],
    ["*.md", ["a.md"], ["docs/a.md", "a.mdx"]],
    ["**/*.md", ["a.md", "docs/x/a.md"], ["a.mdx"]],
    ["/dist/", ["dist", "dist/a"], ["a/dist"]],
    ["*", ["a", "a/b", ".git"], []],
    ["*\n!src", ["a", "a/b"], ["src", "src/a"]],
    ["*\n!src\nsrc/*.log", ["src/a.log"], ["src/a.c", "src/b/a.log"]],
    ["docs\n!docs/keep.md", ["docs/a"], ["docs/keep.md"]],
    ["!a\na", ["a"], []],
    ["temp?", ["temp1"], ["temp", "temp12"]],
    ["[a-c].txt", ["b.txt"], ["d.txt"]],
    ["dist/a+b(c).whl", ["dist/a+b(c).whl"], ["dist/aab(c).whl"]],
    ["a\\*b", ["a*b"], ["axb"]],
    [".git", [".git", ".git/config"], [".gitignore"]],
    ["a/**/b", ["a/b", "a/x/b", "a/x/y/b/z"], ["a/xb"]],
  ])("by %j", (text, left, kept) => {
    const ignore = new DockerIgnore(readDockerignore(text));
    expect([...left, ...kept].filter((path) => ignore.ignores(path))).toEqual(left);
  });

  test("nothing by patterns that are none: they are errors", () => {
    expect(() => new DockerIgnore(["!"])).toThrow('illegal exclusion pattern: "!"');
    expect(() => new DockerIgnore(["a["])).toThrow("syntax error in pattern");
  });
});
