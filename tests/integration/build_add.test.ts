/** COPY and ADD on a real engine: what each makes of files, archives, the web and git, and that nothing leads out of a context. */
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tarArchive } from "../../fs/tar/mod.ts";
import { ApiConnection } from "../support/api_client.ts";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { testDir, usersToTest } from "../support/users.ts";

const CLASSIC = { env: { DOCKER_BUILDKIT: "0" } };
const text = (value: string) => new TextEncoder().encode(value);

describe.each(usersToTest())("files of builds, $name", (user) => {
  describeWith(BUSYBOX, program("docker", "docker.io"), program("git", "git"))("with docker", () => {
    let engine: Engine;
    let dir: string;
    let web: Deno.HttpServer<Deno.NetAddr>;
    const served = new Map<string, string>();
    let gitPort = 0;
    let daemon: Deno.ChildProcess | undefined;
    let contexts = 0;

    /** A repository that git's own server gives away. Answers the server's port. */
    function serveRepository(): number {
      const repo = `${dir}/git/repo`;
      Deno.mkdirSync(`${repo}/src`, { recursive: true });
      Deno.writeTextFileSync(`${repo}/src/f`, "one\n");
      Deno.writeTextFileSync(`${repo}/Dockerfile`, "FROM busybox\nRUN echo from git\n");
      const script =
        "git init -q -b main && git add -A && git -c user.name=t -c user.email=t@t commit -q -m one";
      const env = { GIT_CONFIG_GLOBAL: "/dev/null" };
      expect(new Deno.Command("sh", { args: ["-c", script], cwd: repo, env }).outputSync().success).toBe(
        true,
      );
      using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
      const { port } = listener.addr;
      daemon = new Deno.Command("git", {
        args: [
          "daemon",
          "--reuseaddr",
          "--listen=127.0.0.1",
          `--port=${port}`,
          `--base-path=${dir}/git`,
          "--export-all",
        ],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      return port;
    }

    async function attempt(lines: readonly string[], path: string, ...args: string[]) {
      Deno.writeTextFileSync(`${path}/Dockerfile`, `${lines.join("\n")}\n`);
      return await engine.docker(["build", ...args, path], CLASSIC);
    }

    async function build(lines: readonly string[], path: string, ...args: string[]): Promise<string> {
      const { code, stdout, stderr } = await attempt(lines, path, ...args);
      if (code !== 0) throw new Error(`${stderr}\n${stdout}`);
      return stdout;
    }

    /** What a command that is the last step of a build prints. */
    async function prints(lines: readonly string[], command: string, path: string): Promise<string> {
      const marked = `RUN echo BEGIN && { ${command}; } && echo END`;
      const output = await build([...lines, marked], path);
      return /^BEGIN\n([^]*?)^END$/m.exec(output)?.[1]?.trim() ?? output;
    }

    const context = () => {
      const path = `${dir}/context-${contexts++}`;
      Deno.mkdirSync(path);
      return path;
    };

    beforeAll(async () => {
      dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-add-" });
      Deno.chmodSync(dir, 0o755);
      web = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, ({ url }) => {
        const body = served.get(new URL(url).pathname);
        const headers = { "last-modified": "Sun, 09 Sep 2001 01:46:40 GMT" };
        return new Response(body ?? "no", { status: body === undefined ? 404 : 200, headers });
      });
      gitPort = serveRepository();
      engine = await startEngine({ user });
      expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
      await web.shutdown();
      daemon?.kill("SIGTERM");
      await daemon?.status;
      Deno.removeSync(dir, { recursive: true });
    });

    it("gives files owners and modes", async () => {
      const path = context();
      Deno.writeTextFileSync(`${path}/f`, "f");
      Deno.chmodSync(`${path}/f`, 0o604);
      const lines = [
        "FROM busybox",
        "RUN echo web:x:70:71::/:/bin/sh >> /etc/passwd; echo staff:x:50: >> /etc/group",
        "COPY f /plain",
        "COPY --chown=web f /app/owned",
        "COPY --chown=70:staff --chmod=755 f /both",
      ];
      expect(await prints(lines, "stat -c '%n %u:%g %a' /plain /app /app/owned /both", path)).toBe(
        ["/plain 0:0 604", "/app 70:71 755", "/app/owned 70:71 604", "/both 70:50 755"].join("\n"),
      );
    });

    it("unpacks archives with ADD, and not with COPY", async () => {
      const path = context();
      const archive = gzipSync(tarArchive([
        { name: "d/", type: "directory" },
        { name: "d/f", size: 2, mode: 0o600, uid: 5, gid: 6, data: text("in") },
      ]));
      Deno.writeFileSync(`${path}/a.tar.gz`, archive);
      const lines = ["FROM busybox", "ADD a.tar.gz /added/", "COPY a.tar.gz /copied/"];
      expect(await prints(lines, "ls /added /copied; stat -c '%u:%g %a' /added/d/f", path)).toBe(
        "/added:\nd\n\n/copied:\na.tar.gz\n5:6 600",
      );
    });

    it("takes files from the web, whole, and again only when they have changed", async () => {
      const path = context();
      const url = `http://127.0.0.1:${web.addr.port}`;
      served.set("/dir/file.txt", "one");
      const lines = ["FROM busybox", `ADD ${url}/dir/file.txt /web/`, `ADD ${url}/dir/file.txt /named`];
      const show = "cat /web/file.txt /named; stat -c ' %a %Y' /named";
      expect(await prints(lines, show, path)).toBe("oneone 600 1000000000");
      expect(await build(lines, path)).toMatch(/ADD .*\/web\/\n ---> Using cache/);
      served.set("/dir/file.txt", "two");
      expect(await prints(lines, show, path)).toBe("twotwo 600 1000000000");
      const wrong = `sha256:${"0".repeat(64)}`;
      const refused = await attempt(["FROM busybox", `ADD --checksum=${wrong} ${url}/dir/file.txt /x`], path);
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toMatch(/digest mismatch sha256:[0-9a-f]{64}: sha256:0{64}/);
      const missing = await attempt(["FROM busybox", `ADD ${url}/nope /x`], path);
      expect(missing.stderr).toContain("invalid response status 404 Not Found");
    });

    it("takes repositories with ADD, and contexts from the web and from git", async () => {
      const url = `http://127.0.0.1:${web.addr.port}`;
      const port = gitPort;
      const repository = `git://127.0.0.1:${port}/repo`;
      const path = context();
      const lines = [
        "FROM busybox",
        `ADD ${repository}#main:src /src/`,
        `ADD --keep-git-dir=true ${repository} /all/`,
      ];
      expect(await prints(lines, "cat /src/f; ls -A /all | tr '\\n' ' '; stat -c %u:%g /src/f", path)).toBe(
        "one\n.git Dockerfile src 0:0",
      );
      expect(await build(lines, path)).toMatch(/ADD .*\/src\/\n ---> Using cache/);
      served.set("/Dockerfile", "FROM busybox\nRUN echo from the web\n");
      for (const [remote, word] of [[`${url}/Dockerfile`, "from the web"], [repository, "from git"]]) {
        using api = await ApiConnection.open(engine.socket);
        const query = `remote=${encodeURIComponent(remote ?? "")}&nocache=1`;
        const { status, text: body } = await api.send(ApiConnection.request("POST", `/build?${query}`));
        expect(status).toBe(200);
        expect(body()).toContain(`${word}\\n`);
      }
      const built = await engine.berth(["build", "--no-cache", "--progress=plain", repository]);
      expect(built.stderr + built.stdout).toContain("from git");
      expect([...Deno.readDirSync(`${engine.dataRoot}/build/tmp`)].map(({ name }) => name).length)
        .toBeLessThan(2);
    });

    it("never leaves the context, nor the files that are built", async () => {
      const path = context();
      Deno.writeTextFileSync(`${dir}/secret`, "not yours");
      Deno.mkdirSync(`${path}/d`);
      Deno.symlinkSync(`${dir}/secret`, `${path}/absolute`);
      Deno.symlinkSync("../secret", `${path}/relative`);
      Deno.symlinkSync("../../../../etc", `${path}/d/etc`);
      for (const name of ["../secret", "absolute", "relative", "d/etc/passwd"]) {
        const { code, stderr } = await attempt(["FROM busybox", `COPY ${name} /x`], path);
        expect(code).not.toBe(0);
        expect(stderr).toContain("not found");
        expect(stderr).not.toContain("not yours");
      }
      const into = ["FROM busybox", `RUN ln -s ${dir} /out && ln -s ../../../../../${dir} /up`];
      Deno.writeTextFileSync(`${path}/planted`, "planted");
      const lines = [...into, "COPY planted /out/", "COPY planted /up/", "WORKDIR /up/made"];
      await build(lines, path);
      expect([...Deno.readDirSync(dir)].map(({ name }) => name).filter((name) => /planted|made/.test(name)))
        .toEqual([]);
    });

    it("says what is in the way", async () => {
      const path = context();
      Deno.mkdirSync(`${path}/d/etc`, { recursive: true });
      Deno.writeTextFileSync(`${path}/f`, "");
      const cases: [string, string][] = [
        [
          "COPY nope /x",
          "COPY failed: file not found in build context or excluded by .dockerignore: stat nope",
        ],
        ["COPY d /etc/passwd", "cannot copy to non-directory: /etc/passwd"],
        ["COPY f /etc/passwd/x", "not a directory"],
        ["COPY --chown=whoever f /x", "unable to find user whoever: no matching entries in passwd file"],
        ["WORKDIR /etc/passwd/x", "not a directory"],
      ];
      for (const [line, message] of cases) {
        const { code, stderr } = await attempt(["FROM busybox", line], path);
        expect([line, code]).not.toEqual([line, 0]);
        expect(stderr).toContain(message);
      }
    });
  });
});
