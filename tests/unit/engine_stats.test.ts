import { afterEach, expect, it, vi } from "vitest";
import { Container } from "../../engine/container.ts";
import { StatsCollector } from "../../engine/stats.ts";
import { createdRecord } from "../support/engine_records.ts";
import { FACTS } from "../support/records.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

/** Every reading of a file fails as with no descriptors left. */
function withoutDescriptors() {
  return vi.spyOn(Deno, "readTextFileSync").mockImplementation(() => {
    throw new Deno.errors.Busy("Too many open files (os error 24)");
  });
}

it("StatsCollector leaves out a second in which nothing can be read", async () => {
  const rounds: (() => void)[] = [];
  vi.spyOn(globalThis, "setInterval").mockImplementation(
    ((round: () => void) => {
      rounds.push(round);
      return 0;
    }) as unknown as typeof setInterval,
  );
  const gone = new AbortController();
  const views = new StatsCollector({ facts: FACTS }).stream(new Container(createdRecord(1)), gone.signal);
  expect((await views.next()).value).toMatchObject({ name: "/box1" });
  const broken = withoutDescriptors();
  // A timer's error is nobody's: it would end the engine.
  expect(() => rounds.forEach((round) => round())).not.toThrow();
  broken.mockRestore();
  rounds.forEach((round) => round());
  expect((await views.next()).value).toMatchObject({ name: "/box1" });
  gone.abort();
  expect((await views.next()).done).toBe(true);
});

it("StatsCollector keeps nothing of a stream that could not begin", async () => {
  const timers = { begun: 0, ended: 0 };
  vi.spyOn(globalThis, "setInterval").mockImplementation(
    (() => ++timers.begun) as unknown as typeof setInterval,
  );
  vi.spyOn(globalThis, "clearInterval").mockImplementation(() => void timers.ended++);
  const broken = withoutDescriptors();
  const views = new StatsCollector({ facts: FACTS })
    .stream(new Container(createdRecord(1)), new AbortController().signal);
  await expect(views.next()).rejects.toThrow("Too many open files");
  broken.mockRestore();
  expect(timers).toEqual({ begun: 1, ended: 1 });
});
