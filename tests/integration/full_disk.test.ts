/** What becomes of containers when the disk that holds everything is full. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { waitFor } from "../support/processes.ts";
import { testDir } from "../support/users.ts";
import { BUSYBOX, describeWith, ROOT } from "../support/needs.ts";

// A small disk is a mount.
describeWith(ROOT, BUSYBOX)("with a full disk", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await startEngine({ smallDisk: "16m" });
    expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  /** A container whose log fills the disk before it ends with 7; the exit can be written down nowhere. */
  async function fill(name: string): Promise<void> {
    const script = `yes ${"x".repeat(70)} | head -c 20000000; exit 7`;
    expect((await engine.berth(["run", "-d", "--name", name, "busybox", "sh", "-c", script])).code).toBe(0);
    expect((await engine.berth(["wait", name])).stdout).toBe("7\n");
  }
  const status = async (name: string) =>
    (await engine.berth(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name])).stdout;

  it("a container's end is known all the same, and its removal makes room", async () => {
    await fill("first");
    expect(await status("first")).toBe("exited 7\n");
    expect((await engine.berth(["run", "--rm", "busybox", "true"])).stderr).toContain(
      "No space left on device",
    );
    expect(await engine.berth(["rm", "first"])).toMatchObject({ code: 0 });
    expect((await engine.berth(["run", "--rm", "busybox", "echo", "room"])).stdout).toBe("room\n");
  });

  it("a running container can be killed and removed", async () => {
    const script = `yes ${"x".repeat(70)}`;
    expect((await engine.berth(["run", "-d", "--name", "second", "busybox", "sh", "-c", script])).code).toBe(
      0,
    );
    await waitFor(
      async () => (await engine.berth(["run", "--rm", "busybox", "true"])).code !== 0,
      30_000,
      () => "the disk does not become full",
    );
    expect(await engine.berth(["rm", "-f", "second"])).toMatchObject({ code: 0 });
    expect((await engine.berth(["ps", "-aq"])).stdout).toBe("");
    // Shims keep what could not be written down until it is.
    const shims = () => [...Deno.readDirSync(`${engine.execRoot}/shims`)].length;
    await waitFor(() => shims() <= 1, 10_000, () => `${shims()} shims stay`);
  });
});
