import { describe, expect, it } from "vitest";
import { bytesToKeep, DEFAULT_GC, gcSettings } from "../../engine/build_gc.ts";

const refuse = (problem: string) => new Error(problem);
const settings = (value: unknown) => gcSettings(value, refuse);

describe("gcSettings()", () => {
  it("is on by default, with the engine's own bounds", () => {
    for (const value of [undefined, null, {}, { gc: {} }, { gc: { enabled: true } }]) {
      expect(settings(value)).toEqual(DEFAULT_GC);
    }
    expect(settings({ gc: { enabled: false } }).enabled).toBe(false);
  });

  it("takes sizes under dockerd's names of yesterday and today", () => {
    expect(settings({ gc: { defaultKeepStorage: "20GB" } }).bounds).toEqual({
      reservedSpace: 20 * 1024 ** 3,
      maxUsedSpace: 0,
      minFreeSpace: 0,
    });
    const both = { defaultReservedSpace: "1m", defaultMaxUsedSpace: 7, defaultMinFreeSpace: "2k" };
    expect(settings({ gc: both }).bounds).toEqual({
      reservedSpace: 1024 ** 2,
      maxUsedSpace: 7,
      minFreeSpace: 2048,
    });
  });

  it("takes rules in their order", () => {
    const policy = [
      { keepStorage: "512MB", filter: ["unused-for=48h", "type=source.local", "type=exec.cachemount"] },
      { maxUsedSpace: "1g", all: true },
    ];
    expect(settings({ gc: { policy } }).policy).toEqual([
      {
        all: false,
        filters: { "unused-for": ["48h"], type: ["source.local", "exec.cachemount"] },
        reservedSpace: 512 * 1024 ** 2,
        maxUsedSpace: 0,
        minFreeSpace: 0,
      },
      { all: true, filters: {}, reservedSpace: 0, maxUsedSpace: 1024 ** 3, minFreeSpace: 0 },
    ]);
  });

  it.each<[unknown, string]>([
    [[], "builder: must be an object"],
    [{ gc: 1 }, "builder.gc: must be an object"],
    [{ gc: { enabled: "yes" } }, "builder.gc.enabled: must be true or false"],
    [{ gc: { defaultKeepStorage: "much" } }, "builder.gc.defaultKeepStorage: invalid size: 'much'"],
    [{ gc: { policy: {} } }, "builder.gc.policy: must be a list"],
    [{ gc: { policy: [{ filter: ["x"] }] } }, "builder.gc.policy[0].filter: invalid filter 'x'"],
    [{ gc: { policy: [{}, { all: 1 }] } }, "builder.gc.policy[1].all: must be true or false"],
  ])("refuses %j", (value, message) => {
    expect(() => settings(value)).toThrow(message);
  });
});

describe("bytesToKeep()", () => {
  const bounds = (reservedSpace: number, maxUsedSpace: number, minFreeSpace: number) => ({
    reservedSpace,
    maxUsedSpace,
    minFreeSpace,
  });

  it.each([
    { name: "nothing without any bound", bounds: bounds(0, 0, 0), keep: 0 },
    { name: "what is reserved", bounds: bounds(60, 0, 0), keep: 60 },
    { name: "all of what is less than that", bounds: bounds(100, 0, 0), keep: undefined },
    { name: "what may be used at most", bounds: bounds(0, 70, 0), keep: 70 },
    { name: "no more than leaves the disk its space", bounds: bounds(0, 0, 80), keep: 70 },
    { name: "the lesser of both", bounds: bounds(0, 40, 80), keep: 40 },
    { name: "what is reserved all the same", bounds: bounds(90, 40, 80), keep: 90 },
    { name: "all while there is space", bounds: bounds(10, 0, 20), keep: undefined },
  ])("is $name", ({ bounds, keep }) => {
    expect(bytesToKeep(bounds, { used: 100, free: 50 })).toBe(keep);
  });
});
