/** Data roots that another berth has written. */
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { startEngine } from "../support/engine.ts";
import { describeWith } from "../support/needs.ts";
import { usersToTest } from "../support/users.ts";

describeWith().each(usersToTest())("the data root of another version as $name", (user) => {
  it("a newer one's is refused, names the part, and stays as it is; an older one's is taken over", async () => {
    await using engine = await startEngine({ user });
    expect((await engine.berth(["volume", "create", "kept"])).code).toBe(0);
    expect((await engine.berth(["create", "--name", "kept", "berth/host", "true"])).code).toBe(0);
    await engine.stop();
    const change = (sql: string) => {
      using db = new DatabaseSync(`${engine.dataRoot}/berth.db`);
      db.exec(sql);
    };
    for (const part of ["containers", "images", "networks", "volumes"]) {
      change(`UPDATE schema_versions SET version = 99 WHERE part = '${part}'`);
      await expect(engine.restart()).rejects.toThrow("the engine ended at once (125)");
      expect(engine.log()).toContain(
        `berth: the data root was written by a newer berth (${part}: version 99, this one knows 1)\n\n` +
          "Use that newer berth, or another --data-root.\n",
      );
      change(`UPDATE schema_versions SET version = 1 WHERE part = '${part}'`);
    }
    // before versions of images' tables were written down, and before there were networks, volumes and builds
    change(`DELETE FROM schema_versions WHERE part <> 'containers';
      DROP TABLE networks; DROP TABLE volumes; UPDATE containers SET record = json_remove(record, '$.network')`);
    await engine.restart();
    const shown = await engine.berth(["inspect", "-f", "{{.Name}} {{.State.Status}}", "kept"]);
    expect(shown.stdout).toBe("/kept created\n");
    expect((await engine.berth(["start", "-a", "kept"])).code).toBe(0);
    expect((await engine.berth(["run", "--rm", "berth/host", "echo", "works"])).stdout).toBe("works\n");
    expect((await engine.berth(["network", "ls", "-q"])).stdout.trim().split("\n")).toHaveLength(3);
  });
});
