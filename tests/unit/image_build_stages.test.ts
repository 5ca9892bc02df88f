import { describe, expect, test } from "vitest";
import { StepCounter } from "../../image/build/stages.ts";
import { frontEnd, plan } from "../support/build_front_end.ts";

const needed = (text: string, target?: string, namedContexts: readonly string[] = []) =>
  plan(text, { target, namedContexts }).stages.filter((stage) => stage.needed).map(({ index }) => index);

describe("planBuild() needs", () => {
  const FILE = `
FROM a AS one
FROM a AS Two
COPY --from=one /x /x
FROM one AS three
RUN --mount=from=two,target=/t x
FROM scratch AS four
COPY --from=0 /x /
FROM b
`;
  test.each<[string | undefined, readonly number[]]>([
    [undefined, [4]],
    ["one", [0]],
    ["two", [0, 1]],
    ["TWO", [0, 1]],
    ["three", [0, 1, 2]],
    ["four", [0, 3]],
    ["3", [0, 3]],
  ])("for target %s stages %j", (target, stages) => expect(needed(FILE, target)).toEqual(stages));

  test("no stage whose place a named context takes, and nothing that it needs", () => {
    const { stages } = plan("FROM a AS one\nFROM one AS two\nRUN x\nFROM two", { namedContexts: ["two"] });
    expect(stages.map((stage) => stage.needed)).toEqual([false, true, true]);
    expect(stages[1]).toMatchObject({ base: { kind: "named", name: "two" }, instructions: [] });
  });
});

test("bases are scratch, stages before, named contexts or images", () => {
  const text =
    "ARG V=12\nFROM debian:$V AS x\nFROM scratch\nFROM x\nFROM X\nFROM docker.io/library/alpine:latest\nFROM later\nFROM a AS later";
  expect(plan(text, { namedContexts: ["alpine"] }).stages.map(({ base }) => base)).toEqual([
    { kind: "image", reference: "debian:12" },
    { kind: "scratch" },
    { kind: "stage", index: 0 },
    { kind: "stage", index: 0 },
    { kind: "named", name: "alpine" },
    { kind: "image", reference: "later" },
    { kind: "image", reference: "a" },
  ]);
});

test("of two stages with one name the nearest before is a base, and the last a source", () => {
  const { stages } = plan("FROM a AS x\nFROM x AS x\nFROM x\nCOPY --from=x /a /b");
  expect(stages.map(({ base }) => base.kind === "stage" ? base.index : base.kind)).toEqual(["image", 0, 1]);
  expect(stages[2]?.sources).toEqual([{ kind: "stage", index: 1 }]);
});

test("sources are stages, named contexts and images", () => {
  const text = "FROM a AS x\nFROM b\nCOPY --from=x / /1\nCOPY --from=ctx / /2\nCOPY --from=img:1 / /3\n" +
    "RUN --mount=from=img:2,target=/t --mount=type=cache,target=/c y\nCOPY . .";
  expect(plan(text, { namedContexts: ["ctx"] }).stages[1]?.sources).toEqual([
    { kind: "stage", index: 0 },
    { kind: "named", name: "ctx" },
    { kind: "image", reference: "img:1" },
    { kind: "image", reference: "img:2" },
  ]);
});

