/** Dockerfiles and contexts made to do harm: each ends in an error that says why, and nothing of it is left. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { testDir, usersToTest } from "../support/users.ts";

const CLASSIC = { env: { DOCKER_BUILDKIT: "0" } };

describe.each(usersToTest())("hostile builds, $name", (user) => {
  describeWith(BUSYBOX, program("docker", "docker.io"))("with docker", () => {
    let engine: Engine;
    let dir: string;
    let count = 0;

    beforeAll(async () => {
      dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-hostile-" });
      Deno.chmodSync(dir, 0o755);
      engine = await startEngine({ user });
      expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
      Deno.removeSync(dir, { recursive: true });
    });
    afterEach(async () => {
      // whatever a build was, the engine answers, and nothing of it is left
      expect((await engine.docker(["ps", "-aq"])).stdout).toBe("");
      expect([...Deno.readDirSync(`${engine.dataRoot}/containers`)]).toEqual([]);
    });

    function context(files: Readonly<Record<string, string>>): string {
      const path = `${dir}/${count++}`;
      Deno.mkdirSync(path);
      for (const [name, content] of Object.entries(files)) Deno.writeTextFileSync(`${path}/${name}`, content);
      return path;
    }

    async function build(files: Readonly<Record<string, string>>, ...args: string[]) {
      const { code, stdout, stderr } = await engine.docker(["build", ...args, context(files)], CLASSIC);
      return { code, stdout, stderr };
    }
    const refusal = async (dockerfile: string, ...args: string[]) => {
      const { code, stderr } = await build({ Dockerfile: dockerfile }, ...args);
      expect(code).not.toBe(0);
      return stderr;
    };

    it.each<[string, string, string]>([
      [
        "variables that double each other",
        `FROM busybox\nARG A0=xxxxxxxxxx\n${
          Array.from({ length: 60 }, (_, i) => `ARG A${i + 1}=$A${i}$A${i}`).join("\n")
        }`,
        "is longer than 1048576 characters",
      ],
      [
        "global arguments that do",
        `ARG A0=xxxxxxxxxx\n${
          Array.from({ length: 60 }, (_, i) => `ARG A${i + 1}=$A${i}$A${i}`).join("\n")
        }\nFROM busybox`,
        "is longer than 1048576 characters",
      ],
      [
        "more variables than a program can start with",
        `FROM busybox\nARG X=${"x".repeat(10_000)}\n${
          Array.from({ length: 2_000 }, (_, i) => `ENV A${i}=$X`).join("\n")
        }`,
        "the stage's variables are larger than 8388608 characters",
      ],
      [
        "substitutions in substitutions",
        `FROM busybox\nENV A=${"${a:-".repeat(10_000)}${"}".repeat(10_000)}`,
        "substitutions are nested too deeply",
      ],
      [
        "patterns made to take long",
        `FROM busybox\nARG X=${"a".repeat(5_000)}\nENV A=\${X//${"*a".repeat(30)}b/}`,
        "takes too long to match",
      ],
      [
        "an argument that names itself",
        "FROM busybox\nARG A=$A$A\nENV B=${A?empty}${C?unset}",
        "C: unset",
      ],
      [
        "a stage that needs itself",
        "FROM busybox AS a\nCOPY --from=a / /x",
        "circular dependency detected on stage: a",
      ],
      [
        "stages that need each other",
        "FROM busybox AS a\nCOPY --from=b / /x\nFROM a AS b\nRUN true",
        "circular dependency detected on stage: b",
      ],
      ["a heredoc without end", "FROM busybox\nRUN <<E\nFROM x", "unterminated heredoc"],
      [
        "10,000 layers",
        `FROM busybox\n${Array.from({ length: 10_000 }, (_, i) => `COPY <<E /${i}\n${i}\nE`).join("\n")}`,
        "max depth exceeded",
      ],
    ])("of %s are refused", async (_, dockerfile, message) => {
      expect(await refusal(dockerfile)).toContain(message);
    });

    it("of 10,000 instructions that change the configuration are built", async () => {
      const lines = Array.from({ length: 10_000 }, (_, i) => `${["ENV", "ARG", "LABEL"][i % 3]} N${i}=v`);
      const { code, stdout, stderr } = await build(
        { Dockerfile: `FROM busybox\n${lines.join("\n")}\n` },
        "-q",
      );
      expect(code, stderr).toBe(0);
      expect(stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    });

    it("do not have another program read the Dockerfile", async () => {
      const { code, stdout } = await build({
        Dockerfile: "# syntax=registry.invalid/evil:latest\nFROM busybox\nRUN echo read by berth",
      });
      expect(code).toBe(0);
      expect(stdout).toContain("read by berth");
    });

    it("do not reach this machine's files by names", async () => {
      for (
        const line of ["COPY ../../../../etc/shadow /x", "COPY /etc/shadow /x", "ADD file:///etc/shadow /x"]
      ) {
        expect(await refusal(`FROM busybox\n${line}`)).toMatch(/not found|no such file/i);
      }
      for (const name of ["../Dockerfile", "/etc/passwd", "../../etc/passwd"]) {
        const { code, stderr } = await build({ Dockerfile: "FROM busybox" }, "-f", name);
        expect([name, code === 0]).toEqual([name, false]);
        expect(stderr).not.toContain("root:");
      }
    });

    it("keep .dockerignore from taking long, and from taking wrong patterns", async () => {
      const deep = `${"a/".repeat(200)}f`;
      const path = context({
        Dockerfile: "FROM busybox\nCOPY . /c",
        ".dockerignore": Array.from({ length: 20 }, () => "**/a**/a**/a**/a**/b").join("\n"),
      });
      Deno.mkdirSync(`${path}/${deep}`, { recursive: true });
      expect((await engine.berth(["build", "-q", path])).code).toBe(0);
      const wrong = await engine.berth([
        "build",
        context({ Dockerfile: "FROM busybox", ".dockerignore": "a[" }),
      ]);
      expect(wrong.code).not.toBe(0);
      expect(wrong.stderr).toContain("syntax error in pattern");
    });
  });
});
