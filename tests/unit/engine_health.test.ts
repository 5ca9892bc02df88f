import { afterEach, expect, it, vi } from "vitest";
import { TIMER_LIMIT_MS } from "../../base/timer_limit.ts";
import type { Container } from "../../engine/container.ts";
import type { EngineContext } from "../../engine/context.ts";
import { HealthMonitor, probeOf } from "../../engine/health.ts";
import { containerRecord } from "../support/records.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

it("HealthMonitor waits for as long as a timer can, when the interval is longer", () => {
  const timers = vi.spyOn(globalThis, "setTimeout");
  const month = 31 * 24 * 3600 * 1e9;
  const probe = probeOf({ Healthcheck: { Test: ["CMD", "true"], Interval: month } });
  if (probe === undefined) throw new Error("no probe");
  const container = { record: containerRecord() } as unknown as Container;
  const monitor = new HealthMonitor({} as EngineContext, container, probe);
  monitor.stop();
  expect(timers.mock.calls.map(([, delay]) => delay)).toEqual([TIMER_LIMIT_MS]);
});
