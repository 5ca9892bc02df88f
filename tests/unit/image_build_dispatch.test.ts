import { describe, expect, test } from "vitest";
import type { BuildOp, CopyOp, RunOp } from "../../image/build/types.ts";
import { frontEnd, type FrontEndOptions } from "../support/build_front_end.ts";

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Of a stage that begins with an empty image. */
const build = (text: string, options: FrontEndOptions = {}) => frontEnd(`FROM a\n${text}`, options);
const history = (text: string, options?: FrontEndOptions) =>
  build(text, options).ops.map((op) => op.createdBy);
const lastOp = <T extends BuildOp>(text: string, options?: FrontEndOptions) =>
  build(text, options).ops.at(-1) as T;
const run = (text: string, options?: FrontEndOptions) => lastOp<RunOp>(text, options);
const copy = (text: string, options?: FrontEndOptions) => lastOp<CopyOp>(text, options);

describe("history, in BuildKit's words", () => {
  test.each<[string, string]>([
    ["ENV A=1 B='x y'", "ENV A=1 B=x y"],
    ["ENV A 1  2", "ENV A=1  2"],
    ["LABEL a=b \"c d\"='e f'", "LABEL a=b c d=e f"],
    ["ARG A B=2", "ARG A B=2"],
    ["WORKDIR /a/../b/", "WORKDIR /b"],
    ["USER u:g", "USER u:g"],
    ["EXPOSE 80 53/UDP", "EXPOSE map[53/udp:{} 80/tcp:{}]"],
    ["EXPOSE 8000-8002", "EXPOSE map[8000/tcp:{} 8001/tcp:{} 8002/tcp:{}]"],
    ["VOLUME /a /b", "VOLUME [/a /b]"],
    ['VOLUME ["/a b"]', "VOLUME [/a b]"],
    ["STOPSIGNAL SIGQUIT", "STOPSIGNAL SIGQUIT"],
    ['SHELL ["/bin/bash", "-c"]', "SHELL [/bin/bash -c]"],
    ["MAINTAINER Me <me@example.org>", "MAINTAINER Me <me@example.org>"],
    ["CMD a b", 'CMD ["/bin/sh" "-c" "a b"]'],
    ['CMD ["a", "b\\n"]', 'CMD ["a" "b\\n"]'],
    ["CMD []", "CMD []"],
    ['ENTRYPOINT ["a"]', 'ENTRYPOINT ["a"]'],
    [
      "HEALTHCHECK --interval=90s --retries=3 CMD a",
      `HEALTHCHECK &{["CMD-SHELL" "a"] "1m30s" "0s" "0s" "0s" '\\x03'}`,
    ],
    ["HEALTHCHECK NONE", `HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\\x00'}`],
    ["ONBUILD RUN a", ""],
    ["RUN a  b", "RUN /bin/sh -c a  b # buildkit"],
    ['RUN ["a", "b"]', "RUN a b # buildkit"],
    ["COPY a b /c", "COPY a b /c # buildkit"],
    ["COPY --chown=1:2 --chmod=755 --parents a /c", "COPY --parents --chown=1:2 --chmod=755 a /c # buildkit"],
    ["ADD https://example.org/x /c", "ADD https://example.org/x /c # buildkit"],
    ["COPY <<A <<B /c\n1\nA\n2\nB", "COPY <<A <<B /c # buildkit"],
  ])("of %s", (text, createdBy) => expect(history(text)).toEqual([createdBy]));

  test("RUN names the build arguments that are in scope", () => {
    expect(history("ARG A=1\nARG B\nENV A=2\nRUN x", { buildArgs: { C: "3" } }).at(-1))
      .toBe("RUN |2 A=2 B= /bin/sh -c x # buildkit");
  });

  test("a secret's value is nowhere in it", () => {
    const op = run("ARG T=old\nRUN --mount=type=secret,id=t,env=T echo $T", { buildArgs: { T: "arg" } });
    expect(op.title).toBe("RUN --mount=type=secret,id=t,env=T echo ****");
    expect(op.createdBy).not.toContain("****");
  });
});

