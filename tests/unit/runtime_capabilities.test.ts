import { describe, expect, it } from "vitest";
import { EngineError } from "../../base/errors.ts";
import {
  CAPABILITIES,
  capabilityHex,
  capabilityMask,
  capabilityNames,
  lastCapability,
  resolveCapabilities,
} from "../../runtime/capabilities.ts";

const short = (names: readonly string[]): string[] => names.map((name) => name.slice(4));

describe("resolveCapabilities()", () => {
  it("gives Docker's fourteen by default, as the mask every Docker container shows", () => {
    const sets = resolveCapabilities([], [], false);
    expect(sets.names).toHaveLength(14);
    for (const mask of [sets.bounding, sets.permitted, sets.effective]) {
      expect(capabilityHex(mask)).toBe("00000000a80425fb");
    }
    expect([sets.inheritable, sets.ambient]).toEqual([0n, 0n]);
  });

  it("adds and drops by any spelling", () => {
    const names = short(
      resolveCapabilities(["net_admin", "CAP_SYS_TIME"], ["Cap_Chown", "MKNOD"], false).names,
    );
    expect(names).toContain("NET_ADMIN");
    expect(names).toContain("SYS_TIME");
    expect(names).not.toContain("CHOWN");
    expect(names).not.toContain("MKNOD");
    expect(names).toHaveLength(14);
  });

  it("adds a capability that is dropped as well, but not when ALL is added", () => {
    expect(short(resolveCapabilities(["CHOWN"], ["CHOWN"], false).names)).toContain("CHOWN");
    const all = short(resolveCapabilities(["ALL"], ["CHOWN"], false, 40).names);
    expect(all).not.toContain("CHOWN");
    expect(all).toHaveLength(40);
  });

  it("drops ALL but what is added", () => {
    expect(short(resolveCapabilities(["chown", "chown"], ["all"], false).names)).toEqual(["CHOWN"]);
    expect(resolveCapabilities([], ["ALL"], false).bounding).toBe(0n);
    expect(resolveCapabilities(["ALL"], ["ALL"], false, 40).bounding).toBe((1n << 41n) - 1n);
  });

  it("gives a privileged container all that the kernel has, whatever is dropped", () => {
    expect(resolveCapabilities([], ["ALL"], true, 37).bounding).toBe((1n << 38n) - 1n);
    expect(resolveCapabilities([], [], true, 40).names).toEqual(CAPABILITIES);
  });

  it("refuses what does not exist, in Docker's words", () => {
    const refusal = (add: string[], drop: string[], lastCap = 40): EngineError => {
      try {
        resolveCapabilities(add, drop, true, lastCap);
      } catch (error) {
        if (error instanceof EngineError) return error;
      }
      throw new Error("not refused");
    };
    expect(refusal(["x"], [])).toMatchObject({
      kind: "invalid",
      message: 'invalid CapAdd: unknown capability: "CAP_X"',
    });
    expect(refusal([], ["CAP_"]).message).toBe('invalid CapDrop: unknown capability: "CAP_"');
    expect(refusal(["BPF"], [], 37).message).toBe(
      'invalid CapAdd: capability not supported by your kernel or not available in the current environment: "CAP_BPF"',
    );
  });
});

describe("capability masks", () => {
  it("go to names and back", () => {
    expect(CAPABILITIES).toHaveLength(41);
    expect(capabilityMask(["CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE", "CAP_NOPE"])).toBe(
      (1n << 21n) | (1n << 40n),
    );
    expect(capabilityNames((1n << 21n) | (1n << 40n) | (1n << 60n))).toEqual([
      "CAP_SYS_ADMIN",
      "CAP_CHECKPOINT_RESTORE",
    ]);
  });

  it("end where the kernel's do", () => {
    expect(lastCapability()).toBe(Number(Deno.readTextFileSync("/proc/sys/kernel/cap_last_cap")));
  });
});
