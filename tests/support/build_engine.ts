/** What tests of builds begin with: an engine that has busybox, and directories with Dockerfiles. */
import { afterAll, beforeAll, expect } from "vitest";
import { busyboxArchive } from "./busybox_image.ts";
import { type Engine, startEngine } from "./engine.ts";
import { testDir, type User } from "./users.ts";

export interface BuildEngine {
  /** From the first test on. */
  readonly engine: Engine;
  /** For files of the tests; every user may enter it. */
  readonly dir: string;
  /** A new context with these files, all of one old time. */
  context(files: Readonly<Record<string, string>>): string;
  /** The same, with a Dockerfile of these lines. */
  dockerfile(lines: readonly string[], files?: Readonly<Record<string, string>>): string;
  /** berth's command line. @returns both of its streams. @throws {Error} it fails. */
  berth(args: readonly string[], env?: Record<string, string>): Promise<string>;
  /** docker's, whose `build` is the classic one. @returns its standard output. @throws {Error} it fails. */
  docker(...args: readonly string[]): Promise<string>;
}

/** An ordinary file's time, long ago. */
const OLD = 1_600_000_000;
const CLASSIC = { env: { DOCKER_BUILDKIT: "0" } };

/** To be called in a block of tests: they share what it starts. */
export function buildEngine(user: User, prefix: string): BuildEngine {
  let engine: Engine | undefined;
  let dir = "";
  let contexts = 0;
  const running = (): Engine => {
    if (engine === undefined) throw new TypeError("the engine is there once the first test runs");
    return engine;
  };

  beforeAll(async () => {
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: `${prefix}-` });
    Deno.chmodSync(dir, 0o755);
    engine = await startEngine({ user });
    expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    if (dir !== "") Deno.removeSync(dir, { recursive: true });
  });

  const context: BuildEngine["context"] = (files) => {
    const path = `${dir}/context-${contexts++}`;
    for (const [name, content] of Object.entries(files)) {
      Deno.mkdirSync(`${path}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
      Deno.writeTextFileSync(`${path}/${name}`, content);
      Deno.utimeSync(`${path}/${name}`, OLD, OLD);
    }
    return path;
  };
  return {
    get engine() {
      return running();
    },
    get dir() {
      return dir;
    },
    context,
    dockerfile: (lines, files = {}) => context({ Dockerfile: `${lines.join("\n")}\n`, ...files }),
    async berth(args, env = {}) {
      const { code, stdout, stderr } = await running().berth([...args], { env });
      if (code !== 0) throw new Error(`berth ${args.join(" ")}: ${stderr}\n${stdout}`);
      return `${stdout}${stderr}`;
    },
    async docker(...args) {
      const { code, stdout, stderr } = await running().docker([...args], CLASSIC);
      if (code !== 0) throw new Error(`docker ${args.join(" ")}: ${stderr}\n${stdout}`);
      return stdout.trim();
    },
  };
}