describe("configuration", () => {
  test.each<[string, Record<string, unknown>]>([
    ["ENV A=1 B=2\nENV A=3", { Env: [PATH, "A=3", "B=2"] }],
    ["ENV A=1\nENV B=$A A=2 C=$A", { Env: [PATH, "A=2", "B=1", "C=1"] }],
    ["ENV PATH=/x:$PATH", { Env: [PATH.replace("PATH=", "PATH=/x:")] }],
    ["LABEL b=1 a=2", { Labels: { a: "2", b: "1" } }],
    ["WORKDIR /a\nWORKDIR b\nWORKDIR ../c", { WorkingDir: "/a/c" }],
    ["USER ${U:-me}", { User: "me" }],
    ["EXPOSE 80/tcp 80 81/sctp", { ExposedPorts: { "80/tcp": {}, "81/sctp": {} } }],
    ['ENV P="1 2"\nEXPOSE $P', { ExposedPorts: { "1/tcp": {}, "2/tcp": {} } }],
    ["VOLUME /a\nVOLUME /b", { Volumes: { "/a": {}, "/b": {} } }],
    ["CMD a", { Cmd: ["/bin/sh", "-c", "a"] }],
    ['SHELL ["bash", "-c"]\nCMD a\nENTRYPOINT b', {
      Shell: ["bash", "-c"],
      Cmd: ["bash", "-c", "a"],
      Entrypoint: ["bash", "-c", "b"],
    }],
    ["ONBUILD COPY . /src\nONBUILD RUN <<E\nmake\nE", { OnBuild: ["COPY . /src", "RUN <<E\nmake\nE"] }],
    ['HEALTHCHECK --timeout=1s --start-period=2s --start-interval=3s CMD ["a"]', {
      Healthcheck: { Test: ["CMD", "a"], Timeout: 1e9, StartPeriod: 2e9, StartInterval: 3e9 },
    }],
    ["STOPSIGNAL 9", { StopSignal: "9" }],
  ])("of %s", (text, config) => expect(build(text).state.config).toMatchObject(config));

  const BASE = {
    Env: ["PATH=/base", "B=1"],
    Cmd: ["base"],
    Labels: { base: "1" },
    WorkingDir: "/w",
    OnBuild: ["ENV T=$B"],
    ExposedPorts: { "1/tcp": {} },
  };
  const images = { a: BASE };

  test("the base's is taken over, its triggers are done and gone", () => {
    const { state, ops } = build("LABEL own=2\nWORKDIR x\nEXPOSE 2", { images });
    expect(ops[0]?.createdBy).toBe("ENV T=1");
    expect(state.config).toMatchObject({
      Env: ["PATH=/base", "B=1", "T=1"],
      Cmd: ["base"],
      Labels: { base: "1", own: "2" },
      WorkingDir: "/w/x",
      ExposedPorts: { "1/tcp": {}, "2/tcp": {} },
    });
    expect(state.config.OnBuild).toBeUndefined();
  });

  test("ENTRYPOINT resets the base's CMD, not the stage's own", () => {
    expect(build('ENTRYPOINT ["e"]', { images }).state.config.Cmd).toBeNull();
    expect(build('CMD ["c"]\nENTRYPOINT ["e"]', { images }).state.config.Cmd).toEqual(["c"]);
  });

  test("a stage made from another one has its arguments, not its triggers", () => {
    const { state, ops } = frontEnd("FROM a AS b\nARG A=1\nENV E=2\nONBUILD ENV T=$A\nFROM b\nENV X=$A$E");
    expect(ops.map((op) => op.createdBy)).toEqual(["ENV T=1", "ENV X=12"]);
    expect(state.config.OnBuild).toBeUndefined();
    expect(state.args).toEqual(new Map([["A", "1"]]));
  });

  test("the author is MAINTAINER's", () => expect(build("MAINTAINER me").state.author).toBe("me"));
});

