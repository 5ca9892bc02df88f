/** Builds on a real engine: stages, commands and their mounts, the cache, results. The client is docker's command line with its classic builder. */
import { describe, expect, it } from "vitest";
import { buildEngine } from "../support/build_engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { usersToTest } from "../support/users.ts";

const CLASSIC = { env: { DOCKER_BUILDKIT: "0" } };

describe.each(usersToTest())("builds, $name", (user) => {
  describeWith(BUSYBOX, program("docker", "docker.io"))("with docker", () => {
    const fixture = buildEngine(user, "build");
    const { dockerfile, docker } = fixture;
    const build = (path: string, ...args: string[]) => docker("build", ...args, path);
    /** Steps of a build that were not in the cache. */
    const made = (output: string) =>
      [...output.matchAll(/^Step \d+\/\d+ : (.*)\n(?! ---> Using cache)/gm)]
        .map(([, step = ""]) => step.split(" ", 1)[0]).filter((word) => word !== "FROM");
    const run = (image: string, ...command: string[]) => docker("run", "--rm", image, ...command);

    it("builds stages, of which only those that are needed, and finds all of it again", async () => {
      const path = dockerfile([
        "FROM busybox AS build",
        "ARG WORD=hello",
        "ENV PLACE=world",
        "WORKDIR /src",
        "COPY in.txt .",
        "RUN echo $WORD $PLACE > out.txt && cat in.txt >> out.txt",
        "FROM busybox AS unused",
        "RUN exit 3",
        "FROM busybox",
        "COPY --from=build /src/out.txt /",
        'CMD ["cat", "/out.txt"]',
      ], { "in.txt": "in\n" });
      const first = await build(path, "-t", "stages");
      expect(made(first)).toEqual(expect.arrayContaining(["WORKDIR", "COPY", "RUN"]));
      expect(await run("stages")).toBe("hello world\nin");
      const id = await docker("inspect", "-f", "{{.Id}}", "stages");
      const second = await build(path, "-t", "stages");
      expect(made(second)).toEqual([]);
      expect(await docker("inspect", "-f", "{{.Id}}", "stages")).toBe(id);
      const other = await build(path, "--build-arg", "WORD=bye", "-t", "stages2");
      expect(made(other)).toEqual(["RUN", "COPY", "CMD"]);
      expect(await run("stages2")).toBe("bye world\nin");
    });

    it("copies from a stage of this machine's own directories, what it made and what it shows", async () => {
      const path = dockerfile([
        "FROM berth/host AS tools",
        "RUN mkdir /made && echo made > /made/file && echo changed > /etc/of-the-stage",
        "FROM busybox",
        "COPY --from=tools /made/file /etc/of-the-stage /usr/bin/env /taken/",
      ]);
      await build(path, "-t", "taken");
      expect(await run("taken", "sh", "-c", "cat /taken/file /taken/of-the-stage; wc -c </taken/env")).toBe(
        `made\nchanged\n${Deno.statSync("/usr/bin/env").size}`,
      );
      expect(made(await build(path, "-t", "taken"))).toEqual([]);
    });

    it("shows commands this machine's own directories, and lets none of them be changed", async () => {
      const mark = `berth-build-${crypto.randomUUID()}`;
      const path = dockerfile([
        "FROM berth/host AS tools",
        "RUN mkdir /made && echo made > /made/file",
        "FROM busybox",
        "RUN --mount=type=bind,from=berth/host,source=/usr/bin,target=/tools test -x /tools/env && " +
        `! touch /tools/${mark}`,
        `RUN --mount=type=bind,from=tools,target=/t,rw touch /t/usr/${mark}; cat /t/made/file && ls /t/usr/bin/env > /seen`,
      ]);
      expect(await build(path, "-t", "shown")).toContain("made\n");
      expect(await run("shown", "sh", "-c", "cat /seen; ls -d /tools /t 2>/dev/null || true")).toBe(
        "/t/usr/bin/env",
      );
      expect(() => Deno.statSync(`/usr/${mark}`)).toThrow(Deno.errors.NotFound);
      expect(made(await build(path, "-t", "shown"))).toEqual([]);
    });

    it("runs commands as Dockerfiles say: user, directory, environment, network", async () => {
      const output = await build(dockerfile([
        "FROM busybox",
        "USER 12:13",
        "WORKDIR /tmp",
        "ENV A='x y'",
        'RUN ["sh", "-c", "echo user $(id -u):$(id -g) in $PWD with $A on $(hostname)"]',
        "RUN --network=none ip -o link | wc -l | sed s/^/links/",
      ]));
      expect(output).toContain("user 12:13 in /tmp with x y on buildkitsandbox\n");
      expect(output).toContain("links1\n");
    });

    it("tells how a command failed, and leaves nothing of it", async () => {
      const failed = await fixture.engine.docker(
        ["build", dockerfile(["FROM busybox", "RUN echo out; echo err >&2; exit 7"])],
        CLASSIC,
      );
      // the command line ends as the command did
      expect(failed.code).toBe(7);
      expect(failed.stdout).toContain("out\n");
      expect(failed.stdout + failed.stderr).toContain("err");
      expect(failed.stderr).toContain("returned a non-zero code: 7");
      expect(await docker("ps", "-aq")).toBe("");
      const missing = await fixture.engine.docker(
        ["build", dockerfile(["FROM busybox", 'RUN ["/nope"]'])],
        CLASSIC,
      );
      expect(missing.stderr).toContain("/nope");
      expect(missing.code).toBe(127);
      expect([...Deno.readDirSync(`${fixture.engine.dataRoot}/containers`)]).toEqual([]);
    });

    it("gives commands mounts that are in no layer, nor are the places they are mounted at", async () => {
      const path = dockerfile([
        "FROM busybox AS other",
        "RUN mkdir /o && echo from-stage > /o/f",
        "FROM busybox",
        "RUN --mount=type=bind,target=/ctx cat /ctx/in.txt && ! touch /ctx/x",
        "RUN --mount=type=bind,target=/ctx,rw echo changed > /ctx/in.txt && cat /ctx/in.txt",
        "RUN --mount=type=bind,target=/ctx cat /ctx/in.txt | sed s/^/still-/",
        "RUN --mount=type=bind,from=other,source=/o,target=/mnt/deep/o cat /mnt/deep/o/f",
        "RUN --mount=type=tmpfs,target=/t touch /t/x && mount | grep ' /t '",
        "RUN --mount=type=cache,target=/cache,id=c1 echo a >> /cache/log",
        "RUN --mount=type=cache,target=/elsewhere,id=c1 wc -l < /elsewhere/log | sed s/^/lines-/",
        "RUN ls / && ! ls /mnt",
      ], { "in.txt": "from-context\n" });
      const output = await build(path, "-t", "mounts");
      for (const text of ["from-context", "changed", "still-from-context", "from-stage", "lines-1"]) {
        expect(output).toContain(`${text}\n`);
      }
      const layers = JSON.parse(await docker("inspect", "-f", "{{json .RootFS.Layers}}", "mounts"));
      expect(layers).toHaveLength(1);
      expect(await run("mounts", "ls", "/")).not.toMatch(/ctx|mnt|cache|elsewhere|^t$/m);
    });

    it("makes nothing anew for what does not change files, and the rest of what does", async () => {
      const lines = ["FROM busybox", "COPY a.txt /a", "RUN cp /a /b", "COPY c.txt /c", "RUN cp /c /d"];
      const files = { "a.txt": "a", "c.txt": "c" };
      expect(made(await build(dockerfile(lines, files)))).toEqual(["COPY", "RUN", "COPY", "RUN"]);
      const touched = dockerfile(lines, files);
      Deno.utimeSync(`${touched}/a.txt`, new Date(), new Date());
      expect(made(await build(touched))).toEqual([]);
      expect(made(await build(dockerfile(lines, { ...files, "c.txt": "new" })))).toEqual(["COPY", "RUN"]);
      const chmodded = dockerfile(lines, files);
      Deno.chmodSync(`${chmodded}/c.txt`, 0o755);
      expect(made(await build(chmodded))).toEqual(["COPY", "RUN"]);
      expect(made(await build(dockerfile(lines, files), "--no-cache"))).toEqual([
        "COPY",
        "RUN",
        "COPY",
        "RUN",
      ]);
    });

    it("makes the same image of the same context when SOURCE_DATE_EPOCH says when", async () => {
      const lines = [
        "FROM busybox",
        "ARG SOURCE_DATE_EPOCH",
        "COPY a.txt /d/a",
        "RUN echo b > /d/b",
        "WORKDIR /w",
      ];
      const ids = [];
      for (let round = 0; round < 2; round++) {
        const path = dockerfile(lines, { "a.txt": "a" });
        Deno.utimeSync(`${path}/a.txt`, new Date(), new Date());
        const epoch = "SOURCE_DATE_EPOCH=1700000000";
        await build(path, "--no-cache", "--build-arg", epoch, "-t", `epoch${round}`);
        ids.push(await docker("inspect", "-f", "{{.Id}} {{.Created}}", `epoch${round}`));
      }
      expect(ids[0]).toBe(ids[1]);
      expect(ids[0]).toContain("2023-11-14T22:13:20");
      expect(await run("epoch0", "stat", "-c", "%Y", "/d/b")).toBe("1700000000");
    });

    it("gives built images away: their layers are packed when they are wanted", async () => {
      const path = dockerfile([
        "FROM busybox",
        "RUN mkdir /x && echo y > /x/y && rm /bin/vi; rm -r /home && mkdir /home",
      ]);
      await build(path, "-t", "given");
      const before = await run("given", "ls", "-lR", "/x", "/home");
      await docker("save", "-o", `/tmp/given-${user.uid}.tar`, "given");
      await docker("rmi", "given");
      await docker("builder", "prune", "-af");
      await docker("load", "-i", `/tmp/given-${user.uid}.tar`);
      Deno.removeSync(`/tmp/given-${user.uid}.tar`);
      expect(await run("given", "ls", "-lR", "/x", "/home")).toBe(before);
    });

    it("forgets what it made when it is told to", async () => {
      const path = dockerfile([
        "FROM busybox",
        "RUN dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null",
        "CMD x",
      ]);
      await build(path, "-q");
      await docker("image", "prune", "-f");
      expect(made(await build(path))).toEqual([]);
      await docker("image", "prune", "-f");
      const usage = JSON.parse(
        await docker("system", "df", "--format", "{{json .}}").then((text) =>
          `[${text.split("\n").join(",")}]`
        ),
      ) as { Type: string; Size: string }[];
      expect(usage.find(({ Type }) => Type === "Build Cache")?.Size).not.toBe("0B");
      expect(await docker("builder", "prune", "-af")).toMatch(/Total.*[MG]B/);
      expect(made(await build(path))).toContain("RUN");
    });
  });
});
