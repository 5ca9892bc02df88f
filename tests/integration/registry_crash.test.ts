/** Engine and registry die at random moments of pulls and loads: afterwards the pull completes and nothing is left over. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { REGISTRY, Registry } from "../support/registry.ts";
import { testDir, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";

/** How often each; BERTH_CRASHES=50 for the long run. */
const CRASHES = Number(Deno.env.get("BERTH_CRASHES") ?? 4);
/** Bytes of the large file: a pull then takes about as long as the moments are spread. */
const SIZE = 24_000_000;
const MOMENTS_MS = 500;

describeWith(REGISTRY, BUSYBOX)("kill -9 at random moments", () => {
  let engine: Engine;
  let registry: Registry;
  let dir: string;
  let archive: string;
  let name: string;

  beforeAll(async () => {
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "crash-" });
    Deno.chmodSync(dir, 0o755);
    registry = await Registry.start({ dir });
    engine = await startEngine({ user: usersToTest()[0] ?? { name: "root", uid: 0, gid: 0 } });
    name = `${registry.host}/crash/busybox:1`;
    let noise = "";
    while (noise.length < SIZE) noise += crypto.getRandomValues(new Uint8Array(32_768)).toHex();
    archive = await busyboxArchive(dir, { reference: name, files: { noise } });
    expect((await engine.berth(["load", "-i", archive])).code).toBe(0);
    expect((await engine.berth(["push", "-q", name])).code).toBe(0);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    Deno.removeSync(dir, { recursive: true });
  });

  const namesIn = (path: string): string[] => {
    try {
      return [...Deno.readDirSync(`${engine.dataRoot}/${path}`)].map((entry) => entry.name);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  };

  /** The bytes of everything that the image consists of, as a container sees them. */
  const fingerprint = async (): Promise<string> => {
    const run = await engine.berth([
      "run",
      "--rm",
      "--network=none",
      name,
      "sh",
      "-c",
      "sha256sum /noise /bin/busybox",
    ]);
    expect(run.stderr).toBe("");
    return run.stdout;
  };

  it.each([["engine", "pull"], ["registry", "pull"], ["engine", "load"]])(
    "of the %s in a %s",
    async (victim, operation) => {
      const expected = await fingerprint();
      const args = operation === "pull" ? ["pull", name] : ["load", "-i", archive];
      let interrupted = 0;
      for (let i = 0; i < CRASHES; i++) {
        expect((await engine.berth(["rmi", "-f", name])).code).toBe(0);
        const working = engine.berth(args);
        await new Promise((resolve) => setTimeout(resolve, ((i + Math.random()) / CRASHES) * MOMENTS_MS));
        if (victim === "engine") {
          await engine.kill9();
          if ((await working).code !== 0) interrupted++;
          await engine.restart();
        } else {
          await registry.kill9();
          await registry.start();
          // it goes on where it was, or has failed for good
          if ((await working).code !== 0) interrupted++;
        }
        const again = await engine.berth(args);
        expect(again.stderr).toBe("");
        expect(again.code).toBe(0);
        expect(await fingerprint()).toBe(expected);
        expect(namesIn("tmp")).toEqual([]);
        // the image's own and berth/host's
        expect(namesIn("layers")).toHaveLength(2);
      }
      if (victim === "engine") expect(interrupted).toBeGreaterThan(0);
      const blobs = namesIn("blobs/sha256").length;
      expect((await engine.berth(["rmi", "-f", name])).code).toBe(0);
      expect(namesIn("layers")).toHaveLength(1);
      // what is left is berth/host's
      expect(namesIn("blobs/sha256").length).toBeLessThan(Math.max(blobs, 1));
      expect(namesIn("blobs/sha256").length).toBeLessThanOrEqual(1);
      expect((await engine.berth(["pull", "-q", name])).code).toBe(0);
    },
    60_000 + CRASHES * 10_000,
  );
});