describe("ARG", () => {
  const env = (text: string, options?: FrontEndOptions) =>
    run(`${text}\nRUN x`, options).env.filter((it) => it !== PATH);

  test.each<[string, string, readonly string[], FrontEndOptions?]>([
    ["a default", "ARG A=1", ["A=1"]],
    ["a value of the build's", "ARG A=1", ["A=2"], { buildArgs: { A: "2" } }],
    ["no value", "ARG A", []],
    ["one that is not declared", "RUN y", [], { buildArgs: { A: "2" } }],
    ["a default of others", "ARG A=1\nARG B=${A}2", ["A=1", "B=12"]],
    ["ENV wins over what was before", "ARG A=1\nENV A=2", ["A=2"], { buildArgs: { A: "3" } }],
    ["several at once", "ARG A=1 B=$A", ["A=1", "B=1"]],
    ["the platform, when asked for", "ARG TARGETARCH\nARG BUILDOS", ["TARGETARCH=arm64", "BUILDOS=linux"], {
      targetPlatform: { os: "linux", architecture: "arm64", variant: "v8" },
    }],
    ["no platform unasked", "", []],
    ["a default that is not needed and wrong", "ARG A=${X?no}", ["A=1"], { buildArgs: { A: "1" } }],
    ["names of objects' own", "ARG constructor\nARG __proto__=1", ["__proto__=1"]],
  ])("%s", (_, text, expected, options) => expect(env(text, options)).toEqual(expected));

  test("a global one counts in FROM, and in a stage that declares it again", () => {
    const text = "ARG TAG=1\nARG NAME=img$TAG\nFROM $NAME:$TAG\nARG NAME\nARG TAG=own\nENV X=$NAME-$TAG";
    const { plan, ops } = frontEnd(text, { buildArgs: { TAG: "9" } });
    expect(plan.stages[0]?.base).toEqual({ kind: "image", reference: "img9:9" });
    expect(ops.at(-1)?.createdBy).toBe("ENV X=img9-9");
    expect(frontEnd("ARG A=1\nFROM a\nENV X=$A").ops[0]?.createdBy).toBe("ENV X=");
  });

  test("proxies are in the environment of RUN without being declared, and in no history", () => {
    const op = run("RUN x", { buildArgs: { http_proxy: "p", NO_PROXY: "n" } });
    expect(op.proxyEnv).toEqual(["HTTP_PROXY=p", "http_proxy=p", "NO_PROXY=n", "no_proxy=n"]);
    expect(op.env).toEqual([PATH]);
    expect(op.createdBy).toBe("RUN /bin/sh -c x # buildkit");
    expect(run("ARG HTTP_PROXY\nRUN x", { buildArgs: { HTTP_PROXY: "p" } }).proxyEnv).toEqual([
      "http_proxy=p",
    ]);
  });
});

