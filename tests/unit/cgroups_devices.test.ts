import { describe, expect, it } from "vitest";
import { DEFAULT_DEVICE_RULES, deviceAllow, parseDeviceRule } from "../../cgroups/devices.ts";
import { deviceNumbers } from "../../engine/device_numbers.ts";
import { deviceRulesOf } from "../../engine/device_rules.ts";

const KNOWN = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  1 ramdisk\n  8 sd\n";

describe("parseDeviceRule()", () => {
  it("reads Docker's rules", () => {
    expect(parseDeviceRule("c 1:3 mr")).toEqual([{ type: "c", major: 1, minor: 3, access: "mr" }]);
    expect(parseDeviceRule("b 8:* rw")).toEqual([{ type: "b", major: 8, minor: -1, access: "rw" }]);
    expect(parseDeviceRule("a *:* rwm")?.map(({ type }) => type)).toEqual(["c", "b"]);
  });

  it("knows what is none", () => {
    for (const text of ["", "c 1:3", "d 1:3 r", "c 1:3 x", "c -1:3 r", "c 1:3 r\n"]) {
      expect(parseDeviceRule(text), text).toBeUndefined();
    }
  });
});

describe("deviceAllow()", () => {
  const allow = (text: string) => deviceAllow(parseDeviceRule(text) ?? [], KNOWN);

  it("says numbers, drivers and kinds in systemd's words", () => {
    expect(allow("c 1:3 mr").allow).toEqual([["/dev/char/1:3", "mr"]]);
    expect(allow("b 8:* rw").allow).toEqual([["block-sd", "rw"]]);
    expect(allow("c 136:* rw").allow).toEqual([["char-pts", "rw"]]);
    expect(allow("a *:* m").allow).toEqual([["char-*", "m"], ["block-*", "m"]]);
  });

  it("tells what systemd has no words for", () => {
    expect(allow("c *:7 r")).toEqual({
      allow: [],
      untold: [{ type: "c", major: -1, minor: 7, access: "r" }],
    });
    // 8 is a driver of block devices only.
    expect(allow("c 8:* r").untold).toHaveLength(1);
  });

  it("has words for every container's devices", () => {
    expect(deviceAllow(DEFAULT_DEVICE_RULES, KNOWN).untold).toEqual([]);
  });
});

describe("deviceRulesOf()", () => {
  const device = (path: string, access: string) => ({
    PathOnHost: path,
    PathInContainer: path,
    CgroupPermissions: access,
  });

  it("adds what --device and --device-cgroup-rule say", () => {
    const rules = deviceRulesOf({ Devices: [device("/dev/null", "r")], DeviceCgroupRules: ["b 7:* rwm"] });
    expect(rules?.slice(DEFAULT_DEVICE_RULES.length)).toEqual([
      { type: "c", major: 1, minor: 3, access: "r" },
      { type: "b", major: 7, minor: -1, access: "rwm" },
    ]);
  });

  it("leaves out what is not there, refuses a rule that is none, and says nothing for --privileged", () => {
    expect(deviceRulesOf({ Devices: [device("/dev/nothing", "")] })).toEqual(DEFAULT_DEVICE_RULES);
    expect(() => deviceRulesOf({ DeviceCgroupRules: ["c 1"] })).toThrow(
      "invalid device cgroup rule format: 'c 1'",
    );
    expect(deviceRulesOf({ Privileged: true, Devices: [device("/dev/null", "r")] })).toBeUndefined();
  });
});

describe("deviceNumbers()", () => {
  it("takes large minor numbers apart", () => {
    expect(deviceNumbers(0x103)).toEqual({ major: 1, minor: 3 });
    expect(deviceNumbers(Number(0x12n << 8n | 0x34n | 0x5n << 20n))).toEqual({ major: 0x12, minor: 0x534 });
  });
});
