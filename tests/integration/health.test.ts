/** Health checks, as docker's command line shows them. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { testDir, usersToTest } from "../support/users.ts";

describe.each(usersToTest())("health checks, $name", (user) => {
  describeWith(BUSYBOX, program("docker", "docker.io"))("with docker", () => {
    let engine: Engine;
    const docker = async (...args: string[]) => {
      const result = await engine.docker(args);
      if (result.code !== 0) throw new Error(`docker ${args.join(" ")}: ${result.stderr}`);
      return result.stdout.trim();
    };
    const health = async (name: string) =>
      JSON.parse(await docker("inspect", "-f", "{{json .State.Health}}", name));
    const becomes = (name: string, status: string) =>
      waitFor(
        async () => (await health(name)).Status === status,
        20_000,
        () => `${name} does not become ${status}`,
      );

    beforeAll(async () => {
      engine = await startEngine({ user });
      expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
    });

    it("goes from starting to healthy, to unhealthy and back, with events", async () => {
      await docker(
        ...["run", "-d", "--name", "web", "--health-cmd", "echo look; cat /ok", "--health-interval", "100ms"],
        ...["--health-retries", "2", "busybox", "sleep", "1000"],
      );
      expect(await docker("ps", "--format", "{{.Status}}")).toMatch(
        /^Up .* \((health: starting|unhealthy)\)$/,
      );
      await becomes("web", "unhealthy");
      const bad = await health("web");
      expect(bad.FailingStreak).toBeGreaterThanOrEqual(2);
      expect(bad.Log.at(-1)).toMatchObject({ ExitCode: 1 });
      expect(bad.Log.at(-1).Output).toContain("look\n");
      expect(bad.Log.at(-1).Output).toContain("can't open '/ok'");
      await docker("exec", "web", "touch", "/ok");
      await becomes("web", "healthy");
      expect(await health("web")).toMatchObject({ FailingStreak: 0 });
      expect((await health("web")).Log.length).toBeLessThanOrEqual(5);
      expect(await docker("ps", "--format", "{{.Status}}")).toMatch(/^Up .* \(healthy\)$/);
      expect(await docker("ps", "-q", "--filter", "health=healthy")).not.toBe("");
      expect(await docker("ps", "-q", "--filter", "health=unhealthy")).toBe("");
      const events = await docker(
        "events",
        "--since",
        "1h",
        "--until=-1s",
        "--filter",
        "event=health_status",
        "--format",
        "{{.Action}}",
      );
      expect(events.split("\n")).toEqual(["health_status: unhealthy", "health_status: healthy"]);
      await docker("stop", "-t", "0", "web");
      expect(await health("web")).toMatchObject({ Status: "unhealthy" });
      await docker("rm", "web");
    });

    it("lets a check that takes too long count as failed, and ends it", async () => {
      await docker(
        ...[
          "run",
          "-d",
          "--name",
          "slow",
          "--health-cmd",
          "echo begun; sleep 777",
          "--health-interval",
          "50ms",
        ],
        ...["--health-timeout", "300ms", "--health-retries", "1", "busybox", "sleep", "1000"],
      );
      await becomes("slow", "unhealthy");
      expect((await health("slow")).Log[0]).toMatchObject({
        ExitCode: -1,
        Output: "Health check exceeded timeout (300ms): begun\n",
      });
      await docker("rm", "-f", "slow");
    });

    it("forgives failures while the container starts, and looks more often then", async () => {
      await docker(
        ...["run", "-d", "--name", "late", "--health-cmd", "test -e /ok", "--health-interval", "1h"],
        ...["--health-start-period", "1h", "--health-start-interval", "50ms", "--health-retries", "1"],
        ...["busybox", "sleep", "1000"],
      );
      await waitFor(async () => (await health("late")).Log.length >= 3, 20_000, () => "it is not checked");
      expect(await health("late")).toMatchObject({ Status: "starting", FailingStreak: 0 });
      await docker("exec", "late", "touch", "/ok");
      await becomes("late", "healthy");
      await docker("rm", "-f", "late");
    });

    it("is inherited from the image and can be switched off; a new engine goes on checking", async () => {
      await docker("create", "--name", "maker", "busybox");
      const check = 'HEALTHCHECK --interval=100ms CMD ["test", "-e", "/ok"]';
      await docker("commit", "--change", check, "maker", "checked");
      await docker("rm", "maker");
      await docker("run", "-d", "--name", "off", "--no-healthcheck", "checked", "sleep", "1000");
      expect(await health("off")).toBe(null);
      await docker("run", "-d", "--name", "on", "checked", "sh", "-c", "touch /ok; sleep 1000");
      await becomes("on", "healthy");
      await engine.kill9();
      await engine.restart();
      await becomes("on", "healthy");
      await docker("exec", "on", "rm", "/ok");
      await becomes("on", "unhealthy");
      await docker("rm", "-f", "on", "off");
    });
  });
});
