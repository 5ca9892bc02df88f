import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EngineError } from "../../base/errors.ts";
import { ContainerTable } from "../../engine/container_table.ts";
import { Store } from "../../engine/store.ts";
import { createdRecord } from "../support/engine_records.ts";

let dir: string;
beforeEach(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-store-" });
});
afterEach(() => Deno.removeSync(dir, { recursive: true }));

function thrown(work: () => unknown): EngineError {
  try {
    work();
  } catch (error) {
    if (error instanceof EngineError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("Store", () => {
  it("gives records back in order, as the last change left them, after it was opened again", () => {
    {
      using store = new Store(`${dir}/berth.db`);
      expect((Deno.statSync(`${dir}/berth.db`).mode ?? 0) & 0o777).toBe(0o600);
      expect((Deno.statSync(`${dir}/berth.db-wal`).mode ?? 0) & 0o777).toBe(0o600);
      store.insert(createdRecord(2));
      store.insert(createdRecord(1), "process");
      store.update(createdRecord(2, { restartCount: 7 }));
      store.insert(createdRecord(3));
      store.delete(createdRecord(3).id);
    }
    using again = new Store(`${dir}/berth.db`);
    expect(again.all()).toEqual([createdRecord(2, { restartCount: 7 }), createdRecord(1)]);
  });

  it("waits for the disk where somebody may read it after a power failure, and nowhere else", () => {
    const synchronous = (store: Store) =>
      Number(store.db.prepare("PRAGMA synchronous").get()?.["synchronous"]);
    for (const disposable of [false, true]) {
      using store = new Store(`${dir}/${disposable}.db`, disposable);
      const seen = [synchronous(store)];
      store.insert(createdRecord(1));
      seen.push(synchronous(store));
      store.update(createdRecord(1));
      seen.push(synchronous(store));
      // OFF is 0, NORMAL 1, FULL 2
      expect(seen).toEqual(disposable ? [0, 0, 0] : [1, 2, 1]);
    }
  });

  it("sees what another connection has committed, also when that one was never closed", () => {
    const crashed = new Store(`${dir}/berth.db`);
    crashed.insert(createdRecord(1));
    using store = new Store(`${dir}/berth.db`);
    expect(store.all()).toHaveLength(1);
    crashed.close();
  });

  it("refuses a second container of the same name and keeps the first", () => {
    using store = new Store(`${dir}/berth.db`);
    store.insert(createdRecord(1));
    const error = thrown(() => store.insert(createdRecord(2, { name: "box1" })));
    expect(error.kind).toBe("conflict");
    expect(store.all()).toEqual([createdRecord(1)]);
  });

  it("does not bring a removed container back by a late update", () => {
    using store = new Store(`${dir}/berth.db`);
    store.update(createdRecord(1));
    expect(store.all()).toEqual([]);
  });

  it("refuses a store of a newer berth", () => {
    new Store(`${dir}/berth.db`).close();
    const db = new DatabaseSync(`${dir}/berth.db`);
    db.exec("UPDATE schema_versions SET version = 99 WHERE part = 'containers'");
    db.close();
    expect(thrown(() => new Store(`${dir}/berth.db`)).message).toContain("written by a newer berth");
  });

  it("says which file is no database", () => {
    Deno.writeTextFileSync(
      `${dir}/berth.db`,
      "this is not SQLite, and long enough to have a header ".repeat(40),
    );
    expect(thrown(() => new Store(`${dir}/berth.db`)).message).toContain(`cannot open ${dir}/berth.db`);
  });
});

describe("ContainerTable", () => {
  it("finds by id, name, slash and name, and unique prefix", () => {
    using store = new Store(":memory:");
    const one = createdRecord(1, { id: `aa${"01".repeat(31)}` });
    const two = createdRecord(2, { id: `ab${"02".repeat(31)}` });
    store.insert(one);
    store.insert(two);
    const table = new ContainerTable(store);
    for (const reference of [one.id, "box1", "/box1", "aa", one.id.slice(0, 12)]) {
      expect(table.find(reference).id).toBe(one.id);
    }
    expect(thrown(() => table.find("a")).message).toBe("multiple IDs found with provided prefix: a");
    expect(thrown(() => table.find("ac")).message).toBe("No such container: ac");
    expect(thrown(() => table.find("")).kind).toBe("not-found");
  });

  it("prefers a name over the prefix of an id", () => {
    using store = new Store(":memory:");
    store.insert(createdRecord(1, { id: "cafe".repeat(16) }));
    store.insert(createdRecord(2, { name: "cafe" }));
    expect(new ContainerTable(store).find("cafe").id).toBe(createdRecord(2).id);
  });

  it("keeps a name for the creation that reserved it, and frees it on release and removal", () => {
    using store = new Store(":memory:");
    const table = new ContainerTable(store);
    const record = createdRecord(1);
    table.reserve("box1", record.id);
    expect(thrown(() => table.reserve("box1", "other")).message).toBe(
      `Conflict. The container name "/box1" is already in use by container "${record.id}". ` +
        "You have to remove (or rename) that container to be able to reuse that name.",
    );
    table.release("box1", "other");
    expect(table.hasName("box1")).toBe(true);
    const container = table.add(record, "process");
    table.reserve("renamed", record.id);
    table.rename(container, "renamed");
    expect([table.hasName("box1"), table.find("renamed")]).toEqual([false, container]);
    table.delete(container);
    expect([table.hasName("renamed"), table.all(), store.all()]).toEqual([false, [], []]);
  });

  it("writes each change through and tells who watches", () => {
    using store = new Store(":memory:");
    const table = new ContainerTable(store);
    const container = table.add(createdRecord(1), "process");
    let seen = 0;
    const stop = container.watch(() => seen++);
    table.saveState(container, { status: "running", pid: 42 }, { starts: 1 });
    stop();
    table.save(container, { restartCount: 1 });
    expect(seen).toBe(1);
    expect(store.all()[0]).toMatchObject({
      starts: 1,
      restartCount: 1,
      state: { status: "running", pid: 42 },
    });
  });
});
