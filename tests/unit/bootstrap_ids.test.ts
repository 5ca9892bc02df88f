import { describe, expect, it } from "vitest";
import { currentIdMap, parseIdMap } from "../../base/id_map.ts";
import { explainUserNamespaceRefusal } from "../../base/user_namespaces.ts";
import { idMapArguments, parseGetsubids, parseSubordinateIds } from "../../base/subordinate_ids.ts";

describe("parseSubordinateIds()", () => {
  it("finds ranges by name and by id, in order, and passes over nonsense", () => {
    const text = "other:100000:65536\nada:165536:65536\n1001:300000:1000\nada:x:y\nada:1:0\n\n";
    expect(parseSubordinateIds(text, "ada", 1001)).toEqual([
      { first: 165536, count: 65536 },
      { first: 300000, count: 1000 },
    ]);
  });
});

describe("parseGetsubids()", () => {
  it("reads every line of getsubids", () => {
    expect(parseGetsubids("0: ada 100000 65536\n1: ada 300000 10\n")).toEqual([
      { first: 100000, count: 65536 },
      { first: 300000, count: 10 },
    ]);
  });
  it("answers nothing for its error text", () => {
    expect(parseGetsubids("Error fetching ranges\n")).toEqual([]);
  });
});

describe("idMapArguments()", () => {
  it("maps the own id to 0 and the whole of every range behind it without a gap", () => {
    expect(idMapArguments(1001, [{ first: 100000, count: 65536 }, { first: 300000, count: 10 }]).join(" "))
      .toBe("0 1001 1 1 100000 65536 65537 300000 10");
  });
});

describe("currentIdMap()", () => {
  it.each([
    ["         0       1001          1\n", "single"],
    ["         0       1001          1\n         1     100000      65536\n", "full"],
    ["         0          0 4294967295\n", "root"],
  ])("tells the kind of map", (text, kind) => {
    expect(currentIdMap(() => text)).toBe(kind);
  });
  it("reads this process's own map", () => {
    expect(parseIdMap(Deno.readTextFileSync("/proc/self/uid_map")).length).toBeGreaterThan(0);
  });
});

describe("explainUserNamespaceRefusal()", () => {
  const on = (files: Record<string, string>) =>
    explainUserNamespaceRefusal("/opt/berth", (path) => files[path]);
  it("names the AppArmor restriction with a profile for this executable", () => {
    const text = on({ "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1" });
    expect(text).toContain("profile berth /opt/berth flags=(unconfined)");
    expect(text).toContain("apparmor_parser -r");
  });
  it("names the sysctl that is off and how to switch it on", () => {
    expect(on({ "/proc/sys/kernel/unprivileged_userns_clone": "0" })).toContain(
      "sysctl -w kernel.unprivileged_userns_clone=1",
    );
    expect(on({ "/proc/sys/user/max_user_namespaces": "0" })).toContain(
      "sysctl -w user.max_user_namespaces=",
    );
  });
  it("knows a container around it", () => {
    expect(on({ "/proc/1/environ": "PATH=/bin\0container=docker" })).toContain("seccomp=unconfined");
  });
  it("has a word for everything else", () => {
    expect(on({})).toContain("refused a new user namespace");
  });
});
