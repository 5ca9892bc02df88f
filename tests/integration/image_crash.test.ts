/** The engine dies at random moments of commits, saves and imports: nothing is lost, nothing is left, and it works again. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { DatabaseSync } from "node:sqlite";
import { createHash } from "node:crypto";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { runAs, testDir, usersToTest } from "../support/users.ts";

/** How often each; BERTH_CRASHES=20 for the long run. */
const CRASHES = Number(Deno.env.get("BERTH_CRASHES") ?? 4);
const SIZE = 24_000_000;

describeWith(BUSYBOX)("kill -9 of the engine at random moments", () => {
  const user = usersToTest()[0] ?? { name: "root", uid: 0, gid: 0 };
  let engine: Engine;
  let dir: string;
  let rootfs: string;

  beforeAll(async () => {
    // of the engine's user: the command line writes there
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "image-crash-" });
    Deno.chmodSync(dir, 0o777);
    engine = await startEngine({ user });
    let noise = "";
    while (noise.length < SIZE) noise += crypto.getRandomValues(new Uint8Array(32_768)).toHex();
    const archive = await busyboxArchive(dir, { reference: "base:1", files: { noise } });
    expect((await engine.berth(["load", "-q", "-i", archive])).code).toBe(0);
    const write = "cp /noise /copy; for i in $(seq 300); do echo $i >/f$i; done; rm /etc/group; sync";
    const run = await engine.berth(["run", "--name", "cc", "--network=none", "base:1", "sh", "-c", write]);
    expect(run).toMatchObject({ code: 0, stderr: "" });
    rootfs = `${dir}/rootfs.tar`;
    expect((await engine.berth(["export", "-o", rootfs, "cc"])).code).toBe(0);
    Deno.chmodSync(rootfs, 0o644);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    Deno.removeSync(dir, { recursive: true });
  });

  const namesIn = (path: string): string[] => {
    try {
      return [...Deno.readDirSync(`${engine.dataRoot}/${path}`)].map((entry) => entry.name).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  };

  /** Database and directories say the same, and nothing is there that belongs to nobody. */
  const expectConsistent = async (): Promise<void> => {
    expect(namesIn("tmp")).toEqual([]);
    await waitFor(() => namesIn("trash").length === 0, 15_000, () => `trash: ${namesIn("trash")}`);
    using db = new DatabaseSync(`${engine.dataRoot}/berth.db`, { readOnly: true });
    const column = (sql: string) => db.prepare(sql).all().map((row) => String(Object.values(row)[0])).sort();
    const hex = (digests: string[]) => digests.map((digest) => digest.replace(/^sha256:/, ""));
    expect(column("PRAGMA integrity_check")).toEqual(["ok"]);
    expect(column("PRAGMA foreign_key_check")).toEqual([]);
    expect(namesIn("layers")).toEqual(hex(column("SELECT chain_id FROM image_layers")));
    expect(namesIn("blobs/sha256")).toEqual(hex(column("SELECT digest FROM image_blobs")));
    expect(column("SELECT chain_id FROM image_layers EXCEPT SELECT chain_id FROM image_stacks")).toEqual([]);
    const needless = `SELECT digest FROM image_blobs EXCEPT SELECT digest FROM image_manifests
      EXCEPT SELECT digest FROM image_layer_blobs JOIN image_layers USING (diff_id)`;
    expect(column(needless)).toEqual([]);
    for (const name of namesIn("blobs/sha256")) {
      const hash = createHash("sha256");
      using file = await Deno.open(`${engine.dataRoot}/blobs/sha256/${name}`);
      for await (const chunk of file.readable) hash.update(chunk);
      expect(hash.digest("hex")).toBe(name);
    }
  };

  /** The image's own files are right. */
  const expectUsable = async (name: string): Promise<void> => {
    const look = "cmp /noise /copy && cat /f300 && test ! -e /etc/group";
    const run = await engine.berth(["run", "--rm", "--network=none", name, "sh", "-c", look]);
    expect(run).toMatchObject({ code: 0, stdout: "300\n", stderr: "" });
  };

  const operations: Readonly<Record<string, { args: () => string[]; after: () => Promise<void> }>> = {
    commit: { args: () => ["commit", "cc", "made:1"], after: () => expectUsable("made:1") },
    import: { args: () => ["import", rootfs, "made:1"], after: () => expectUsable("made:1") },
    save: {
      args: () => ["save", "-o", `${dir}/saved.tar`, "base:1"],
      after: async () => {
        const list = await runAs(user, ["tar", "-tf", `${dir}/saved.tar`]);
        expect(list).toMatchObject({ code: 0, stderr: "" });
        // no half of one from before
        expect([...Deno.readDirSync(dir)].filter(({ name }) => name.startsWith(".berth_temp_"))).toEqual([]);
        Deno.removeSync(`${dir}/saved.tar`);
      },
    },
  };

  it.each(Object.keys(operations))(
    `in a %s, ${CRASHES} times`,
    async (kind) => {
      const operation = operations[kind];
      if (operation === undefined) throw new Error(kind);
      const clean = async () => {
        if (kind === "save") return;
        expect((await engine.berth(["rmi", "-f", "made:1"])).code).toBe(0);
        // one that was whole before the kill, and has lost its name to the one after
        expect((await engine.berth(["image", "prune", "-f"])).code).toBe(0);
      };
      // how long it takes: the moments are spread over all of it
      const begun = performance.now();
      expect((await engine.berth(operation.args())).code).toBe(0);
      const span = performance.now() - begun;
      await operation.after();
      await clean();
      await expectConsistent();
      const layers = namesIn("layers"), blobs = namesIn("blobs/sha256");
      let interrupted = 0;
      for (let i = 0; i < CRASHES; i++) {
        const working = engine.berth(operation.args());
        await new Promise((resolve) => setTimeout(resolve, ((i + Math.random()) / CRASHES) * span));
        await engine.kill9();
        if ((await working).code !== 0) interrupted++;
        await engine.restart();
        await expectConsistent();
        const again = await engine.berth(operation.args());
        expect(again.stderr).toBe("");
        expect(again.code).toBe(0);
        await operation.after();
        await expectConsistent();
        await clean();
        expect([namesIn("layers"), namesIn("blobs/sha256")]).toEqual([layers, blobs]);
      }
      expect(interrupted).toBeGreaterThan(0);
    },
    60_000 + CRASHES * 15_000,
  );
});
