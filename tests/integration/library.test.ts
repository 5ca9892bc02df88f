/** berth as a library: engines of a test's own, in Node and in Deno, that leave nothing. */
import { expect, it } from "vitest";
import { berthExecutable } from "../support/engine.ts";
import { describeWith, program } from "../support/needs.ts";
import { leftovers, waitFor } from "../support/processes.ts";
import { environmentOf, runAs, spawnAs, testDir, usersToTest } from "../support/users.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

/** Programs that run a script which uses the library: Node loads what was built, Deno the source. */
const RUNTIMES: Readonly<Record<string, (script: string) => string[]>> = {
  node: (
    script,
  ) => ["node", "--input-type=module", "-e", script.replace("LIBRARY", `${ROOT}dist/lib/engine.js`)],
  deno: (
    script,
  ) => [Deno.execPath(), "eval", "--no-config", script.replace("LIBRARY", `${ROOT}lib/engine.ts`)],
};

const TWO = `
  import { Engine } from "LIBRARY";
  import { execFileSync } from "node:child_process";
  import process from "node:process";
  const docker = (engine, ...args) =>
    execFileSync("docker", args, { env: { ...process.env, ...engine.env }, encoding: "utf8" }).trim();
  const engines = await Promise.all([Engine.start(), Engine.start()]);
  const [a, b] = engines;
  console.log("directories " + a.directory + " " + b.directory);
  docker(a, "run", "-d", "--name", "here", "-v", "data:/data", "berth/host", "sleep", "1000");
  docker(b, "run", "-d", "--network", "bridge", "berth/host", "sleep", "1000");
  docker(b, "run", "--name", "there", "berth/host", "sh", "-c", "touch /x; chown 5:5 /x || true");
  console.log("names " + docker(a, "ps", "-a", "--format", "{{.Names}}"));
`;

const directoriesOf = (stdout: string): string[] => /^directories (.*)$/m.exec(stdout)?.[1]?.split(" ") ?? [];
const gone = (directory: string): boolean => {
  try {
    Deno.lstatSync(directory);
    return false;
  } catch {
    return leftovers(directory).length === 0;
  }
};

describeWith(program("node", "nodejs")).each(usersToTest())("Engine.start() of $name", (user) => {
  const env = { BERTH_EXECUTABLE: berthExecutable(), DENO_DIR: `${testDir()}/deno-${user.uid}` };

  it.each(Object.keys(RUNTIMES))(
    "gives %s engines of its own, and disposal leaves nothing",
    async (runtime) => {
      const script = `${TWO}\nawait Promise.all(engines.map((engine) => engine[Symbol.asyncDispose]()));`;
      const { code, stdout, stderr } = await runAs(user, RUNTIMES[runtime]?.(script) ?? [], { env });
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toContain("names here\n");
      const directories = directoriesOf(stdout);
      expect(directories.length).toBe(2);
      // Warm shims end by themselves.
      for (const directory of directories) await waitFor(() => gone(directory), 10_000, () => directory);
    },
  );

  it.each(["exit", "SIGKILL"])("leaves nothing when the program ends by %s without disposal", async (end) => {
    const last = end === "exit" ? "" : "\nprocess.kill(process.pid, 'SIGKILL');";
    const child = spawnAs(user, RUNTIMES["node"]?.(`${TWO}${last}`) ?? [], { env });
    const { stdout, stderr } = await child.output();
    const directories = directoriesOf(new TextDecoder().decode(stdout));
    expect([directories.length, new TextDecoder().decode(stderr)]).toEqual([2, ""]);
    for (const directory of directories) {
      await waitFor(() => gone(directory), 20_000, () => `${directory} is still there`);
    }
  });

  it("an engine whose program has ended before it listens leaves nothing either", async () => {
    const directory = `${environmentOf(user)["XDG_RUNTIME_DIR"]}/e`;
    for (let i = 0; i < 2; i++) {
      expect((await runAs(user, ["mkdir", "-m", "700", directory])).code).toBe(0);
      // Its input has ended from the start.
      const { code, stderr } = await runAs(user, [berthExecutable(), "serve", "--ephemeral", directory], {
        env,
      });
      expect([code, stderr]).toEqual([0, expect.not.stringContaining("unable to remove")]);
      await waitFor(() => gone(directory), 10_000, () => `${directory} is still there`);
    }
  });

  it("tells why an engine does not start, and leaves nothing", async () => {
    const script = `import { Engine } from "LIBRARY";
      await Engine.start({ args: ["--nosuch"] }).catch((error) => console.log(error.message));`;
    const { stdout } = await runAs(user, RUNTIMES["node"]?.(script) ?? [], { env });
    expect(stdout).toMatch(/^the engine does not start: it ended \(125\)\nunknown flag: --nosuch/);
  });
});
