import { describe, expect, test } from "vitest";
import { DockerfileError } from "../../image/build/errors.ts";
import { parseDockerfile } from "../../image/build/parse.ts";
import type { Instruction } from "../../image/build/types.ts";

/** Instructions of the last stage, without FROM. */
const stage = (text: string): readonly Instruction[] =>
  parseDockerfile(`FROM a\n${text}`).stages.at(-1)?.instructions ?? [];

const one = (text: string): Instruction => {
  const found = stage(text);
  expect(found).toHaveLength(1);
  return found[0] as Instruction;
};

function failure(text: string): { message: string; line: number | undefined } {
  try {
    parseDockerfile(text);
  } catch (error) {
    expect(error).toBeInstanceOf(DockerfileError);
    const { message, range } = error as DockerfileError;
    return { message, line: range?.startLine };
  }
  throw new Error(`no error: ${JSON.stringify(text)}`);
}

describe("lines", () => {
  test.each<[string, string, string]>([
    ["one line", "RUN a b", "a b"],
    ["a continued line", "RUN a \\\n  b", "a   b"],
    ["blanks behind the escape character", "RUN a \\ \t\n  b", "a   b"],
    ["CRLF", "RUN a \\\r\n  b\r\n", "a   b"],
    ["a comment inside", "RUN a \\\n # c \\\n  b", "a   b"],
    ["an empty line inside", "RUN a \\\n\n  \n  b", "a   b"],
    ["a line of the escape character alone", "\\\nRUN a \\\n\\\nb", "a b"],
    ["an escaped escape character, which continues nothing", "RUN a\\\\\nCMD b", "a\\\\"],
    ["an escape character at the very end", "RUN a \\", "a"],
    ["a comment that is none", "RUN a # b", "a # b"],
    ["blanks before the keyword", "\t RUN\ta", "a"],
  ])("parseDockerfile() reads %s", (_, text, rest) => {
    expect(stage(text)[0]).toMatchObject({ keyword: "RUN", rest });
  });

  test("ranges count from 1, and cover continued lines and heredocs", () => {
    const [run, copy, cmd] = stage("# c\nRUN a \\\n  b\nCOPY <<X <<Y /\n1\nX\n2\nY\n\nCMD c");
    expect([run, copy, cmd].map((it) => it?.range)).toEqual([
      { startLine: 3, endLine: 4 },
      { startLine: 5, endLine: 9 },
      { startLine: 11, endLine: 11 },
    ]);
  });

  test("a byte order mark is no part of the first line", () => {
    expect(parseDockerfile("\uFEFF# escape=`\nFROM a\nRUN b `\n c").stages[0]?.instructions[0]?.rest).toBe(
      "b  c",
    );
  });

  test("comments right above belong to the instruction", () => {
    expect(one("# check=skip=all\n# x\nRUN a").comments).toEqual(["check=skip=all", "x"]);
    expect(one("# x\n#\n# y\nRUN a").comments).toEqual(["y"]);
  });

  test("empty continuation lines are told", () => {
    expect(parseDockerfile("FROM a\nRUN b \\\n\n c\nRUN d").emptyContinuations).toEqual([
      { startLine: 4, endLine: 4 },
    ]);
  });
});

describe("directives", () => {
  test.each<[string, string, Record<string, string>]>([
    ["all three", "# syntax=docker/dockerfile:1\n#check = skip=A\n# escape=`\n", {
      syntax: "docker/dockerfile:1",
      check: "skip=A",
      escape: "`",
    }],
    ["names in capitals", "# ESCAPE=\\\n", { escape: "\\" }],
    ["none behind an empty line", "\n# escape=`\n", {}],
    ["none behind a comment", "# hello\n# escape=`\n", {}],
    ["none behind one that is unknown", "# foo=bar\n# escape=`\n", {}],
    ["some behind a line for the system", "#!/usr/bin/docker\n# check=error=true\n", { check: "error=true" }],
  ])("parseDockerfile() takes %s", (_, head, directives) => {
    expect(parseDockerfile(`${head}FROM a\n`).directives).toEqual(directives);
  });

  test("a directive given twice is an error, and one with a wrong value", () => {
    expect(failure("# escape=`\n# escape=`\nFROM a").message).toBe(
      "only one escape parser directive can be used",
    );
    expect(failure("# escape=x\nFROM a")).toEqual({
      message: "invalid escape token 'x' does not match ` or \\",
      line: 1,
    });
  });
});

