/** Real docker command lines, the newest and Debian's, against berth's socket. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { waitFor } from "../support/processes.ts";
import { runAs, spawnAs, testDir, type User, usersToTest } from "../support/users.ts";
import { type DockerClient, dockerClients, executableOf } from "../support/docker_clients.ts";
import { BUSYBOX, describeWith, itWith, need } from "../support/needs.ts";

const clients = dockerClients();
const none: DockerClient = { path: "docker", version: "" };
const combinations = (clients.length > 0 ? clients : [none])
  .flatMap((client) => usersToTest().map((user) => ({ client, user })));

// Debian's client speaks API 1.41 and has an order of calls of its own.
if (!clients.some(({ version }) => version.startsWith("20."))) {
  const reason = "no docker command line of version 20.10: scripts/test_needs takes it from Debian 12";
  itWith(need(false, reason))("docker command line 20.10 does the same", () => {});
}

describeWith(need(clients.length > 0, "no docker command line: sudo apt-get install docker.io"), BUSYBOX)
  .each(combinations)(
    "docker command line $client.version as $user.name",
    ({ client, user }: { client: DockerClient; user: User }) => {
      const executable = executableOf(client);
      let engine: Engine;
      const docker = (...args: string[]) => engine.docker(args);
      beforeAll(async () => {
        engine = await startEngine({ user, docker: executable });
        const archive = await busyboxArchive(testDir());
        const load = await docker("load", "-i", archive);
        expect(load.stdout).toContain("Loaded image: busybox:latest");
      });
      afterAll(async () => {
        await engine?.[Symbol.asyncDispose]();
      });

      it("version and info know both sides", async () => {
        const version = await docker(
          "version",
          "--format",
          "{{.Server.APIVersion}} {{.Server.Os}} {{(index .Server.Components 0).Name}}",
        );
        expect(version.code).toBe(0);
        expect(version.stdout).toMatch(/^1\.51 linux Engine$/m);
        const info = await docker("info");
        expect(info.code).toBe(0);
        expect(info.stdout).toMatch(/Storage Driver: (overlay|fuse-overlayfs)/);
        const security = (await docker("info", "--format", "{{json .SecurityOptions}}")).stdout;
        expect(security).toContain("name=seccomp,profile=builtin");
        expect(security.includes("name=rootless")).toBe(user.uid !== 0);
      });

      it("run gives back the container's exit code and Docker's own for what cannot run", async () => {
        expect((await docker("run", "--rm", "busybox", "sh", "-c", "exit 42")).code).toBe(42);
        const missing = await docker("run", "--rm", "busybox", "no-such-command");
        expect(missing.code).toBe(127);
        expect(missing.stderr).toContain('exec: "no-such-command": executable file not found in $PATH');
        const denied = await docker("run", "--rm", "busybox", "/etc/passwd");
        expect(denied.code).toBe(126);
        expect(denied.stderr).toContain("permission denied");
        // A client of 20.10 knows "permission denied" only, and runc says "is a directory": 125 with Docker's engine as well.
        const old = client.version.startsWith("20.");
        expect((await docker("run", "--rm", "busybox", "/etc")).code).toBe(old ? 125 : 126);
        expect((await docker("run", "--rm", "--memory", "1", "busybox", "true")).code).toBe(125);
        expect((await docker("run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?")).code).toBe(
          137,
        );
        expect((await docker("run", "--rm", "busybox", "sh", "-c", "kill -TERM $$; sleep 5")).code).toBe(0);
        expect((await docker("ps", "-aq")).stdout).toBe("");
      });

      it("run -d, ps, logs, exec, top, stop, wait, inspect, rm go through a container's life", async () => {
        const id = (await docker(
          "run",
          "-d",
          "--name",
          "life",
          "--stop-timeout",
          "1",
          "busybox",
          "sh",
          "-c",
          "echo started; echo oops >&2; exec sleep 1000",
        )).stdout.trim();
        expect(id).toMatch(/^[0-9a-f]{64}$/);
        expect((await docker("ps", "--format", "{{.Names}} {{.Image}} {{.State}}")).stdout).toBe(
          "life busybox running\n",
        );
        expect((await docker("ps")).stdout).toMatch(/Up (Less than a second|\d+ seconds?)/);
        await waitFor(async () => (await docker("logs", "life")).stdout === "started\n", 10_000);
        expect((await docker("logs", "life")).stderr).toBe("oops\n");
        expect(
          (await docker("logs", "-t", "--tail", "1", "life")).stdout +
            (await docker("logs", "-t", "life")).stdout,
        ).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z started$/m);
        expect(await docker("exec", "life", "sh", "-c", "echo in; exit 5")).toMatchObject({
          code: 5,
          stdout: "in\n",
        });
        expect(
          (await docker(
            "exec",
            "-w",
            "/tmp",
            "-e",
            "A=b",
            "-u",
            "app",
            "life",
            "sh",
            "-c",
            "pwd; echo $A; id -un; id -Gn",
          )).stdout,
        ).toBe("/tmp\nb\napp\napp extra more\n");
        expect((await docker("exec", "life", "no-such")).code).toBe(127);
        expect((await docker("top", "life")).stdout).toMatch(/sleep 1000/);
        const started = Date.now();
        expect(await docker("stop", "life")).toMatchObject({ code: 0, stdout: "life\n" });
        expect(Date.now() - started).toBeLessThan(30_000);
        expect((await docker("wait", "life")).stdout).toBe("137\n");
        expect(
          (await docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.Name}}", "life")).stdout,
        )
          .toBe("exited 137 /life\n");
        expect((await docker("ps", "-a", "--format", "{{.Status}}")).stdout).toMatch(/^Exited \(137\)/);
        expect((await docker("rm", "life")).stdout).toBe("life\n");
        const gone = await docker("inspect", "life");
        expect(gone.code).toBe(1);
        expect(gone.stderr).toMatch(/no such object: life/i);
      });

      it("logs -f follows to the end", async () => {
        await docker(
          "run",
          "-d",
          "--name",
          "follow",
          "busybox",
          "sh",
          "-c",
          "for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done",
        );
        expect((await docker("logs", "-f", "follow")).stdout).toBe(
          "line 1\nline 2\nline 3\nline 4\nline 5\n",
        );
        await docker("rm", "-f", "follow");
      });

      it("attach gets what comes, and the half-close of its input ends cat", async () => {
        const run = await engine.docker(["run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo end"], {
          stdin: "a\nb\n",
        });
        expect(run).toMatchObject({ code: 0, stdout: "a\nb\nend\n" });
        const exec = await docker("run", "-d", "--name", "half", "busybox", "sleep", "1000");
        expect(exec.code).toBe(0);
        expect(await engine.docker(["exec", "-i", "half", "wc", "-c"], { stdin: "12345" })).toMatchObject({
          code: 0,
          stdout: "5\n",
        });
        await docker("rm", "-f", "half");
        await docker("run", "-d", "-i", "--name", "att", "busybox", "sh");
        // As in Docker, the end of an attached client's input ends its attach, unless the container was run in the foreground.
        const words = ["sh", "-c", "(echo 'echo from attach; exit 4'; sleep 2) | $0 attach att", executable];
        expect(await runAs(user, words, { env: { DOCKER_HOST: engine.host } })).toMatchObject({
          code: 4,
          stdout: "from attach\n",
        });
        await docker("rm", "-f", "att");
      });

      it("a terminal: run -it and exec -it under a pty", async ({ skip }) => {
        if ((await runAs(user, ["sh", "-c", "command -v script"])).code !== 0) {
          skip(
            "script(1) is not installed",
          );
        }
        const pty = (command: string) =>
          runAs(user, ["script", "-qec", command, "/dev/null"], {
            env: { DOCKER_HOST: engine.host, DOCKER: executable },
            stdin: "",
          });
        const run = await pty("$DOCKER run --rm -it busybox sh -c 'test -t 0 && test -t 1 && tty; exit 9'");
        expect(run.stdout).toContain("/dev/pts/0");
        expect(run.code).toBe(9);
        await docker("run", "-d", "--name", "tt", "busybox", "sleep", "1000");
        const exec = await pty("$DOCKER exec -it tt sh -c 'tty; exit 6'");
        expect(exec.stdout).toMatch(/\/dev\/pts\/\d/);
        expect(exec.code).toBe(6);
        await docker("rm", "-f", "tt");
      });

      it("signals reach the process, and a client that is killed leaves the container alone", async () => {
        await docker(
          "run",
          "-d",
          "--name",
          "sig",
          "busybox",
          "sh",
          "-c",
          "trap 'echo got; exit 33' USR1; echo ready; while :; do sleep 0.1; done",
        );
        await waitFor(async () => (await docker("logs", "sig")).stdout.includes("ready"), 10_000);
        const client = spawnAs(user, [executable, "logs", "-f", "sig"], {
          env: { DOCKER_HOST: engine.host },
          stdout: "null",
          stderr: "null",
        });
        client.kill("SIGKILL");
        await client.status;
        expect((await docker("inspect", "-f", "{{.State.Running}}", "sig")).stdout).toBe("true\n");
        await docker("kill", "-s", "USR1", "sig");
        expect((await docker("wait", "sig")).stdout).toBe("33\n");
        await docker("rm", "sig");
      });

      it("names: conflicts, rename, prefixes, force", async () => {
        const id = (await docker("create", "--name", "one", "busybox", "sleep", "1000")).stdout.trim();
        const clash = await docker("create", "--name", "one", "busybox");
        expect(clash.code).toBe(1);
        expect(clash.stderr).toContain(
          `Conflict. The container name "/one" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
        );
        expect((await docker("rename", "one", "two")).code).toBe(0);
        expect((await docker("start", id.slice(0, 6))).code).toBe(0);
        const running = await docker("rm", "two");
        expect(running.code).toBe(1);
        expect(running.stderr).toMatch(
          /cannot remove container "\/?two": container is running: stop the container before removing or force remove/,
        );
        expect((await docker("rm", "-f", "two")).code).toBe(0);
      });

      it("events tell a container's life in order", async () => {
        const since = String(Math.floor(Date.now() / 1000));
        await docker("run", "--rm", "--name", "ev", "--label", "k=v", "busybox", "true");
        let seen = "";
        await waitFor(
          async () => {
            const until = (Date.now() / 1000).toFixed(3);
            const events = await docker(
              "events",
              "--since",
              since,
              "--until",
              until,
              "--filter",
              "container=ev",
              "--format",
              "{{.Action}}",
            );
            seen = events.stdout.trim().split("\n").join(" ");
            return seen.endsWith("destroy");
          },
          10_000,
          () => `events: ${seen}`,
        );
        expect(seen).toBe("create attach start die destroy");
      });

      it("a container keeps an image that is removed by force, and it goes with the last of them", async () => {
        const image = "short-lived:1";
        const archive = await busyboxArchive(testDir(), { reference: image, files: { mark: user.name } });
        expect((await docker("load", "-i", archive)).code).toBe(0);
        const layers = () => [...Deno.readDirSync(`${engine.dataRoot}/layers`)].length;
        const before = layers();
        expect((await docker("create", "--name", "kept", image, "cat", "/mark")).code).toBe(0);
        expect((await docker("rmi", "-f", image)).code).toBe(0);
        expect((await docker("image", "inspect", image)).code).toBe(1);
        const started = await docker("start", "-a", "kept");
        expect(started).toMatchObject({ code: 0, stdout: user.name });
        expect(layers()).toBe(before);
        expect((await docker("rm", "kept")).code).toBe(0);
        await waitFor(() => layers() === before - 1, 5_000, () => "the layer has not gone");
      });

      it("images: list, inspect, tag, import, history, rmi and their refusals", async () => {
        expect((await docker("images", "--format", "{{.Repository}}:{{.Tag}}")).stdout.split("\n")).toContain(
          "busybox:latest",
        );
        expect((await docker("tag", "busybox", "local/copy:v1")).code).toBe(0);
        expect((await docker("image", "inspect", "-f", "{{json .RepoTags}} {{.Os}}", "local/copy:v1")).stdout)
          .toMatch(/local\/copy:v1.* linux/);
        await docker("create", "--name", "user", "local/copy:v1", "true");
        const busy = await docker("rmi", "busybox", "local/copy:v1");
        expect(busy.code).toBe(1);
        expect(busy.stderr).toMatch(
          /conflict: unable to remove repository reference "local\/copy:v1" \(must force\) - container [0-9a-f]{12} is using its referenced image/,
        );
        await docker("rm", "user");
        expect((await docker("tag", "local/copy:v1", "busybox")).code).toBe(0);
        expect((await docker("rmi", "local/copy:v1")).stdout).toBe("Untagged: local/copy:v1\n");
        const none = await docker("run", "--rm", "--pull", "never", "no/such:image");
        expect(none.code).toBe(125);
        expect(none.stderr).toMatch(/No such image: no\/such:image/i);
      });
    },
  );
