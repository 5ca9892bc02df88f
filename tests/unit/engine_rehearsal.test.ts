import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, it } from "vitest";
import { rehearseRun } from "../../api/rehearsal.ts";
import type { EngineContext } from "../../engine/context.ts";
import { BerthEngine } from "../../engine/engine.ts";
import { rehearsalContext } from "../../engine/rehearsal.ts";
import { DEFAULT_GC } from "../../engine/build_gc.ts";
import { ImageStore } from "../../image/image_store.ts";
import { FACTS } from "../support/records.ts";

let dir: string;
beforeEach(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-rehearsal-" });
});
afterEach(() => Deno.removeSync(dir, { recursive: true }));

/** An engine whose every part but facts and defaults must not be touched: there are none. */
const OUTSIDE = {
  facts: FACTS,
  defaults: {
    shmSize: 0,
    ulimits: [],
    init: false,
    logDriver: "json-file",
    logOpts: {},
    nofile: { soft: "1024", hard: "4096" },
  },
} as unknown as EngineContext;

function engineOn(stage: EngineContext, db: DatabaseSync): BerthEngine {
  const images = ImageStore.open({ db, root: dir, driver: stage.driver, singleId: false });
  return new BerthEngine(stage, images, {
    id: "",
    labels: [],
    debug: false,
    buildGc: DEFAULT_GC,
    registry: {} as never,
    warnings: [],
  });
}

it("rehearseRun() plays a whole run, twice, and leaves no container and no file", async () => {
  using stage = rehearsalContext(OUTSIDE, dir);
  using db = new DatabaseSync(":memory:");
  const engine = engineOn(stage, db);
  await rehearseRun(engine);
  await rehearseRun(engine);
  const one = ["create", "attach", "connect", "start", "die", "disconnect", "destroy"];
  const actions = stage.events.history().map((event) => event.Action);
  expect(actions.toSorted()).toEqual([...one, ...one].toSorted());
  expect(stage.containers.all()).toEqual([]);
  expect([...Deno.readDirSync(`${dir}/containers`)]).toEqual([]);
});

it("rehearseRun() says when a request is refused", async () => {
  using stage = rehearsalContext(OUTSIDE, dir);
  using db = new DatabaseSync(":memory:");
  const engine = engineOn(stage, db);
  engine.start = () => Promise.reject(new Error("no"));
  await expect(rehearseRun(engine)).rejects.toThrow("/start: HTTP/1.1 500");
});