describe("RUN", () => {
  test("takes user, directory, environment and shell of its stage", () => {
    expect(
      run('USER u\nWORKDIR /w\nENV A=1\nSHELL ["sh", "-ec"]\nRUN --network=none --security=insecure a $A'),
    )
      .toMatchObject({
        args: ["sh", "-ec", "a $A"],
        env: [PATH, "A=1"],
        user: "u",
        cwd: "/w",
        network: "none",
        security: "insecure",
        mounts: [],
        title: "RUN --network=none --security=insecure a 1",
      });
  });

  test.each<[string, string, Partial<RunOp>]>([
    ["a script", "RUN <<E\na\n b\nE", {
      args: ["/bin/sh", "-c", "a\n b\n"],
      scripts: [],
      title: "RUN <<E (a...)",
    }],
    ["a script with tabs", "RUN <<-E\n\ta\n\tE", { args: ["/bin/sh", "-c", "a\n"] }],
    ["a script for another program", "RUN <<E\n#!/usr/bin/perl\nprint\nE", {
      args: ["/bin/sh", "-c", "/dev/pipes/E"],
      scripts: [{ path: "/dev/pipes/E", content: "#!/usr/bin/perl\nprint\n" }],
    }],
    ["files for a command", "RUN cat <<A <<'B' >x\n1\nA\n$2\nB", {
      args: ["/bin/sh", "-c", "cat <<A <<'B' >x\n1\nA\n$2\nB"],
      scripts: [],
    }],
  ])("with %s", (_, text, expected) => expect(run(text)).toMatchObject(expected));

  test.each<[string, unknown]>([
    ["target=/t", { type: "bind", target: "/t", source: "/", readWrite: false }],
    ["type=bind,from=x,source=a/../b,dst=t,rw", {
      type: "bind",
      from: "x",
      source: "/b",
      target: "/w/t",
      readWrite: true,
    }],
    ["type=cache,target=/root/.npm", {
      type: "cache",
      id: "/root/.npm",
      target: "/root/.npm",
      sharing: "shared",
      mode: 0o755,
      uid: 0,
      gid: 0,
      readOnly: false,
    }],
    ["type=cache,id=$N,target=c,sharing=locked,mode=0700,uid=1,gid=2,ro", {
      type: "cache",
      id: "name",
      target: "/w/c",
      sharing: "locked",
      mode: 0o700,
      uid: 1,
      gid: 2,
      readOnly: true,
    }],
    ["type=tmpfs,target=/t,size=1.5m", { type: "tmpfs", target: "/t", size: 1.5 * 1024 * 1024 }],
    ["type=secret,id=a", { type: "secret", id: "a", target: "/run/secrets/a", env: undefined, mode: 0o400 }],
    ["type=secret,target=/x/y", { type: "secret", id: "y", target: "/x/y", required: false }],
    ["type=secret,id=a,env=A,required", { type: "secret", target: undefined, env: "A", required: true }],
    ["type=ssh", { type: "ssh", id: "default", target: undefined, mode: 0o600, required: false }],
    ['"type=tmpfs","target=/a,b"', { type: "tmpfs", target: "/a,b" }],
  ])("--mount=%s", (mount, expected) => {
    const { mounts } = run(`ENV N=name\nWORKDIR /w\nRUN --mount='${mount}' x`);
    expect(mounts).toMatchObject([expected]);
  });

  test.each<[string, string]>([
    ["type=bidn", 'unsupported mount type "bidn" (did you mean bind?)'],
    ["type=cache,target=/a,sharing=all", 'unsupported sharing value "all"'],
    ["target=/a,sized=1", "unexpected key 'sized' in 'sized=1' (did you mean size?)"],
    ["type=bind,target=/a,size=1", "unexpected key 'size' for mount type 'bind'"],
    ["target=/a,x", "invalid field 'x' must be a key=value pair"],
    ["target=/a,ro=maybe", "invalid value for ro: maybe"],
    ["target=/a,mode=8", "invalid value 8 for mode"],
    ["target=/a,mode=7", 'mode not allowed for "bind" type mounts'],
    ["type=cache,target=/a,uid=-1", "invalid value -1 for uid"],
    ["type=tmpfs,target=/a,size=big", "invalid value for size: big"],
    ["type=tmpfs,target=/a,sharing=shared", "invalid cache sharing set for tmpfs mount"],
    ["type=secret", "invalid secret mount. one of source, target required"],
    ["type=secret,id=a,from=b", "secret mount should not have a from"],
    ["type=secret,id=a,source=b", "both source and id can't be set"],
    ["type=ssh,source=a", "ssh does not support source"],
    ["type=cache,target=/", 'invalid mount target "/"'],
    ["type=cache,target=/a/..", 'invalid mount target "/"'],
  ])("--mount=%s is an error", (mount, message) => {
    expect(() => run(`RUN --mount=${mount} x`)).toThrow(expect.objectContaining({ message }));
  });
});

