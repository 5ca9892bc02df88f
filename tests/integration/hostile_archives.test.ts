/** Archives that mean harm, given to a real engine: each is refused with its reason or contained, and nothing of it is left. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Engine, startEngine } from "../support/engine.ts";
import { hostileArchives } from "../support/hostile_archives.ts";
import { waitFor } from "../support/processes.ts";
import { TAR_END, tarHeader } from "../../fs/tar/mod.ts";
import { testDir, usersToTest } from "../support/users.ts";

/** All sizes as issues and manuals name them; without it what takes minutes is smaller. */
const FULL = Deno.env.get("BERTH_HOSTILE_FULL") === "1";

describe.each(usersToTest())("hostile archives as $name", (user) => {
  let engine: Engine;
  const archive = `${testDir()}/hostile-${user.uid}.tar`;
  const outside = `${testDir()}/outside-${user.uid}`;
  const canary = `${outside}/canary`;
  let before = "";

  /** Everything that could be told of the directory outside. */
  const look = () =>
    JSON.stringify(
      [...Deno.readDirSync(outside)].map(({ name }) => name).sort().concat(".").map((name) => {
        const { mode, uid, gid, nlink, mtime, size } = Deno.lstatSync(`${outside}/${name}`);
        return { name, mode, uid, gid, nlink, mtime, size };
      }),
    ) + Deno.readTextFileSync(canary);

  beforeAll(async () => {
    Deno.mkdirSync(outside, { mode: 0o755 });
    Deno.writeTextFileSync(canary, "alive");
    Deno.chownSync(outside, user.uid, user.gid);
    Deno.chownSync(canary, user.uid, user.gid);
    before = look();
    engine = await startEngine({ user });
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    Deno.removeSync(outside, { recursive: true });
    Deno.removeSync(archive);
  });

  const left = (name: string) => {
    try {
      return [...Deno.readDirSync(`${engine.dataRoot}/${name}`)].map((entry) => entry.name);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  };
  const load = async (...args: string[]) => {
    const { pid } = engine;
    const run = await engine.berth(args, { timeout: 300_000 });
    expect(engine.pid, engine.log()).toBe(pid);
    return { code: run.code, said: run.stdout + run.stderr };
  };
  /** No image, layer, temporary file or change outside. */
  const expectClean = async () => {
    expect(look()).toBe(before);
    expect(left("tmp")).toEqual([]);
    const images = (await engine.berth(["images", "-aq"])).stdout.split("\n").filter((id) => id !== "");
    if (images.length > 0) expect((await engine.berth(["rmi", "-f", ...images])).code).toBe(0);
    await waitFor(
      () => [...left("trash"), ...left("layers")].length === 0,
      60_000,
      () => `left: ${left("trash")} ${left("layers")}`,
    );
  };

  it.each(hostileArchives(canary))("$name", async ({ bytes, outcome }) => {
    Deno.writeFileSync(archive, bytes());
    const { code, said } = await load("load", "-i", archive);
    if (outcome !== "contained") {
      expect(said).toMatch(outcome);
      expect(code).toBe(1);
      expect((await engine.berth(["images", "-aq"])).stdout).toBe("");
    } else expect(said).toMatch(/^Loaded image|no such file|not a directory|too many levels/im);
    await expectClean();
  });

  it("refuses the same in an archive of import, with one line", async () => {
    for (const name of ["../x", "a/../../x"]) {
      Deno.writeFileSync(archive, Uint8Array.from([...tarHeader({ name }), ...TAR_END]));
      const { code, said } = await load("import", archive, "hostile:2");
      expect(code).toBe(1);
      expect(said).toMatch(/outside of the archive's root/);
      expect(said.trim().split("\n")).toHaveLength(1);
      await expectClean();
    }
  });

  const count = FULL ? 1_000_000 : 30_000;
  it(`takes ${count} empty files and gives them back`, { timeout: 600_000 }, async () => {
    {
      using out = Deno.openSync(archive, { write: true, create: true, truncate: true });
      let batch: Uint8Array[] = [];
      for (let i = 0; i < count; i++) {
        batch.push(tarHeader({ name: `d${i >> 12}/file-${i}` }));
        if (batch.length < 1024 && i < count - 1) continue;
        const whole = new Uint8Array(batch.length * 512);
        batch.forEach((block, at) => whole.set(block, at * 512));
        for (let at = 0; at < whole.length;) at += out.writeSync(whole.subarray(at));
        batch = [];
      }
      out.writeSync(TAR_END);
    }
    const { code, said } = await load("import", archive, "hostile:many");
    expect(said).toMatch(/^sha256:/);
    expect(code).toBe(0);
    const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(Deno.readTextFileSync(`/proc/${engine.pid}/status`))?.[1]);
    console.log(
      `${count} empty files, after all other archives: engine's peak ${Math.round(peak / 1024)} MiB`,
    );
    await expectClean();
  });
});
