/** stats, pause, update and reset of berth's command line against an engine of its own. */
import { expect } from "vitest";
import { startEngine } from "../support/engine.ts";
import { usersToTest } from "../support/users.ts";
import { describe, it } from "vitest";

describe.each(usersToTest())("resources on the command line, $name", (user) => {
  it("shows what a container uses, changes its restart policy, and removes everything", async () => {
    await using engine = await startEngine({ user });
    const ok = async (...args: string[]) => {
      const { code, stdout, stderr } = await engine.berth(args);
      expect({ args, code, stderr }).toMatchObject({ code: 0 });
      return stdout.trim();
    };
    await ok("run", "-d", "--name", "web", "berth/host", "sleep", "1000");
    const id = await ok("inspect", "-f", "{{.Id}}", "web");
    expect(await ok("stats", "--no-stream", "--format", "{{.Name}} {{.ID}}")).toBe(`web ${id.slice(0, 12)}`);
    const [headers, line] = (await ok("stats", "--no-stream", "web")).split("\n");
    expect(headers).toMatch(/^CONTAINER ID +NAME +CPU % +MEM USAGE \/ LIMIT/);
    expect(line).toMatch(new RegExp(`^${id.slice(0, 12)} +web +[\\d.]+% `));
    expect(await ok("update", "--restart", "on-failure:2", "web")).toMatch(/^web/);
    expect(await ok("inspect", "-f", "{{.HostConfig.RestartPolicy.MaximumRetryCount}}", "web")).toBe("2");
    const paused = await engine.berth(["pause", "web"]);
    if (paused.code === 0) {
      expect(await ok("ps", "--format", "{{.Status}}")).toContain("(Paused)");
      expect(await ok("unpause", "web")).toBe("web");
    } else {
      // No cgroups for this user: said, and nothing done.
      expect(paused.stderr).toMatch(/^Error response from daemon: /);
    }
    await ok("volume", "create", "kept");
    await ok("network", "create", "net1");
    await ok("system", "reset", "-f");
    expect(await ok("ps", "-aq")).toBe("");
    expect(await ok("volume", "ls", "-q")).toBe("");
    expect(await ok("network", "ls", "-q", "-f", "type=custom")).toBe("");
    expect(await ok("doctor", "--format", "{{.Name}}={{.Works}}")).toMatch(/^engine=yes$/m);
  });
});
