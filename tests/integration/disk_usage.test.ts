/** `system df` against what find(1) and du(1) see on the disk. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { testDir, usersToTest } from "../support/users.ts";

interface Usage {
  readonly LayersSize: number;
  readonly Images: readonly {
    readonly Id: string;
    readonly RepoTags: readonly string[];
    readonly Size: number;
    readonly SharedSize: number;
    readonly Containers: number;
  }[];
  readonly ImageUsage: { readonly Reclaimable: number };
  readonly Containers: readonly { readonly Names: readonly string[]; readonly SizeRw: number }[];
}

const BLOCK = 4096;

async function output(command: string, args: string[]): Promise<string> {
  const { stdout, success } = await new Deno.Command(command, { args, stdin: "null" }).output();
  expect(success).toBe(true);
  return new TextDecoder().decode(stdout);
}

/** Bytes of files and symbolic links below some directories, hard links once; how many, and what du says. */
async function onDisk(...paths: string[]): Promise<{ bytes: number; entries: number; blocks: number }> {
  const seen = new Set<string>();
  let bytes = 0;
  let entries = 0;
  for (const line of (await output("find", [...paths, "-printf", "%y %i %s\n"])).trim().split("\n")) {
    const [type, inode = "", size] = line.split(" ");
    entries++;
    if (type !== "f" || seen.has(inode)) continue;
    seen.add(inode);
    bytes += Number(size);
  }
  const du = await output("du", ["-s", "-c", "-B1", ...paths]);
  return { bytes, entries, blocks: Number(/^(\d+)\s+total$/m.exec(du)?.[1]) };
}

describeWith(BUSYBOX)("system df", () => {
  let engine: Engine;
  let dir: string;
  beforeAll(async () => {
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "df-" });
    Deno.chmodSync(dir, 0o755);
    const files = Object.fromEntries(
      Array.from({ length: 50 }, (_, i) => [`data/${i}`, "x".repeat(i * 997)]),
    );
    engine = await startEngine({ user: usersToTest()[0] ?? { name: "root", uid: 0, gid: 0 } });
    const archive = await busyboxArchive(dir, { reference: "base:1", files });
    expect((await engine.berth(["load", "-q", "-i", archive])).code).toBe(0);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    Deno.removeSync(dir, { recursive: true });
  });

  const usage = async (): Promise<Usage> => {
    using client = Deno.createHttpClient({ proxy: { transport: "unix", path: engine.socket } });
    return await (await fetch("http://d/system/df", { client })).json();
  };
  const image = (found: Usage, name: string) => {
    const one = found.Images.find(({ RepoTags }) => RepoTags.includes(name));
    if (one === undefined) throw new Error(`${name} is missing`);
    return one;
  };
  const stored = () => onDisk(`${engine.dataRoot}/layers`, `${engine.dataRoot}/blobs`);
  /** What is told is what is there, to a block for each file and directory. */
  const expectTrue = (told: number, found: { bytes: number; entries: number; blocks: number }) => {
    expect(told).toBe(found.bytes);
    expect(Math.abs(told - found.blocks)).toBeLessThanOrEqual(found.entries * BLOCK);
  };
  const ok = async (...args: string[]) => {
    const result = await engine.berth(args);
    expect(result.stderr).toBe("");
    expect(result.code).toBe(0);
    return result.stdout.trim();
  };

  it("tells the bytes of layers, kept blobs and writable layers, shared ones apart", async () => {
    expectTrue((await usage()).LayersSize, await stored());
    const script =
      "dd if=/dev/zero of=/big bs=1000 count=777 2>/dev/null; ln /big /again; rm /data/9; echo hi >/data/8";
    expect((await engine.berth(["run", "--name", "cc", "--network=none", "base:1", "sh", "-c", script])).code)
      .toBe(0);
    const id = await ok("inspect", "-f", "{{.Id}}", "cc");
    const before = await usage();
    const writable = before.Containers.find(({ Names }) => Names.includes("/cc"))?.SizeRw ?? -1;
    expectTrue(writable, await onDisk(`${engine.dataRoot}/containers/${id}/upper`));
    expect(writable).toBe(777_003);

    await ok("commit", "cc", "child:1");
    const after = await usage();
    expectTrue(after.LayersSize, await stored());
    const base = image(after, "base:1"), child = image(after, "child:1");
    // all of base belongs to child as well, but for a manifest
    expect(base.SharedSize).toBe(base.Size);
    expect(child.SharedSize).toBe(base.Size);
    expect(child.Size - child.SharedSize).toBe(after.LayersSize - before.LayersSize);
    // unpacked, and the archive that a push gives away
    expect(child.Size - child.SharedSize).toBeGreaterThan(2 * 777_003);
    expect([base.Containers, child.Containers]).toEqual([1, 0]);
    // what `image prune -a` frees is the child's own
    expect(after.ImageUsage.Reclaimable).toBe(child.Size - child.SharedSize);
    expect(await ok("image", "prune", "-a", "-f")).toContain("Total reclaimed space: 1.56");
    const pruned = await usage();
    expect(pruned.LayersSize).toBe(before.LayersSize);
    expect(pruned.ImageUsage.Reclaimable).toBe(0);
    expectTrue(pruned.LayersSize, await stored());
  });

  it("counts what a container of berth/host has written", async () => {
    await ok(
      "run",
      "--name",
      "hh",
      "--network=none",
      "berth/host",
      "sh",
      "-c",
      "printf 12345 >/opt5 || true",
    );
    const { Containers } = await usage();
    const id = await ok("inspect", "-f", "{{.Id}}", "hh");
    const own = [`${engine.dataRoot}/containers/${id}/upper`];
    const host = `${engine.dataRoot}/containers/${id}/host`;
    if (await Deno.stat(host).then(() => true, () => false)) own.push(host);
    expect(Containers.find(({ Names }) => Names.includes("/hh"))?.SizeRw).toBe((await onDisk(...own)).bytes);
  });

  it("docker's tables make sense", async () => {
    const brief = await engine.docker(["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]);
    expect(brief).toMatchObject({ code: 0, stderr: "" });
    expect(brief.stdout).toContain("Images 2 2\nContainers 2 0\nLocal Volumes 0 0\nBuild Cache 0 0\n");
    const { code, stdout, stderr } = await engine.docker(["system", "df", "-v"]);
    expect([code, stderr]).toEqual([0, ""]);
    const row = stdout.split("\n").find((line) => line.startsWith("base")) ?? "";
    const [, , , , , , size = "", shared = "", unique = "", users = ""] = row.split(/\s+/);
    expect([shared, users]).toEqual(["0B", "1"]);
    expect(parseFloat(size)).toBeCloseTo(parseFloat(unique), 1);
    expect(stdout).toMatch(/777kB/);
  });
});
