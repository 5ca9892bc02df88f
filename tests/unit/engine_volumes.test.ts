import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
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

it("volumeCreate() has the row of a named volume on disk before anybody writes into it", () => {
  db.exec("PRAGMA synchronous = NORMAL");
  const level = () => Number(db.prepare("PRAGMA synchronous").get()?.["synchronous"]);
  let during: number | undefined;
  db.function("told", () => {
    during = level();
    return null;
  });
  db.exec("CREATE TEMP TRIGGER t AFTER INSERT ON main.volumes BEGIN SELECT told(); END");
  volumes.volumeCreate({ name: "data" });
  // FULL; after it the engine's own again
  expect([during, level()]).toEqual([2, 1]);
  volumes.volumeCreate({});
  expect([during, level()]).toEqual([1, 1]);
});

it("VolumeTable.mount() makes the directory of a volume again that has lost it, with options too", () => {
  const mounted: string[] = [];
  const kernel = { mount: (_: string, target: string) => mounted.push(target) } as unknown as Syscalls;
  const table = new VolumeTable(db, dir, kernel);
  for (const options of [{}, { type: "tmpfs", device: "tmpfs" }]) {
    const { record } = table.create({ name: `v${Object.keys(options).length}`, options });
    Deno.removeSync(`${dir}/volumes/${record.name}`, { recursive: true });
    table.mount(record.name);
    expect(Deno.statSync(table.path(record.name)).isDirectory).toBe(true);
  }
  expect(mounted).toEqual([table.path("v2")]);
});

it("volumeRemove() removes no file through a mount that cannot be taken away", async () => {
  volumes.volumeCreate({ name: "data" });
  const place = `${Deno.realPathSync(dir)}/volumes/data/_data`;
  const read = Deno.readTextFileSync;
  // As if something were mounted there, and the kernel kept it.
  vi.spyOn(Deno, "readTextFileSync").mockImplementation((path) =>
    path === "/proc/self/mountinfo" ? `1 2 0:3 / ${place} rw - ext4 /dev/sda rw\n` : read(path)
  );
  try {
    await expect(volumes.volumeRemove("data", false)).rejects.toThrow(`something is mounted at ${place}`);
  } finally {
    vi.restoreAllMocks();
  }
  expect(Deno.statSync(place).isDirectory).toBe(true);
  await volumes.volumeRemove("data", false);
  expect(volumes.volumeList(new Map())).toEqual([]);
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
