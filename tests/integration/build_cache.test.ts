/**
 * For each instruction: what makes a step be done again, and what does not. The client is docker's command line with its classic builder, and
 * `berth build` where there are secrets.
 */
import { expect, it } from "vitest";
import { buildEngine } from "../support/build_engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { usersToTest } from "../support/users.ts";

/** A build: its Dockerfile behind `FROM busybox`, its files, options of the command line. */
interface Build {
  readonly lines?: readonly string[];
  /** Content; "-> target" is a symbolic link. */
  readonly files?: Readonly<Record<string, string>>;
  readonly modes?: Readonly<Record<string, number>>;
  readonly args?: readonly string[];
  /** Of all files, in seconds. */
  readonly time?: number;
  /** Value of the secret `s`. */
  readonly secret?: string;
}

interface Row {
  readonly name: string;
  readonly before: Build;
  /** What is different the second time. */
  readonly change: Build;
  /** Lines of another build in the meantime. */
  readonly between?: readonly string[];
  /** Keywords of the steps that are done again. */
  readonly again: readonly string[];
}

const COPY = {
  lines: ["COPY src /src", "RUN cat /src/*"],
  files: { "src/a": "1", "src/b": "2", other: "3" },
};

const ROWS: readonly Row[] = [
  { name: "nothing", before: COPY, change: {}, again: [] },
  // files
  { name: "times of files alone", before: COPY, change: { time: 1_700_000_000 }, again: [] },
  {
    name: "a file that is copied",
    before: COPY,
    change: { files: { ...COPY.files, "src/a": "9" } },
    again: ["COPY", "RUN"],
  },
  { name: "a file that is not", before: COPY, change: { files: { ...COPY.files, other: "9" } }, again: [] },
  { name: "a file's mode", before: COPY, change: { modes: { "src/a": 0o755 } }, again: ["COPY", "RUN"] },
  {
    name: "a file's name",
    before: COPY,
    change: { files: { "src/a": "1", "src/c": "2" } },
    again: ["COPY", "RUN"],
  },
  {
    name: "where a link leads",
    before: { lines: ["COPY src /src"], files: { "src/l": "-> a" } },
    change: { files: { "src/l": "-> b" } },
    again: ["COPY"],
  },
  {
    name: "a file that is ignored",
    before: {
      lines: ["COPY src /src"],
      files: { "src/a": "1", "src/x.log": "1", ".dockerignore": "**/*.log\n" },
    },
    change: { files: { "src/a": "1", "src/x.log": "2", ".dockerignore": "**/*.log\n" } },
    again: [],
  },
  {
    name: "a file's owner in the image",
    before: { lines: ["COPY --chown=1:1 src /src"], files: { "src/a": "1" } },
    change: { lines: ["COPY --chown=2:1 src /src"] },
    again: ["COPY"],
  },
  {
    name: "its mode there",
    before: { lines: ["COPY --chmod=644 src /src"], files: { "src/a": "1" } },
    change: { lines: ["COPY --chmod=600 src /src"] },
    again: ["COPY"],
  },
  {
    name: "where it is copied to",
    before: { lines: ["COPY src /src"], files: { "src/a": "1" } },
    change: { lines: ["COPY src /dst"] },
    again: ["COPY"],
  },
  {
    name: "a heredoc",
    before: { lines: ["COPY <<E /e", "one", "E"] },
    change: { lines: ["COPY <<E /e", "two", "E"] },
    again: ["COPY"],
  },
  // the Dockerfile's text
  {
    name: "comments, empty lines and case",
    before: { lines: ["RUN echo a"] },
    change: { lines: ["# why", "", "run echo a"] },
    again: [],
  },
  { name: "a command", before: { lines: ["RUN echo a"] }, change: { lines: ["RUN echo b"] }, again: ["RUN"] },
  {
    name: "a command's form",
    before: { lines: ["RUN echo a"] },
    change: { lines: ['RUN ["echo", "a"]'] },
    again: ["RUN"],
  },
  {
    name: "a command's network",
    before: { lines: ["RUN echo a"] },
    change: { lines: ["RUN --network=none echo a"] },
    again: ["RUN"],
  },
  {
    name: "a command's mounts",
    before: { lines: ["RUN echo a"] },
    change: { lines: ["RUN --mount=type=tmpfs,target=/t echo a"] },
    again: ["RUN"],
  },
  {
    name: "what a command sees of the context",
    before: { lines: ["RUN --mount=target=/c,source=src cat /c/a"], files: { "src/a": "1", other: "1" } },
    change: { files: { "src/a": "2", other: "1" } },
    again: ["RUN"],
  },
  {
    name: "what it does not see of it",
    before: { lines: ["RUN --mount=target=/c,source=src cat /c/a"], files: { "src/a": "1", other: "1" } },
    change: { files: { "src/a": "1", other: "2" } },
    again: [],
  },
  // configuration
  {
    name: "a variable that commands see",
    before: { lines: ["ENV A=1", "COPY src /src", "RUN echo a"], files: { "src/a": "1" } },
    change: { lines: ["ENV A=2", "COPY src /src", "RUN echo a"] },
    again: ["RUN"],
  },
  {
    name: "a variable, behind them",
    before: { lines: ["RUN echo a", "ENV A=1"] },
    change: { lines: ["RUN echo a", "ENV A=2"] },
    again: [],
  },
  {
    name: "how a variable's value is written",
    before: { lines: ["ENV A='1'", "RUN echo a"] },
    change: { lines: ['ENV A="1"', "RUN echo a"] },
    again: [],
  },
  {
    name: "what is for the image only",
    before: { lines: ["LABEL a=1", "EXPOSE 80", "VOLUME /v", "STOPSIGNAL 9", 'CMD ["a"]', "RUN echo a"] },
    change: { lines: ["LABEL a=2", "EXPOSE 81", "VOLUME /w", "STOPSIGNAL 2", 'CMD ["b"]', "RUN echo a"] },
    again: [],
  },
  {
    name: "the user",
    before: { lines: ["USER 1", "RUN echo a"] },
    change: { lines: ["USER 2", "RUN echo a"] },
    again: ["RUN"],
  },
  {
    name: "the directory",
    before: { lines: ["WORKDIR /a", "RUN echo a"] },
    change: { lines: ["WORKDIR /b", "RUN echo a"] },
    again: ["WORKDIR", "RUN"],
  },
  {
    name: "the shell",
    before: { lines: ['SHELL ["sh", "-c"]', "RUN echo a"] },
    change: { lines: ['SHELL ["sh", "-ec"]', "RUN echo a"] },
    again: ["RUN"],
  },
  // arguments
  {
    name: "an argument",
    before: { lines: ["ARG A", "RUN echo a"], args: ["--build-arg", "A=1"] },
    change: { args: ["--build-arg", "A=2"] },
    again: ["RUN"],
  },
  {
    name: "an argument, before it is declared",
    before: { lines: ["RUN echo a", "ARG A"], args: ["--build-arg", "A=1"] },
    change: { args: ["--build-arg", "A=2"] },
    again: [],
  },
  {
    name: "a proxy",
    before: { lines: ["RUN echo a"], args: ["--build-arg", "HTTP_PROXY=http://a"] },
    change: { args: ["--build-arg", "HTTP_PROXY=http://b"] },
    again: [],
  },
  {
    name: "labels of the command line",
    before: { lines: ["RUN echo a"], args: ["--label", "a=1"] },
    change: { args: ["--label", "a=2"] },
    again: [],
  },
  // mounts whose content is no part of the key
  {
    name: "the value of a secret",
    before: { lines: ["RUN --mount=type=secret,id=s cat /run/secrets/s"], secret: "one" },
    change: { secret: "two" },
    again: [],
  },
  {
    name: "where a secret is",
    before: { lines: ["RUN --mount=type=secret,id=s cat /run/secrets/s || cat /s"], secret: "one" },
    change: { lines: ["RUN --mount=type=secret,id=s,target=/s cat /run/secrets/s || cat /s"] },
    again: ["RUN"],
  },
  {
    name: "what is in a cache mount",
    before: { lines: ["RUN --mount=type=cache,id=table,target=/c echo a >> /c/log"] },
    between: ["RUN --mount=type=cache,id=table,target=/c echo b >> /c/log"],
    change: {},
    again: [],
  },
  {
    name: "which cache mount it is",
    before: { lines: ["RUN --mount=type=cache,id=table,target=/c echo a >> /c/log"] },
    change: { lines: ["RUN --mount=type=cache,id=other,target=/c echo a >> /c/log"] },
    again: ["RUN"],
  },
  // layers on their own
  {
    name: "what is below a linked copy",
    before: { lines: ["RUN echo 1 > /below", "COPY --link src /src"], files: { "src/a": "1" } },
    change: { lines: ["RUN echo 2 > /below", "COPY --link src /src"] },
    again: ["RUN"],
  },
  {
    name: "a file of a linked copy",
    before: { lines: ["COPY --link src /src", "RUN cat /src/a"], files: { "src/a": "1" } },
    change: { files: { "src/a": "2" } },
    again: ["COPY", "RUN"],
  },
  // other stages
  {
    name: "how a stage makes the same files",
    before: {
      lines: ["RUN echo same > /f", "FROM busybox", "COPY --from=0 /f /f", "RUN cat /f"],
    },
    change: { lines: ["RUN printf 'same\\n' > /f", "FROM busybox", "COPY --from=0 /f /f", "RUN cat /f"] },
    again: ["RUN"],
  },
  {
    name: "files of a stage",
    before: { lines: ["RUN echo 1 > /f", "FROM busybox", "COPY --from=0 /f /f"] },
    change: { lines: ["RUN echo 2 > /f", "FROM busybox", "COPY --from=0 /f /f"] },
    again: ["RUN", "COPY"],
  },
  { name: "the wish for no cache", before: COPY, change: { args: ["--no-cache"] }, again: ["COPY", "RUN"] },
];

