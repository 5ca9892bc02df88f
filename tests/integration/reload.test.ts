/** SIGHUP: the engine takes over what daemon.json says now. */
import { expect, it } from "vitest";
import { startEngine } from "../support/engine.ts";
import { describeWith } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { testDir, usersToTest } from "../support/users.ts";

describeWith().each(usersToTest())("SIGHUP to the engine of $name", (user) => {
  it("changes what may change, tells it by an event, and keeps everything when the file is wrong", async () => {
    const file = `${testDir()}/daemon-${user.uid}.json`;
    const write = (text: string) => Deno.writeTextFileSync(file, text);
    write(JSON.stringify({ labels: ["a=1"] }));
    await using engine = await startEngine({ user, args: ["--config-file", file] });
    const info = async () =>
      JSON.parse((await engine.berth(["info", "--format", "json"])).stdout) as {
        ID: string;
        Name: string;
        Labels: string[];
        Debug: boolean;
        RegistryConfig: { Mirrors: string[] | null; IndexConfigs: Record<string, { Secure: boolean }> };
      };
    const shims = () => [...Deno.readDirSync(`${engine.execRoot}/shims`)].length;
    expect(await info()).toMatchObject({ Labels: ["a=1"], Debug: false });

    write(JSON.stringify({
      labels: ["a=2", "b="],
      debug: true,
      "insecure-registries": ["registry.example:5000"],
      "registry-mirrors": ["http://mirror.example"],
      "default-shm-size": "3m",
      "default-ipc-mode": "shareable",
      "max-concurrent-downloads": 1,
      "no-new-privileges": true,
      "shim-pool": 3,
    }));
    Deno.kill(engine.pid, "SIGHUP");
    await waitFor(async () => (await info()).Debug, 10_000, () => engine.log());
    const { ID, Name, Labels, RegistryConfig } = await info();
    expect(Labels).toEqual(["a=2", "b="]);
    expect(RegistryConfig.Mirrors).toEqual(["http://mirror.example"]);
    expect(RegistryConfig.IndexConfigs["registry.example:5000"]).toMatchObject({ Secure: false });
    await waitFor(() => shims() === 3, 15_000, () => `${shims()} shims`);
    const run = await engine.berth(["run", "--rm", "berth/host", "sh", "-c", "df -P /dev/shm | tail -1"]);
    expect(run.stdout).toMatch(/^shm\s+3072\s/);
    const privileges = await engine.berth([
      "run",
      "--rm",
      "berth/host",
      "grep",
      "NoNewPrivs",
      "/proc/self/status",
    ]);
    expect(privileges.stdout).toMatch(/^NoNewPrivs:\s1$/m);
    const asked = ["--security-opt", "no-new-privileges=false"];
    const granted = await engine.berth([
      "run",
      "--rm",
      ...asked,
      "berth/host",
      "grep",
      "NoNewPrivs",
      "/proc/self/status",
    ]);
    expect(granted.stdout).toMatch(/^NoNewPrivs:\s0$/m);
    const events = await engine.berth([
      "events",
      "--since",
      "0",
      "--until",
      (Date.now() / 1000).toFixed(3),
      "--filter",
      "type=daemon",
      "--format",
      "json",
    ]);
    expect(JSON.parse(events.stdout)).toMatchObject({
      Type: "daemon",
      Action: "reload",
      Actor: {
        ID,
        Attributes: {
          name: Name,
          debug: "true",
          labels: '["a=2","b="]',
          "max-concurrent-downloads": "1",
          "default-ipc-mode": "shareable",
          "live-restore": "true",
          "insecure-registries": '["registry.example:5000"]',
          "registry-mirrors": '["http://mirror.example"]',
          "shim-pool": "3",
        },
      },
    });

    for (
      const [wrong, said] of [["{", "unable to configure"], [
        '{"labels": 3}',
        "labels: must be a list",
      ]] as const
    ) {
      write(wrong);
      Deno.kill(engine.pid, "SIGHUP");
      await waitFor(() => engine.log().includes(said), 10_000, () => engine.log());
      expect((await info()).Labels).toEqual(["a=2", "b="]);
    }

    // The data root is a flag of this engine: naming it in the file as well is refused, as at the start.
    write(JSON.stringify({ "shim-pool": 0, "data-root": "/elsewhere" }));
    Deno.kill(engine.pid, "SIGHUP");
    await waitFor(() => engine.log().includes("both as a flag"), 10_000, () => engine.log());
    write(JSON.stringify({ "shim-pool": 0, "storage-driver": "vfs" }));
    Deno.kill(engine.pid, "SIGHUP");
    await waitFor(() => shims() === 0, 15_000, () => `${shims()} shims`);
    expect(engine.log()).toContain("only a restart of the engine changes: storageDriver");
    expect((await info()).Labels).toEqual([]);
  });
});
