/** What commands of a build are given and what must not be in the image: secrets, agents, mount points; and builds that are called off. */
import { describe, expect, it } from "vitest";
import { buildEngine } from "../support/build_engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { spawnAs, testDir, usersToTest } from "../support/users.ts";

const SECRET = "correct-horse-battery-staple";

describe.each(usersToTest())("berth build, $name", (user) => {
  describeWith(BUSYBOX, program("docker", "docker.io"), program("curl", "curl"))(
    "what commands are given",
    () => {
      const fixture = buildEngine(user, "build-secrets");
      const { berth, dockerfile: context } = fixture;
      const build = (path: string, ...args: string[]) => berth(["build", "--progress=plain", ...args, path]);

      it("keeps secrets out of layers, history and the data root", async () => {
        Deno.writeTextFileSync(`${fixture.dir}/secret.txt`, SECRET);
        const path = context([
          "FROM busybox",
          "RUN --mount=type=secret,id=file stat -c '%a %u' /run/secrets/file && wc -c < /run/secrets/file > /length",
          "RUN --mount=type=secret,id=file,target=/deep/in/s,mode=0440,uid=12,gid=13 stat -c '%a %u:%g' /deep/in/s",
          'RUN --mount=type=secret,id=variable,env=TOKEN test -n "$TOKEN" && ! test -e /run/secrets',
          "RUN --mount=type=secret,id=none ! test -e /run/secrets/none",
        ]);
        const args = [
          "--secret",
          `id=file,src=${fixture.dir}/secret.txt`,
          "--secret",
          "id=variable,env=TOKEN",
        ];
        const output = await berth(["build", "--progress=plain", ...args, "-t", "secrets", path], {
          TOKEN: SECRET,
        });
        expect(output).toContain("400 0\n");
        expect(output).toContain("440 12:13\n");
        expect(output).not.toContain(SECRET);
        expect(await berth(["run", "--rm", "secrets", "sh", "-c", "cat /length; ls /"])).not.toMatch(
          /deep|run/,
        );
        expect(await berth(["history", "--no-trunc", "secrets"])).not.toContain(SECRET);
        const found = await new Deno.Command("grep", {
          args: ["-rl", SECRET, fixture.engine.dataRoot],
          stdin: "null",
        }).output();
        expect(new TextDecoder().decode(found.stdout)).toBe("");
      });

      it("refuses a command whose secret is missing though it needs it", async () => {
        const path = context(["FROM busybox", "RUN --mount=type=secret,id=gone,required=true true"]);
        const refused = await fixture.engine.berth(["build", path]);
        expect(refused.code).not.toBe(0);
        expect(refused.stderr).toContain("secret gone: not found");
      });

      it("leaves nothing of mount points that links lead to", async () => {
        const path = context([
          "FROM busybox",
          "RUN mkdir -p /real && ln -s /real /link",
          "RUN --mount=type=tmpfs,target=/link/sub --mount=type=bind,source=Dockerfile,target=/link/file true",
          "RUN ls -A /real | wc -l | sed s/^/left-/",
        ]);
        expect(await build(path)).toContain("left-0\n");
      });

      it("does not let sources of mounts lead out of their trees", async () => {
        const path = context(["FROM busybox", "RUN --mount=type=bind,source=out,target=/m cat /m"]);
        Deno.symlinkSync("/etc/passwd", `${path}/out`);
        const refused = await fixture.engine.berth(["build", path]);
        expect(refused.code).not.toBe(0);
        expect(refused.stderr).toMatch(/"\/?out": not found|\/etc\/passwd.*not found/);
      });

      it("fills new caches with files of a stage, also those of many commands at once", async () => {
        const stages = [1, 2, 3, 4, 5, 6];
        const path = context([
          "FROM busybox AS from",
          "RUN mkdir -p /seed/d && echo seed > /seed/d/f && chmod 0640 /seed/d/f && chown 12:13 /seed/d/f && ln -s d/f /seed/l",
          ...stages.flatMap((n) => [
            `FROM busybox AS s${n}`,
            `RUN --mount=type=cache,id=filled${n},from=from,source=/seed,target=/c ` +
            `stat -c '%a %u:%g' /c/d/f > /out${n} && cat /c/l >> /out${n} && echo ${n} > /c/own`,
          ]),
          "FROM busybox",
          ...stages.map((n) => `COPY --from=s${n} /out${n} /`),
          "RUN cat /out*",
          // there by now: nothing is copied again
          "RUN --mount=type=cache,id=filled3,from=from,source=/seed,target=/c cat /c/own | sed s/^/kept-/",
        ]);
        const output = await build(path);
        expect(output.match(/ 640 12:13$/gm)).toHaveLength(6);
        expect(output).toContain("kept-3\n");
      });

      it("serializes commands that share a locked cache, and gives private ones their own", async () => {
        const command = (sharing: string, id: string) =>
          `RUN --mount=type=cache,target=/c,id=${id},sharing=${sharing} ` +
          "test ! -e /c/busy && touch /c/busy && sleep 0.3 && rm /c/busy";
        const path = context([
          "FROM busybox AS a",
          command("locked", "l"),
          command("private", "p"),
          "FROM busybox AS b",
          "RUN true",
          command("locked", "l"),
          command("private", "p"),
          "FROM busybox",
          "COPY --from=a /etc/passwd /a",
          "COPY --from=b /etc/passwd /b",
        ]);
        await build(path);
      });

      it("tells a failure once, whatever waits for it or runs beside it", async () => {
        const path = context([
          "FROM busybox AS broken",
          "RUN sleep 0.5; exit 4",
          "FROM busybox AS slow",
          "RUN sleep 100",
          "FROM busybox",
          "COPY --from=broken /etc/passwd /a",
          "COPY --from=slow /etc/passwd /b",
        ]);
        const failed = await fixture.engine.berth(["build", "--progress=plain", path]);
        expect(failed.code).not.toBe(0);
        expect(failed.stderr.match(/^#\d+ ERROR: .*exit code: 4$/gm)).toHaveLength(1);
        expect(failed.stderr).toContain("Dockerfile:2");
      });

      it("ends a command at once when its client goes, and leaves nothing of it", async () => {
        const path = context(["FROM busybox", "RUN echo begun; sleep 1000"]);
        const env = { DOCKER_BUILDKIT: "0", DOCKER_HOST: fixture.engine.host };
        const child = spawnAs(user, ["docker", "build", path], { env });
        const containers = () => [...Deno.readDirSync(`${fixture.engine.dataRoot}/containers`)].length;
        await waitFor(() => containers() > 0, 20_000);
        child.kill("SIGTERM");
        await child.status;
        await waitFor(() => containers() === 0, 20_000);
      });

      it("writes the files of the result where they are wanted", async () => {
        const out = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-out-" });
        Deno.chmodSync(out, 0o777);
        const path = context(["FROM scratch", "COPY Dockerfile /d/file"]);
        await build(path, "--output", `type=local,dest=${out}/files`);
        expect(Deno.readTextFileSync(`${out}/files/d/file`)).toContain("FROM scratch");
        Deno.removeSync(out, { recursive: true });
      });

      it("builds on what ONBUILD has left, and on this machine's own image", async () => {
        await build(context(["FROM busybox", "ONBUILD COPY f /f", "ONBUILD RUN cat /f"]), "-t", "trigger");
        expect(await build(context(["FROM trigger"], { f: "triggered\n" }))).toContain("triggered\n");
        await build(
          context(["FROM berth/host", "COPY f /opt/f", "RUN cat /opt/f > /g"], { f: "own\n" }),
          "-t",
          "own",
        );
        expect(await berth(["run", "--rm", "own", "cat", "/opt/f", "/g"])).toBe("own\nown\n");
      });

      it("squashes what it has made", async () => {
        const path = context([
          "FROM busybox",
          "RUN echo a > /a; echo b > /b",
          "RUN rm /a /bin/vi",
          "RUN echo c > /c",
        ]);
        // the command line asks for it only where the daemon calls itself experimental
        const post =
          `curl -sf --unix-socket ${fixture.engine.socket} --data-binary @- -H 'Content-Type: application/x-tar'`;
        const url = "http://d/v1.47/build?squash=1&t=squashed";
        const squashed = await new Deno.Command("sh", {
          args: ["-c", `tar -C ${path} -c . | ${post} '${url}'`],
          stdin: "null",
        }).output();
        expect(new TextDecoder().decode(squashed.stdout)).toContain("Successfully built");
        const layers = JSON.parse(await berth(["inspect", "-f", "{{json .RootFS.Layers}}", "squashed"]));
        expect(layers).toHaveLength(2);
        expect(
          await berth(["run", "--rm", "squashed", "sh", "-c", "cat /b /c; ls /a /bin/vi 2>/dev/null; true"]),
        ).toBe(
          "b\nc\n",
        );
      });
    },
  );
});
