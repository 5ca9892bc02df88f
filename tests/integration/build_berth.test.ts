/** `berth build` on a real engine: keys, several contexts, files and archives as results, its view on a terminal. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { tarEvents } from "../../base/tar/mod.ts";
import { busyboxEngine } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith, itWith, program } from "../support/needs.ts";
import { runAs, testDir, type User, usersToTest } from "../support/users.ts";

describeWith(BUSYBOX).each(usersToTest())("berth build as $name", (user: User) => {
  let engine: Engine;
  let dir: string;
  let contexts = 0;

  beforeAll(async () => {
    engine = await busyboxEngine({ user });
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "bb-" });
    Deno.chmodSync(dir, 0o777);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    if (dir) Deno.removeSync(dir, { recursive: true });
  });

  const context = (files: Readonly<Record<string, string>>): string => {
    const path = `${dir}/c${contexts++}`;
    for (const [name, text] of Object.entries(files)) {
      Deno.mkdirSync(`${path}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
      Deno.writeTextFileSync(`${path}/${name}`, text);
    }
    new Deno.Command("chmod", { args: ["-R", "a+rX", path] }).outputSync();
    return path;
  };
  const build = async (...args: string[]) => {
    const result = await engine.berth(["build", ...args]);
    if (result.code !== 0) throw new Error(`berth build ${args.join(" ")}: ${result.stderr}`);
    return result;
  };
  const run = async (image: string, ...command: string[]) =>
    (await engine.berth(["run", "--rm", image, ...command])).stdout;
  const namesOf = async (file: string): Promise<string[]> => {
    const names: string[] = [];
    for await (const event of tarEvents((await Deno.open(file)).readable)) {
      if (event.kind === "entry") names.push(event.entry.name);
    }
    return names;
  };

  itWith(program("ssh-agent", "openssh-client"))("leads commands to the user's keys", async () => {
    const path = context({
      Dockerfile: "FROM berth/host\nRUN --mount=type=ssh,required ssh-add -L >/keys\n",
    });
    const key = `${dir}/key`;
    const made = await runAs(user, [
      "ssh-keygen",
      "-q",
      "-t",
      "ed25519",
      "-N",
      "",
      "-C",
      "for a test",
      "-f",
      key,
    ]);
    expect(made.code).toBe(0);
    await build("--ssh", `default=${key}`, "-t", "keys", path);
    expect(await run("keys", "cat", "/keys")).toBe(Deno.readTextFileSync(`${key}.pub`));
  });

  it("takes files from contexts by name", async () => {
    const path = context({
      Dockerfile: "FROM base\nCOPY --from=other other /\nCOPY main /\n",
      main: "main\n",
    });
    const other = context({ other: "other\n" });
    await build(
      "--build-context",
      `other=${other}`,
      "--build-context",
      "base=docker-image://busybox",
      "-t",
      "named",
      path,
    );
    expect(await run("named", "cat", "/main", "/other")).toBe("main\nother\n");
  });

  it("gives files, and archives that docker reads, and keeps no image of them", async () => {
    const path = context({
      Dockerfile: "FROM scratch AS files\nCOPY a /b/\nFROM busybox\nCOPY a /\n",
      a: "a\n",
    });
    await build("--target", "files", "-o", `${dir}/out`, path);
    expect(Deno.readTextFileSync(`${dir}/out/b/a`)).toBe("a\n");
    await build("--target", "files", "-o", `type=tar,dest=${dir}/out.tar`, path);
    expect(await namesOf(`${dir}/out.tar`)).toEqual(["b/", "b/a"]);
    const images = async () => (await engine.berth(["images", "-a", "-q", "--no-trunc"])).stdout;
    const before = await images();
    await build("-t", "given:1", "-o", `type=docker,dest=${dir}/image.tar`, path);
    expect(await images()).toBe(before);
    expect(await namesOf(`${dir}/image.tar`)).toEqual(
      expect.arrayContaining(["manifest.json", "index.json"]),
    );
    expect((await engine.docker(["load", "-q", "-i", `${dir}/image.tar`])).stdout).toBe(
      "Loaded image: given:1\n",
    );
    expect(await run("given:1", "cat", "/a")).toBe("a\n");
  });

  it("shows a build in place on a terminal", async () => {
    const path = context({ Dockerfile: "FROM busybox\nRUN echo a line of output; sleep 1\n" });
    // util-linux's script gives it a terminal
    const command = `stty rows 20 cols 70; exec berth build --no-cache ${path}`;
    const berth = await runAs(user, ["script", "-qefc", command, "/dev/null"], {
      env: { BERTH_HOST: engine.host, PATH: `${testDir()}:${Deno.env.get("PATH")}` },
    });
    expect(berth.code).toBe(0);
    expect(berth.stdout).toMatch(/\[\+\] Building \d+\.\ds \(\d\/\d\) FINISHED {10,}berth/);
    expect(berth.stdout).toContain(" => => # a line of output");
    expect(berth.stdout).toMatch(/ => \[2\/2\] RUN echo a line of output; sleep 1 +\d+\.\ds/);
  });

  it("builds what comes in an archive on standard input", async () => {
    const path = context({ "deploy/Dockerfile": "FROM busybox\nCOPY word /\n", "deploy/word": "from git\n" });
    const git = (...args: string[]) =>
      runAs(user, ["git", "-C", `${dir}/repository`, "-c", "user.name=t", "-c", "user.email=t@t", ...args]);
    await runAs(user, ["cp", "-r", path, `${dir}/repository`]);
    for (const args of [["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]]) {
      expect((await git(...args)).stderr).toBe("");
    }
    const archive = `${dir}/archive.tar.gz`;
    expect((await git("archive", "-o", archive, "HEAD:deploy")).code).toBe(0);
    const child = await runAs(user, [
      "sh",
      "-c",
      `exec ${testDir()}/berth -H ${engine.host} build -t piped - < ${archive}`,
    ]);
    expect([child.code, child.stderr]).toEqual([0, expect.stringContaining("exporting to image")]);
    expect(await run("piped", "cat", "/word")).toBe("from git\n");
  });
});