describe("words", () => {
  test.each<[string, readonly string[], boolean]>([
    ['CMD ["a", "b c"]', ["a", "b c"], true],
    ["CMD a b", ["a b"], false],
    ["CMD ['a']", ["['a']"], false],
    ["CMD []", [], true],
    ["CMD", [], false],
    ['COPY ["a b", "c"]', ["a b", "c"], true],
    ['COPY "a b" c', ['"a', 'b"', "c"], false],
    ['ENV a="b c" d=\\ e f=\'"\'', ['a="b c"', "d=\\ e", "f='\"'"], false],
    ["ENV a b  c", ["a", "b  c"], false],
    ["LABEL a=b \\\n c=d", ["a=b", "c=d"], false],
    ["ARG a b=c", ["a", "b=c"], false],
    ["EXPOSE 80 81/udp", ["80", "81/udp"], false],
    ["VOLUME /a /b", ["/a", "/b"], false],
    ["WORKDIR /a b", ["/a b"], false],
    ["USER a b", ["a b"], false],
    ['HEALTHCHECK --retries=2 CMD ["a", "b"]', ["CMD", "a", "b"], true],
    ["HEALTHCHECK CMD a b", ["CMD", "a b"], false],
    ["ONBUILD RUN a", ["RUN a"], false],
  ])("of %s", (text, words, json) => {
    expect(one(text)).toMatchObject({ words, json });
  });

  test("flags are taken apart, their quotes removed, up to the first word that is none", () => {
    expect(one("COPY --from=a --link --exclude=*.md --exclude='b c' --chown=$U:g x --y z")).toMatchObject({
      flags: [
        { name: "from", value: "a" },
        { name: "link", value: undefined },
        { name: "exclude", value: "*.md" },
        { name: "exclude", value: "b c" },
        { name: "chown", value: "$U:g" },
      ],
      words: ["x", "--y", "z"],
    });
    expect(one("COPY --link -- --odd /").words).toEqual(["--odd", "/"]);
  });
});

describe("heredocs", () => {
  test.each<[string, string, readonly unknown[]]>([
    ["one", "RUN <<EOF\na\n b\nEOF\n", [{ name: "EOF", content: "a\n b\n", expand: true, stripTabs: false }]],
    ["an empty one", "RUN <<EOF\nEOF\n", [{ content: "" }]],
    ["tabs before the end", "RUN <<-EOF\n\ta\n\t\tEOF\n", [{ content: "\ta\n", stripTabs: true }]],
    ["tabs that matter", "RUN <<EOF\n\tEOF\nEOF\n", [{ content: "\tEOF\n" }]],
    ["a quoted word", "COPY <<'EOF' /a\n$x\nEOF\n", [{ name: "EOF", content: "$x\n", expand: false }]],
    ["a word in double quotes", 'COPY <<"E F" /a\n$x\nE F\n', [{ name: "E F", expand: false }]],
    ["blanks before the word", "RUN << EOF\na\nEOF\n", [{ name: "EOF", content: "a\n" }]],
    ["a descriptor", "RUN 3<<X cat <&3\na\nX\n", [{ name: "X", fileDescriptor: 3, content: "a\n" }]],
    ["several in one line", "RUN cat <<A <<-B\na\nA\n\tb\n\tB\n", [
      { name: "A", content: "a\n", stripTabs: false },
      { name: "B", content: "\tb\n", stripTabs: true },
    ]],
    ["what looks like instructions inside", "RUN <<EOF\nFROM b\nCMD x \\\nEOF\n", [
      { content: "FROM b\nCMD x \\\n" },
    ]],
    ["CRLF", "RUN <<EOF\r\na\r\nEOF\r\n", [{ content: "a\r\n" }]],
    ["one in ONBUILD", "ONBUILD RUN <<EOF\na\nEOF\n", [{ name: "EOF", content: "a\n" }]],
  ])("parseDockerfile() reads %s", (_, text, heredocs) => {
    expect(one(text).heredocs).toMatchObject(heredocs);
  });

  test.each([
    ["quotes around it", 'RUN echo "a <<EOF"'],
    ["a list", 'RUN ["cat", "<<EOF"]'],
    ["another instruction", "ENV A=<<EOF"],
    ["nothing behind it", "RUN cat <<"],
    ["three marks", "RUN cat <<<EOF"],
    ["letters before it", "RUN cat<<EOF"],
  ])("parseDockerfile() sees none with %s", (_, text) => {
    expect(stage(`${text}\nCMD x`).map((it) => it.keyword)).toHaveLength(2);
  });
});

test("stages have names in lower case, platforms, and their own instructions", () => {
  const file = parseDockerfile("ARG A=1\nARG B\nFROM a AS Build\nRUN x\nfrom --platform=$P Build\nRUN y");
  expect(file.globalArgs.map((it) => it.rest)).toEqual(["A=1", "B"]);
  expect(
    file.stages.map(({ name, base, platform, instructions }) => [name, base, platform, instructions.length]),
  )
    .toEqual([["build", "a", undefined, 1], [undefined, "Build", "$P", 1]]);
});