describe("COPY and ADD", () => {
  const items = (text: string) => copy(text).items;

  test("options, sources and destination", () => {
    expect(
      copy("ENV U=me D=dir\nWORKDIR /w\nCOPY --chown=$U --link --exclude=*.md --exclude=x a* ./b/ /../c $D/"),
    )
      .toMatchObject({
        add: false,
        from: { kind: "context" },
        items: [
          { kind: "path", pattern: "/a*" },
          { kind: "path", pattern: "/b" },
          { kind: "path", pattern: "/c" },
        ],
        dest: "/w/dir/",
        chown: "me",
        chmod: undefined,
        link: true,
        parents: false,
        exclude: ["*.md", "x"],
      });
  });

  test.each<[string, string]>([
    [".", "/w/"],
    ["./", "/w/"],
    ["/", "/"],
    ["..", "/"],
    ["../..", "/"],
    ["x", "/w/x"],
    ["x/", "/w/x/"],
    ["x/.", "/w/x/"],
    ["/a//b", "/a/b"],
    ['""', "/w/"],
  ])("to %s goes to %s", (target, dest) => {
    expect(copy(`WORKDIR /w\nCOPY a ${target}`).dest).toBe(dest);
  });

  test("sources above the context are below it", () => {
    expect(items("COPY ../../etc/passwd ../x /y")).toEqual([
      { kind: "path", pattern: "/etc/passwd" },
      { kind: "path", pattern: "/x" },
    ]);
  });

  test("heredocs are files, with their variables unless the word is quoted", () => {
    expect(items("ENV A=1\nCOPY <<X <<'Y' <<-Z b /d/\n\"$A\" '$A'\nX\n$A\nY\n\tz\nZ")).toEqual([
      { kind: "path", pattern: "/b" },
      { kind: "inline", name: "X", content: "\"1\" '1'\n" },
      { kind: "inline", name: "Y", content: "$A\n" },
      { kind: "inline", name: "Z", content: "z\n" },
    ]);
  });

  test.each<[string, string]>([
    ["https://example.org/a.tar.gz", "url"],
    ["https://example.org/a.git", "git"],
    ["https://example.org/a.git#main:dir", "git"],
    ["git://example.org/a", "git"],
    ["ssh://git@example.org/a", "git"],
    ["git@example.org:a/b.git", "git"],
    ["a.git", "path"],
    ["github.com/a/b", "path"],
  ])("ADD %s is a %s", (source, kind) => expect(items(`ADD ${source} /x`)[0]?.kind).toBe(kind));

  test("ADD's own options", () => {
    const checksum = `sha256:${"0".repeat(64)}`;
    expect(copy(`ADD --unpack --keep-git-dir=true --checksum=${checksum} https://example.org/x /`))
      .toMatchObject({ add: true, unpack: true, keepGitDir: true, checksum });
    expect(copy("ADD x /")).toMatchObject({ unpack: undefined, checksum: undefined, keepGitDir: false });
  });

  test.each<[string, string]>([
    ["COPY https://example.org/a /", "source can't be a URL for COPY"],
    ["COPY git@example.org:a /", "source can't be a git ref for COPY"],
    ["COPY --chmod=9 a /", "invalid chmod parameter: '9'. it should be octal string and between 0 and 07777"],
    [
      "COPY --chmod=17777 a /",
      "invalid chmod parameter: '17777'. it should be octal string and between 0 and 07777",
    ],
    ["ADD --checksum=sha256:0 a /", "checksum requires HTTP(S) or Git sources"],
    ["ADD --checksum=sha256:0 https://a/b https://a/c /", "checksum can't be specified for multiple sources"],
    ["ADD --checksum=sha256:0 https://a/b /", "invalid checksum digest length"],
    ["ADD --checksum=md5:0 https://a/b /", "unsupported digest algorithm"],
    ["ADD --checksum=0 https://a/b /", "invalid checksum digest format"],
    [
      "ARG S=x\nCOPY --from=$S a /",
      "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
    ],
    ["COPY --from=1 a /", "invalid stage index 1"],
  ])(
    "%s is an error",
    (text, message) => expect(() => copy(text)).toThrow(expect.objectContaining({ message })),
  );

  test.each(["755", "0644", "u=rwX,go=rX", "+x", "a-w", "g=u"])("--chmod=%s is one", (mode) => {
    expect(copy(`COPY --chmod=${mode} a /`).chmod).toBe(mode);
  });
});