describe("errors", () => {
  test.each<[string, string, string | undefined, number | undefined]>([
    ["FROM a AS build", 'target stage "bulid" could not be found (did you mean build?)', "bulid", undefined],
    ["FROM a", 'target stage "x" could not be found', "x", undefined],
    ["FROM a", 'target stage "1" could not be found', "1", undefined],
    ["FROM $A", "base name ($A) should not be blank", undefined, 1],
    [
      "FROM B:c",
      'failed to parse stage name "B:c": invalid reference format: repository name (library/B) must be lowercase',
      undefined,
      1,
    ],
    [
      "FROM --platform=$TRAGETPLATFORM a",
      "empty platform value from expression $TRAGETPLATFORM (did you mean TARGETPLATFORM?)",
      undefined,
      1,
    ],
    ["FROM a AS x\nCOPY --from=x /a /b", "circular dependency detected on stage: x", undefined, 2],
    [
      "FROM a AS x\nCOPY --from=y /a /b\nFROM a AS y\nCOPY --from=x /a /b",
      "circular dependency detected on stage: y",
      undefined,
      4,
    ],
    [
      "FROM a AS x\nCOPY --from=y /a /b\nFROM x AS y",
      "circular dependency detected on stage: y",
      undefined,
      3,
    ],
    [
      "FROM a AS x\nCOPY --from=y /a /b\nFROM a AS y",
      'cannot copy from stage "y", it needs to be defined before current stage "x"',
      "x",
      2,
    ],
    [
      "FROM a\nRUN --mount=from=y,target=/t b\nFROM a AS y",
      'cannot mount from stage "y" to "/t", stage needs to be defined before current command',
      "0",
      2,
    ],
    ["FROM a\nCOPY --from=2 / /\nFROM b", "invalid stage index 2", undefined, 2],
  ])("of %j", (text, message, target, line) => {
    let found: unknown;
    try {
      plan(text, { target });
    } catch (error) {
      found = error;
    }
    expect(found).toMatchObject({ message, range: line === undefined ? undefined : { startLine: line } });
  });

  test("a stage that nobody needs may be in the wrong order", () => {
    expect(needed("FROM a AS x\nCOPY --from=y /a /b\nFROM a AS y")).toEqual([1]);
  });

  test("a trigger's source has to stand before", () => {
    const images = { a: { OnBuild: ["COPY --from=later / /"] } };
    expect(() => frontEnd("FROM a AS x\nFROM b AS later\nFROM x", { images }))
      .toThrow('cannot copy from stage "later", it needs to be defined before current stage "x"');
  });
});

describe("StepCounter", () => {
  const prefixes = (text: string, index: number, triggers = 0) => {
    const stage = plan(text, { target: String(index) }).stages[index];
    if (stage === undefined) throw new Error("no stage");
    const counter = new StepCounter(stage, triggers);
    return Array.from({ length: 3 }, (_, i) => counter.next(i === 1 && triggers > 0));
  };
  test.each<[string, string, number, readonly string[]]>([
    ["one stage has no name", "FROM a AS x\nENV A=1\nRUN b\nWORKDIR /c", 0, ["[1/3] ", "[2/3] ", "[3/3] "]],
    ["names", "FROM a AS build\nRUN b\nFROM c\nCOPY . .\nADD x y", 0, [
      "[build 1/2] ",
      "[build 2/2] ",
      expect.anything(),
    ]],
    ["numbers", "FROM a AS build\nRUN b\nFROM c\nCOPY . .\nADD x y", 1, [
      "[stage-1 1/3] ",
      "[stage-1 2/3] ",
      "[stage-1 3/3] ",
    ]],
    ["scratch and stages are no steps", "FROM a AS b\nFROM b\nRUN c\nRUN d\nRUN e", 1, [
      "[stage-1 1/3] ",
      "[stage-1 2/3] ",
      "[stage-1 3/3] ",
    ]],
    ["nothing to count", "FROM a AS b\nFROM b\nENV A=1", 1, ["", "", ""]],
  ])("%s", (_, text, index, expected) => expect(prefixes(text, index)).toEqual(expected));

  test("widths are one, triggers count", () => {
    expect(prefixes(`FROM a\n${"RUN b\n".repeat(9)}`, 0)[0]).toBe("[ 1/10] ");
    expect(prefixes("FROM a\nRUN b", 0, 1)).toEqual(["[1/3] ", "[2/3] ONBUILD ", "[3/3] "]);
  });
});

test("SOURCE_DATE_EPOCH comes from build arguments or a global ARG", () => {
  expect(plan("FROM a", { buildArgs: { SOURCE_DATE_EPOCH: "5" } }).sourceDateEpoch).toBe(5);
  expect(plan("ARG SOURCE_DATE_EPOCH=6\nFROM a").sourceDateEpoch).toBe(6);
  expect(plan("FROM a").sourceDateEpoch).toBeUndefined();
  expect(() => plan("FROM a", { buildArgs: { SOURCE_DATE_EPOCH: "x" } })).toThrow(
    "invalid SOURCE_DATE_EPOCH: x",
  );
});

test("10,000 stages in a row are planned", () => {
  const lines = Array.from({ length: 10_000 }, (_, i) => `FROM ${i === 0 ? "a" : `s${i - 1}`} AS s${i}`);
  expect(needed(lines.join("\n"))).toHaveLength(10_000);
});
