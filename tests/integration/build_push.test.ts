/** `berth build` from git repositories, over git's own protocol and the web, to a registry. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildEngine } from "../support/build_engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { REGISTRY, Registry } from "../support/registry.ts";
import { testDir, usersToTest } from "../support/users.ts";

const GIT = program("git", "git");

describe.each(usersToTest())("berth build, $name", (user) => {
  describeWith(BUSYBOX, GIT, REGISTRY)("from a repository to a registry", () => {
    const fixture = buildEngine(user, "build-push");
    const { berth } = fixture;
    const base = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-push-" });
    let daemon: Deno.ChildProcess | undefined;
    let web: Deno.HttpServer<Deno.NetAddr> | undefined;
    let registry: Registry | undefined;
    let address = "";

    const git = (cwd: string, ...args: string[]) => {
      const { success, stderr } = new Deno.Command("git", {
        args: ["-c", "user.name=t", "-c", "user.email=t@t", ...args],
        cwd,
        env: { GIT_CONFIG_GLOBAL: "/dev/null" },
        stderr: "piped",
      }).outputSync();
      if (!success) throw new Error(new TextDecoder().decode(stderr));
    };

    beforeAll(async () => {
      const repo = `${base}/repo`;
      Deno.mkdirSync(`${repo}/deploy`, { recursive: true });
      git(repo, "init", "-q", "-b", "main");
      const commit = (word: string) => {
        const dockerfile = "FROM busybox\nCOPY word /\nRUN cat /word > /seen\n";
        Deno.writeTextFileSync(`${repo}/deploy/Dockerfile`, dockerfile);
        Deno.writeTextFileSync(`${repo}/deploy/word`, `${word}\n`);
        git(repo, "add", "-A");
        git(repo, "commit", "-q", "-m", word);
      };
      commit("first");
      git(repo, "tag", "v1");
      commit("second");
      // what a web server without any program of git's needs
      git(repo, "update-server-info");
      {
        using probe = Deno.listen({ hostname: "127.0.0.1", port: 0 });
        address = `127.0.0.1:${probe.addr.port}`;
      }
      const [hostname = "", port = ""] = address.split(":");
      daemon = new Deno.Command("git", {
        args: ["daemon", "--reuseaddr", `--listen=${hostname}`, `--port=${port}`, `--base-path=${base}`]
          .concat("--export-all", base),
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      await waitFor(async () => {
        try {
          (await Deno.connect({ hostname, port: Number(port) })).close();
          return true;
        } catch {
          return false;
        }
      }, 20_000);
      web = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
        try {
          return new Response((await Deno.open(`${base}${new URL(request.url).pathname}`)).readable);
        } catch {
          return new Response("no", { status: 404 });
        }
      });
      registry = await Registry.start({ dir: base });
    });
    afterAll(async () => {
      await registry?.[Symbol.asyncDispose]();
      await web?.shutdown();
      daemon?.kill("SIGTERM");
      await daemon?.status;
      Deno.removeSync(base, { recursive: true });
    });

    it("builds a reference's directory and pushes under every name", async () => {
      const names = [`${registry?.host}/app:1`, `${registry?.host}/other`];
      const tags = names.flatMap((name) => ["-t", name]);
      const output = await berth(["build", "--push", ...tags, `git://${address}/repo#v1:deploy`]);
      expect(output).toMatch(/1: digest: sha256:[0-9a-f]{64}/);
      await berth(["rmi", ...names]);
      for (const name of [`${names[0]}`, `${names[1]}:latest`]) {
        await berth(["pull", "-q", name]);
        expect(await berth(["run", "--rm", name, "cat", "/seen"])).toBe("first\n");
      }
    });

    it("finds the steps of a commit that it has built, and notices another", async () => {
      const build = (ref: string) =>
        berth(["build", "--progress=plain", "-t", "again", `git://${address}/repo#${ref}:deploy`]);
      await build("v1");
      expect(await build("v1")).toMatch(/RUN cat \/word > \/seen\n#\d+ CACHED/);
      expect(await build("main")).not.toMatch(/RUN cat \/word > \/seen\n#\d+ CACHED/);
      expect(await berth(["run", "--rm", "again", "cat", "/seen"])).toBe("second\n");
    });

    it("takes a repository from the web, and says what is not there", async () => {
      const origin = `http://127.0.0.1:${web?.addr.port}/repo/.git`;
      await berth(["build", "-q", "-t", "web", `${origin}#main:deploy`]);
      expect(await berth(["run", "--rm", "web", "cat", "/seen"])).toBe("second\n");
      const { code, stderr } = await fixture.engine.berth(["build", `git://${address}/repo#nothing`]);
      expect([code, stderr]).toEqual([1, expect.stringMatching(/nothing/)]);
      const refused = await fixture.engine.berth(["build", "--push", `git://${address}/repo#v1:deploy`]);
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("tag is needed when pushing"),
      });
    });
  });
});
