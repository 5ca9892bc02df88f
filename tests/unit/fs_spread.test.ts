import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { spreadDirectory } from "../../fs/spread_directory.ts";
import { treeCalls } from "../../ffi/tree_calls.ts";

let dir = "";

beforeAll(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-spread-" });
});
afterAll(() => Deno.removeSync(dir, { recursive: true }));

/** Flags of a directory as lsattr(1) of e2fsprogs shows them; undefined where there are none. */
async function flagsOf(path: string): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command("lsattr", { args: ["-d", path] }).output();
    return success ? new TextDecoder().decode(stdout).split(" ")[0] : undefined;
  } catch {
    return undefined;
  }
}

describe("spreadDirectory()", () => {
  it("makes a directory with its parents, and again does nothing", () => {
    const path = `${dir}/a/b`;
    spreadDirectory(path, 0o700);
    spreadDirectory(path, 0o700);
    expect((Deno.statSync(path).mode ?? 0) & 0o777).toBe(0o700);
  });

  it("keeps its subdirectories apart where the file system can, and leaves other flags alone", async ({ skip }) => {
    const path = `${dir}/t`;
    const plain = `${dir}/plain`;
    Deno.mkdirSync(plain);
    const before = await flagsOf(plain);
    // extents are ext4's: nobody else has the flag that is set
    skip(!before?.includes("e"), "not on ext4, or no lsattr");
    spreadDirectory(path, 0o700);
    const after = await flagsOf(path) ?? "";
    expect(after).toContain("T");
    expect(after.replace("T", "-")).toBe(before);
  });

  it("goes without where the file system has no such flag", () => {
    const proc = `/proc/${Deno.pid}`;
    expect(() => treeCalls.spreadSubdirectories(proc)).toThrow(/FS_IOC_GETFLAGS/);
    expect(() => spreadDirectory(proc, 0o700)).not.toThrow();
  });
});
