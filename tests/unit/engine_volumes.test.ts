import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, it } from "vitest";
import { EventLog } from "../../engine/events.ts";
import { VolumeTable } from "../../engine/volume_table.ts";
import { type VolumeOperations, volumeOperations } from "../../engine/volumes.ts";
import type { Syscalls } from "../../ffi/syscalls.ts";

let dir: string;
let db: DatabaseSync;
let volumes: VolumeOperations;
beforeEach(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-volumes-" });
  db = new DatabaseSync(":memory:");
  const ctx = {
    // Nothing is mounted: the kernel is not asked.
    volumes: new VolumeTable(db, dir, {} as Syscalls),
    containers: { all: () => [] },
    events: new EventLog(),
  };
  volumes = volumeOperations(ctx as unknown as Parameters<typeof volumeOperations>[0]);
});
afterEach(() => {
  db.close();
  Deno.removeSync(dir, { recursive: true });
});

it("volumeList() takes a name for a pattern, as Docker does", () => {
  for (const name of ["data", "data2", "mydata"]) volumes.volumeCreate({ name });
  const named = (...names: string[]) =>
    volumes.volumeList(new Map([["name", names]])).map(({ Name }) => Name);
  expect(named("data")).toEqual(["data", "data2", "mydata"]);
  expect(named("^data$")).toEqual(["data"]);
  expect(named("^my", "2$")).toEqual(["data2", "mydata"]);
  expect(named("(")).toEqual([]);
});