describe("errors", () => {
  test.each<[string, string, number]>([
    ["\nENV A=${B?none}", 'failed to process "${B?none}": B: none', 3],
    ["EXPOSE 99999", "invalid containerPort: 99999", 2],
    ["EXPOSE 80/icmp", 'invalid port: "80/icmp": invalid proto: icmp', 2],
    ["EXPOSE a.b:80:80", "invalid IP address: a.b", 2],
    ["STOPSIGNAL SIGFOO", "invalid signal: SIGFOO", 2],
    ["ENV V=\nVOLUME $V", "VOLUME specified can not be an empty string", 3],
  ])("of %j name its line", (text, message, line) => {
    try {
      build(text);
    } catch (error) {
      expect(error).toMatchObject({ message, range: { startLine: line } });
      return;
    }
    throw new Error("no error");
  });

  test.each<[string, string]>([
    ["FOO x", "dockerfile parse error on line 1: unknown instruction: FOO"],
    ["RUN a\nRUN b", "onbuild trigger should be a single expression"],
    ["FROM b", "FROM isn't allowed as an ONBUILD trigger"],
    ["COPY --from=none2 a", "COPY requires at least two arguments"],
  ])("of the trigger %j name FROM's", (trigger, message) => {
    try {
      build("", { images: { a: { OnBuild: [trigger] } } });
    } catch (error) {
      expect(error).toMatchObject({ message: expect.stringContaining(message), range: { startLine: 1 } });
      return;
    }
    throw new Error("no error");
  });
});

describe("bombs", () => {
  test("arguments that double each other end in an error", () => {
    const lines = Array.from({ length: 60 }, (_, i) => `ARG A${i + 1}=$A${i}$A${i}`);
    expect(() => build(`ARG A0=xxxxxxxxxx\n${lines.join("\n")}`)).toThrow(
      /is longer than 1048576 characters|are larger/,
    );
  });

  test("so do many large ones", () => {
    const lines = Array.from({ length: 10_000 }, (_, i) => `ENV A${i}=$X`);
    expect(() => build(`ARG X\n${lines.join("\n")}`, { buildArgs: { X: "x".repeat(100_000) } }))
      .toThrow("the stage's variables are larger than 8388608 characters");
  });

  test("and work that comes to nothing", () => {
    const lines = Array.from({ length: 10_000 }, () => "LABEL a=${X//*a*b*c*d/}");
    expect(() => build(`ARG X\n${lines.join("\n")}`, { buildArgs: { X: "abc".repeat(30) } }))
      .toThrow("expanding the Dockerfile's variables makes more than 67108864 characters");
  });

  test("10,000 instructions of all kinds are dispatched", () => {
    const kinds = [
      (i: number) => `ENV A${i}=$A${i - 3}`,
      (i: number) => `ARG B${i}=1`,
      (i: number) => `LABEL c${i}=d`,
    ];
    const lines = Array.from({ length: 10_000 }, (_, i) => kinds[i % 3]?.(i));
    const { state } = build(lines.join("\n"));
    expect(Object.keys(state.config.Labels ?? {})).toHaveLength(3333);
    expect(state.config.Env).toHaveLength(3335);
  });
});
