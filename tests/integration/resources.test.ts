/** stats, update and pause where nothing is delegated: what tests/vm shows of the rest. */
import { expect, it } from "vitest";
import { waitFor } from "../support/processes.ts";
import { BUSYBOX, describeWith, need } from "../support/needs.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { usersToTest } from "../support/users.ts";

const busy = ["run", "-d", "--network", "none", "berth/host", "sh", "-c", "while :; do :; done"];

async function withBusy(
  user: Parameters<typeof startEngine>[0],
  use: (engine: Engine, id: string) => Promise<void>,
) {
  await using engine = await startEngine({ ...user, args: ["--cgroup-driver", "none"] });
  const { stdout, stderr } = await engine.berth(busy);
  expect(stderr).toBe("");
  await use(engine, stdout.trim());
}

const DOCKER = need(
  new Deno.Command("sh", { args: ["-c", "command -v docker"] }).outputSync().success,
  "docker is not installed",
);

describeWith(BUSYBOX, DOCKER).each(usersToTest())("an engine of $name without cgroups", (user) => {
  it("adds up the processes for stats, says why it cannot pause, and changes the restart policy", async () => {
    await withBusy({ user }, async (engine, id) => {
      const format = "{{.CPUPerc}} {{.PIDs}}";
      await waitFor(
        async () => {
          const { stdout } = await engine.docker(["stats", "--no-stream", "--format", format, id]);
          const [, percent, pids] = /^([\d.]+)% (\d+)/.exec(stdout) ?? [];
          return Number(percent) > 1 && pids === "1";
        },
        30_000,
        () => "no statistics",
      );
      const paused = await engine.docker(["pause", id]);
      expect(paused.code).not.toBe(0);
      expect(paused.stderr).toContain("it has no cgroup");
      const updated = await engine.docker(["update", "--restart", "on-failure:3", "--pids-limit", "5", id]);
      expect(updated.stdout + updated.stderr).toContain("PIDs limit discarded");
      const shown = await engine.docker(["inspect", "-f", "{{json .HostConfig.RestartPolicy}}", id]);
      expect(JSON.parse(shown.stdout)).toEqual({ Name: "on-failure", MaximumRetryCount: 3 });
      await engine.berth(["kill", id]);
      const stopped = await engine.docker([
        "stats",
        "--no-stream",
        "--format",
        "{{.MemUsage}} {{.PIDs}}",
        id,
      ]);
      expect(stopped.stdout.trim()).toBe("0B / 0B 0");
    });
  });
});