describe("errors", () => {
  test.each<[string, string, number | undefined]>([
    ["", "file with no instructions", 0],
    ["# only a comment\n", "file with no instructions", 1],
    ["RUN a", "no build stage in current context", 1],
    ["ARG a\n", "dockerfile contains no stages to build", undefined],
    ["FROM a\n\nRUM x", "dockerfile parse error on line 3: unknown instruction: RUM (did you mean RUN?)", 3],
    [
      "FROM a\ncpoy a b",
      "dockerfile parse error on line 2: unknown instruction: cpoy (did you mean copy?)",
      2,
    ],
    ["FROM a\nINCLUDE+ x", "dockerfile parse error on line 2: unknown instruction: INCLUDE+", 2],
    ["FROM", "dockerfile parse error on line 1: FROM requires either one or three arguments", 1],
    ["FROM a b", "dockerfile parse error on line 1: FROM requires either one or three arguments", 1],
    ["FROM a is b", "dockerfile parse error on line 1: FROM requires either one or three arguments", 1],
    [
      "FROM a AS 1b",
      'dockerfile parse error on line 1: invalid name for build stage: "1b", name can\'t start with a number or contain symbols',
      1,
    ],
  ])("of %j", (text, message, line) => {
    expect(failure(text)).toEqual({ message, line });
  });

  test.each<[string, string]>([
    ["ENV a", "ENV must have two arguments"],
    ["ENV", "ENV requires at least one argument"],
    ["ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'],
    ["ENV =b", "ENV names can not be blank"],
    ["LABEL a=b =c", "LABEL names can not be blank"],
    ["ARG", "ARG requires at least one argument"],
    ["ARG =b", "ARG names can not be blank"],
    [
      "COPY a",
      "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
    ],
    ["COPY a <<EOF\nEOF", "COPY cannot accept a heredoc as a destination"],
    ["COPY --form=a b c", "unknown flag: --form (did you mean from?)"],
    ["COPY --from b c", "missing a value on flag: --from"],
    ["COPY --link=maybe b c", "expecting boolean value for flag --link, not: maybe"],
    ["COPY --link= b c", "missing a value on flag: --link"],
    ["COPY --from=a --from=b c d", "duplicate flag specified: --from"],
    ["COPY --checksum=x a b", "unknown flag: --checksum"],
    ["WORKDIR", "WORKDIR requires exactly one argument"],
    ["USER", "USER requires exactly one argument"],
    ["USER --x a", "unknown flag: --x"],
    ["STOPSIGNAL", "STOPSIGNAL requires exactly one argument"],
    ["MAINTAINER", "MAINTAINER requires exactly one argument"],
    ["EXPOSE", "EXPOSE requires at least one argument"],
    ["VOLUME", "VOLUME requires at least one argument"],
    ['VOLUME [""]', "VOLUME specified can not be an empty string"],
    ["SHELL", "SHELL requires at least one argument"],
    ["SHELL []", "SHELL requires at least one argument"],
    ["SHELL sh -c", "SHELL requires the arguments to be in JSON form"],
    ["CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"],
    ['CMD ["a", ["b"]]', "when using JSON array syntax, arrays must be comprised of strings only"],
    ["HEALTHCHECK", "HEALTHCHECK requires at least one argument"],
    ["HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"],
    ["HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"],
    ["HEALTHCHECK EXEC a", 'Unknown type "EXEC" in HEALTHCHECK (try CMD)'],
    ["HEALTHCHECK --interval=5 CMD a", 'time: missing unit in duration "5"'],
    ["HEALTHCHECK --interval=5us CMD a", 'Interval "interval" cannot be less than 1ms'],
    ["HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)"],
    ["HEALTHCHECK --retries=x CMD a", 'strconv.ParseInt: parsing "x": invalid syntax'],
    ["ONBUILD", "ONBUILD requires at least one argument"],
    ["ONBUILD ONBUILD RUN a", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    ["ONBUILD from a", "FROM isn't allowed as an ONBUILD trigger"],
    ["RUN --network=bridge a", 'invalid network mode "bridge"'],
    ["RUN --security=none a", 'security "none" is not valid'],
    [
      "RUN --mount=from=$x a",
      "'from' doesn't support variable expansion, define alias stage instead",
    ],
    ["RUN --mount='\"a' a", 'failed to parse csv mounts: extraneous or missing " in quoted-field'],
    ["RUN --moutn=x a", "unknown flag: --moutn (did you mean mount?)"],
  ])("of %j name line and instruction", (text, reason) => {
    expect(failure(`FROM a\n${text}`)).toEqual({
      message: `dockerfile parse error on line 2: ${reason}`,
      line: 2,
    });
  });

  test("a heredoc without end is named with the line where it begins", () => {
    expect(failure("FROM a\nRUN <<EOF\na\nEOF2\n")).toEqual({ message: "unterminated heredoc", line: 2 });
  });
});

test("10,000 instructions are read, with what they expand", () => {
  const text = `FROM a\n${"RUN echo hello && \\\n  # comment\n  echo $X\n".repeat(10_000)}`;
  expect(parseDockerfile(text).stages[0]?.instructions).toHaveLength(10_000);
});
