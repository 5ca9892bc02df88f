import { describe, expect, test } from "vitest";
import { ignoreCheck } from "../../image/build/ignored_sources.ts";
import { Lint } from "../../image/build/lint.ts";
import { frontEnd, type FrontEndOptions } from "../support/build_front_end.ts";

/** "line rule: message" */
const warnings = (text: string, options?: FrontEndOptions) =>
  frontEnd(text, options).warnings.map(({ range, rule, message }) =>
    `${range.startLine} ${rule}: ${message}`
  );

test.each<[string, readonly string[], FrontEndOptions?]>([
  ["FROM a AS Build", ["1 StageNameCasing: Stage name 'Build' should be lowercase"]],
  ["FROM a as b", ["1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match"]],
  ["from a AS b", ["1 FromAsCasing: 'AS' and 'from' keywords' casing do not match"]],
  ["from a as b", []],
  ["FROM a\nRUN b \\\n\n c", ["4 NoEmptyContinuation: Empty continuation line"]],
  ["FROM a\nRUN b\nrun c", [
    "3 ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase)",
  ]],
  ["from a\nrun b\nRun c", [
    "3 ConsistentInstructionCasing: Command 'Run' should match the case of the command majority (lowercase)",
  ]],
  ["FROM a AS b\nFROM a AS b", [
    '2 DuplicateStageName: Duplicate stage name "b", stage names should be unique',
  ]],
  ["FROM a AS scratch", [
    '1 ReservedStageName: Stage name should not use the same name as reserved stage "scratch"',
  ]],
  ["FROM a\nCMD b", [
    "2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
  ]],
  ['FROM a\nSHELL ["b", "-c"]\nENTRYPOINT c', []],
  ["FROM a\nMAINTAINER b", [
    "2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label",
  ]],
  ["FROM a:${TGA:-1}", ["1 UndefinedArgInFrom: FROM argument 'TGA' is not declared"]],
  ["ARG TAG=1\nFROM a:${TGA:-1}", [
    "2 UndefinedArgInFrom: FROM argument 'TGA' is not declared (did you mean TAG?)",
  ]],
  ["FROM a\nWORKDIR b\nWORKDIR c", [
    '2 WorkdirRelativePath: Relative workdir "b" can have unexpected results if the base image changes',
  ]],
  ["FROM a\nWORKDIR /b\nWORKDIR c", []],
  ["FROM a\nARG NAME=1\nENV B=$NAEM", [
    "3 UndefinedVar: Usage of undefined variable '$NAEM' (did you mean $NAME?)",
  ]],
  ["FROM a\nARG B\nENV C=$B", []],
  ["FROM a\nRUN echo $UNSET", []],
  ['FROM a\nCMD ["b"]\nCMD ["c"]', [
    "2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used",
  ]],
  ["FROM a\nENV b c", [
    '2 LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format',
  ]],
  ["FROM --platform=$TARGETPLATFORM a", [
    "1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
  ]],
  ["FROM --platform=$BUILDPLATFORM a", []],
  ["FROM --platform=linux/arm64 a AS b", [
    '1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/arm64"',
  ]],
  ["FROM --platform=linux/arm64 a AS build_arm64", []],
  ["FROM a\nENV API_KEY=1", [
    '2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "API_KEY")',
  ]],
  ["FROM a\nARG GITHUB_TOKEN\nARG PUBLIC_KEY\nARG TOKENIZER\nARG PASSWORD_FILE", [
    '2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "GITHUB_TOKEN")',
  ]],
  ["ARG BASE\nFROM $BASE", [
    "2 InvalidDefaultArgInFrom: Default value for ARG $BASE results in empty or invalid base image name",
  ], { buildArgs: { BASE: "a" } }],
  ["FROM a\nEXPOSE 80/TCP", [
    "2 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
  ]],
  ["FROM a\nEXPOSE 127.0.0.1:80:80", [
    "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
  ]],
  // off unless asked for
  ["# x\nFROM a AS b", []],
  ["# check=experimental=all\n# x\nFROM a AS b", [
    "3 InvalidDefinitionDescription: Comment for FROM should follow the format: `# b <description>`",
  ]],
  ["# check=experimental=InvalidDefinitionDescription\nFROM a\n# A is a\nARG A\n# b\nARG B C", [
    "6 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>`",
  ]],
  // left out on demand
  ["# check=skip=StageNameCasing,FromAsCasing\nFROM a as B\nMAINTAINER x", [
    "3 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label",
  ]],
  ["# check=skip=all\nFROM a as B", []],
])("checks of %j", (text, expected, options) => expect(warnings(text, options)).toEqual(expected));

test("a warning carries Docker's description and address", () => {
  expect(frontEnd("FROM a AS Build").warnings).toEqual([{
    rule: "StageNameCasing",
    description: "Stage names should be lowercase",
    url: "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
    message: "Stage name 'Build' should be lowercase",
    range: { startLine: 1, endLine: 1 },
  }]);
});

describe("CopyIgnoredFile", () => {
  const ignored = (ignore: string, text: string) => {
    const isIgnored = ignoreCheck(ignore);
    return warnings(`FROM a\n${text}`, isIgnored ? { isIgnored } : {});
  };
  const message = (verb: string, path: string) =>
    `2 CopyIgnoredFile: Attempting to ${verb} file "${path}" that is excluded by .dockerignore`;

  test.each<[string, string, readonly string[]]>([
    ["*.md", "COPY README.md x y/", [message("Copy", "README.md")]],
    ["docs", "ADD ./docs/a /", [message("Add", "docs/a")]],
    ["docs", "COPY . .", []],
    ["*", "COPY . .", [message("Copy", ".")]],
    ["*.md\n!README.md", "COPY x.md /", []],
    ["x", "COPY --from=b x /", []],
    ["", "COPY x /", []],
  ])("with %j, %s", (ignore, text, expected) => expect(ignored(ignore, text)).toEqual(expected));
});

describe("options", () => {
  const error = (check: string) => () => new Lint(check, () => {});

  test.each<[string, string]>([
    ["skip", 'failed to parse check options: invalid check option "skip"'],
    ["ignore=a", 'failed to parse check options: invalid check option "ignore"'],
    ["error=maybe", 'failed to parse check options: failed to parse check option "error=maybe"'],
  ])("%s is an error", (check, message) => expect(error(check)).toThrow(message));

  test("error=true fails a build that has warnings", () => {
    expect(() => frontEnd("# check=error=true\nFROM a AS B\nMAINTAINER x"))
      .toThrow("lint violation found for rules: StageNameCasing, MaintainerDeprecated");
    expect(frontEnd("# check=skip=StageNameCasing;error=true\nFROM a AS B").warnings).toEqual([]);
  });

  test("nobody is flooded", () => {
    const text = `FROM a\n${Array.from({ length: 3000 }, (_, i) => `ENV K${i} v`).join("\n")}`;
    expect(warnings(text)).toHaveLength(1000);
  });
});
