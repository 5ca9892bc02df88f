import { describe, expect, test } from "vitest";
import { runBerth } from "../support/berth_cli.ts";
import { type Handler, scriptedEngine } from "../support/scripted_engine.ts";

const INFO = {
  ServerVersion: "1.2.3",
  Driver: "overlay",
  DriverStatus: [["Backing Filesystem", "extfs"]],
  DockerRootDir: "/",
  CgroupDriver: "none",
  CgroupVersion: "1",
};
const PATHS = {
  hostPid: 1,
  outbound: "tproxy",
  paths: [
    { name: "tun", works: true, detail: "/dev/net/tun" },
    { name: "ping", works: false, detail: "shut", hint: "Type:\nsudo sysctl …" },
  ],
};

const engine = (info: object, isBerth = true): Handler => async ({ target }, connection) => {
  if (target.endsWith("/info")) return await connection.answer(200, info);
  if (isBerth && target.includes("/berth/network?")) return await connection.answer(200, PATHS);
  await connection.answer(404, { message: "page not found" });
};

describe("berth doctor", () => {
  test("tells what works and what to type, of the machine, the engine and its networks", async () => {
    await using scripted = scriptedEngine(engine(INFO));
    const { code, stdout } = await runBerth(["-H", scripted.host, "doctor"]);
    expect(code).toBe(0);
    const lines = stdout.split("\n").map((line) => line.replace(/ +/g, " "));
    expect(lines).toContain(`engine yes version 1.2.3 at ${scripted.host}`);
    expect(lines).toContain("storage yes overlay on extfs");
    expect(lines).toContain("cgroups no version 1, nothing delegated: no limits, no pause");
    expect(lines).toContain("network ping no shut");
    expect(stdout).toMatch(/^user-namespaces +(yes|no) /m);
    expect(stdout).toMatch(/^disk +(yes|no) +\S+ free at \/$/m);
    expect(stdout).toContain("\nnetwork ping:\n  Type:\n  sudo sysctl …\n");
    expect(stdout).toContain("  systemd.unified_cgroup_hierarchy=1");
    // Nothing is advised about what works.
    expect(stdout).not.toContain("\nstorage:\n");
  });

  test("names the controllers that are not delegated", async () => {
    const some = { ...INFO, CgroupDriver: "systemd", CgroupVersion: "2", MemoryLimit: true, PidsLimit: true };
    await using scripted = scriptedEngine(engine(some));
    const args = ["-H", scripted.host, "doctor", "--format", "{{.Name}}={{.Works}} {{.Detail}}"];
    expect((await runBerth(args)).stdout).toContain(
      "cgroups=no version 2 by systemd, not delegated: cpu, cpuset\n",
    );
  });

  test("says of another's engine that it has no network of berth's", async () => {
    await using scripted = scriptedEngine(engine(INFO, false));
    const { code, stdout } = await runBerth(["-H", scripted.host, "doctor"]);
    expect(code).toBe(0);
    expect(stdout).toContain(`${scripted.host} is no engine of berth's\n`);
  });

  test("exits with 1 where no engine can be had", async () => {
    const { code, stdout } = await runBerth(["-H", "unix:///nonexistent/s", "doctor"]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^engine +no +Cannot connect to the Docker daemon at unix:\/\/\/nonexistent\/s\./m,
    );
  });
});