const NEEDS = [BUSYBOX, program("docker", "docker.io")];

describeWith(...NEEDS).each(usersToTest())("a second build, of $name's, does again", (user) => {
  const fixture = buildEngine(user, "build-cache");
  let count = 0;

  /** Keywords of the steps that were not found in the cache. `mark` tells the rows' caches apart. */
  async function build(
    { lines = [], files = {}, modes = {}, args = [], time = 1_600_000_000, secret }: Build,
    mark: string,
  ) {
    const path = `${fixture.dir}/${count++}`;
    const all = { ...files, mark, Dockerfile: ["FROM busybox", "COPY mark /", ...lines].join("\n") };
    for (const [name, content] of Object.entries(all)) {
      Deno.mkdirSync(`${path}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
      if (content.startsWith("-> ")) Deno.symlinkSync(content.slice(3), `${path}/${name}`);
      else {
        Deno.writeTextFileSync(`${path}/${name}`, content);
        Deno.chmodSync(`${path}/${name}`, modes[name] ?? 0o644);
        Deno.utimeSync(`${path}/${name}`, time, time);
      }
    }
    const found = secret === undefined
      ? (await fixture.docker("build", ...args, path)).matchAll(
        /^Step \d+\/\d+ : (\S+).*\n(?! ---> Using cache)/gm,
      )
      : (await fixture.berth(
        ["build", "--progress=plain", "--secret", "id=s,env=SECRET", ...args, path],
        { SECRET: secret },
      )).matchAll(/^#\d+ \[\d+\/\d+\] (\S+).*\n(?!#\d+ CACHED)/gm);
    return [...found].map(([, keyword = ""]) => keyword).filter((keyword) => keyword !== "FROM");
  }

  it.each(ROWS)("for $name: $again", async ({ name, before, between, change, again }) => {
    await build(before, name);
    if (between !== undefined) await build({ ...before, lines: between }, name);
    const made = await build({ ...before, ...change }, name);
    const makesFiles = (keyword: string) => ["COPY", "RUN", "WORKDIR"].includes(keyword);
    expect(made.filter(makesFiles)).toEqual(name === "the wish for no cache" ? ["COPY", ...again] : again);
  });
});
