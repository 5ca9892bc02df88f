/**
 * The self-extracting file, tried with a small program instead of berth: how it unpacks, heals and refuses.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { itWith, ROOT as AS_ROOT } from "../support/needs.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
let work = "";
let file = "";
let home = "";

interface Result {
  code: number;
  out: string;
  err: string;
}

async function run(args: string[], env: Record<string, string> = {}, path = file): Promise<Result> {
  const child = new Deno.Command(path, {
    args,
    clearEnv: true,
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: home, TMPDIR: `${home}/tmp`, ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

/** The one directory of unpacked files below `base`. */
function unpacked(base = `${home}/.cache/berth`): string {
  const found = [...Deno.readDirSync(base)].filter((e) => e.isDirectory).map((e) => e.name);
  expect(found).toHaveLength(1);
  return `${base}/${found[0]}`;
}

const inode = (path: string) => Deno.statSync(path).ino;

beforeAll(async () => {
  work = await Deno.makeTempDir({ prefix: "berth-package-" });
  // The build wants main.ts at the root of a tree: ours is the project with the program's entry replaced.
  const tree = `${work}/tree`;
  await Deno.mkdir(`${tree}/tests/support/stub`, { recursive: true });
  await Deno.mkdir(`${tree}/base`);
  for (const name of ["base/self.ts", "base/exists.ts", "base/version.ts"]) {
    await Deno.copyFile(`${ROOT}/${name}`, `${tree}/${name}`);
  }
  for (const name of ["lazy.ts", "echo_worker.ts"]) {
    await Deno.copyFile(`${ROOT}/tests/support/stub/${name}`, `${tree}/${name}`);
  }
  const entry = await Deno.readTextFile(`${ROOT}/tests/support/stub/main.ts`);
  await Deno.writeTextFile(`${tree}/main.ts`, entry.replaceAll("../../../base/", "./base/"));
  file = `${work}/be rth`;
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      `${ROOT}/scripts/build.ts`,
      "--package=self-extracting",
      `--root=${tree}`,
      `--out=${file}`,
    ],
    stdin: "null",
  }).output();
  expect(code, new TextDecoder().decode(stderr)).toBe(0);
});

beforeEach(async () => {
  home = await Deno.makeTempDir({ dir: work, prefix: "home-" });
  await Deno.mkdir(`${home}/tmp`);
});

afterEach(async () => {
  await Deno.remove(home, { recursive: true });
});

afterAll(async () => {
  await Deno.remove(work, { recursive: true });
});

describe("the self-extracting file", () => {
  it("passes arguments, exit code, directory and umask through, and says what it is", async () => {
    const args = ["a b", "", "--flag", "$x", "é\n"];
    const { out } = await run(args);
    const seen = JSON.parse(out) as {
      args: string[];
      exe: string;
      umask: number;
      cwd: string;
      denoDir: string;
    };
    expect(seen).toMatchObject({ args, exe: file, umask: Deno.umask(), cwd: Deno.cwd() });
    expect(seen.denoDir).toBe(`${unpacked()}/cache/cli`);
    expect((await run(["exit", "42"])).code).toBe(42);
    expect((await run(["--version"])).out).toMatch(/^berth \S+ self-extracting /);
  });

  it("unpacks once, for the user only", async () => {
    await run(["exit", "0"]);
    const dir = unpacked();
    const first = inode(dir);
    await run(["exit", "0"]);
    expect(inode(dir)).toBe(first);
    expect((Deno.statSync(dir).mode ?? 0) & 0o777).toBe(0o700);
    expect((Deno.statSync(`${dir}/main.js`).mode ?? 0) & 0o077).toBe(0);
  });

  it("starts a role with its flags and a code cache of its own", async () => {
    const seen = JSON.parse((await run(["spawn", "shim"])).out) as {
      args: string[];
      denoDir: string;
      exe: string;
    };
    expect(seen.args).toEqual(["@shim", "x y", ""]);
    expect(seen.denoDir).toBe(`${unpacked()}/cache/shim`);
    expect(seen.exe).toBe(file);
    const direct = JSON.parse((await run(["@engine", "1"])).out) as { args: string[]; denoDir: string };
    expect(direct).toMatchObject({ args: ["@engine", "1"], denoDir: `${unpacked()}/cache/engine` });
  });

  it("starts workers and loads lazy modules from the unpacked files", async () => {
    expect((await run(["worker"])).out).toBe("worker said hi!\n");
    expect((await run(["sleep", "1"])).code).toBe(0);
  });

  it("is unpacked by one of eight first runs at once", async () => {
    const results = await Promise.all(Array.from({ length: 8 }, (_, i) => run(["exit", String(i)])));
    expect(results.map((r) => r.code)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(results.map((r) => r.err).join("")).toBe("");
    unpacked();
    expect([...Deno.readDirSync(`${home}/.cache/berth`)].map((e) => e.name).filter((n) => n.startsWith(".")))
      .toEqual([]);
  });

  const damages: Record<string, (dir: string) => void> = {
    "a shortened Deno": (dir) => Deno.truncateSync(`${dir}/deno`, 1_000_000),
    "an empty chunk": (dir) => Deno.truncateSync(`${dir}/${lazyChunk(dir)}`, 0),
    "a changed chunk": (dir) => Deno.writeTextFileSync(`${dir}/main.js`, "console.log('other')"),
    "a missing chunk": (dir) => Deno.removeSync(`${dir}/${lazyChunk(dir)}`),
    "a missing stamp": (dir) => Deno.removeSync(`${dir}/stamp`),
  };
  const lazyChunk = (dir: string) =>
    [...Deno.readDirSync(dir)].find((e) => e.name.startsWith("lazy"))?.name ?? "";
  for (const [name, damage] of Object.entries(damages)) {
    it(`heals ${name}`, async () => {
      await run(["exit", "0"]);
      const dir = unpacked();
      // The owner may write what he has unpacked only after he has changed its mode: tests run as root as well.
      for (const e of Deno.readDirSync(dir)) if (e.isFile) Deno.chmodSync(`${dir}/${e.name}`, 0o700);
      damage(dir);
      const healed = await run(["sleep", "1"]);
      expect(healed).toEqual({ code: 0, out: "", err: "" });
      unpacked();
    });
  }

  it("goes on with a running process after the cache is gone", async () => {
    await run(["exit", "0"]);
    const dir = unpacked();
    const result = await run(["spawn-without", dir]);
    expect(JSON.parse(result.out)).toMatchObject({ args: ["@shim", "x y", ""] });
  });

  it("heals after an unpacking that was killed, and leaves nothing of it behind", async () => {
    Deno.mkdirSync(`${home}/.cache/berth/.new.1`, { recursive: true });
    Deno.writeTextFileSync(`${home}/.cache/berth/.new.1/deno`, "half");
    expect((await run(["exit", "0"])).code).toBe(0);
    unpacked();
  });

  it("falls back to the directory for temporary files when there is no home", async () => {
    const { code, out } = await run([], { HOME: `${home}/none` });
    expect(code).toBe(0);
    expect((JSON.parse(out) as { denoDir: string }).denoDir).toMatch(
      `${home}/tmp/berth-${Deno.uid()}/cache/`,
    );
    expect((Deno.statSync(`${home}/tmp/berth-${Deno.uid()}`).mode ?? 0) & 0o777).toBe(0o700);
  });

  it("falls back when the cache cannot be made there", async () => {
    Deno.writeTextFileSync(`${home}/.cache`, "a file in the way");
    expect(await run(["exit", "0"])).toEqual({ code: 0, out: "", err: "" });
    unpacked(`${home}/tmp/berth-${Deno.uid()}/cache`);
  });

  it("runs without HOME and XDG_CACHE_HOME when TMPDIR can be used", async () => {
    const child = new Deno.Command("/usr/bin/env", {
      args: ["-i", `TMPDIR=${home}/tmp`, "PATH=/usr/bin:/bin", `XDG_CACHE_HOME=${home}/x`, file, "exit", "7"],
      stdin: "null",
    });
    expect((await child.output()).code).toBe(7);
    unpacked(`${home}/x/berth`);
  });

  itWith(AS_ROOT)("does not trust a directory of somebody else", async () => {
    Deno.mkdirSync(`${home}/tmp/berth-0`);
    Deno.chownSync(`${home}/tmp/berth-0`, 12345, 12345);
    const { code, err } = await run([], { HOME: `${home}/none` });
    expect(code).toBe(125);
    expect(err).toMatch(/^berth: cannot unpack: .*belongs to somebody else/);
    const theirs = `${home}/theirs`;
    Deno.mkdirSync(theirs);
    Deno.chownSync(theirs, 12345, 12345);
    Deno.removeSync(`${home}/tmp/berth-0`);
    expect((await run(["exit", "0"], { HOME: theirs })).code).toBe(0);
    expect([...Deno.readDirSync(theirs)]).toEqual([]);
  });

  it("says that it is damaged when its end is missing", async () => {
    const cut = `${home}/cut`;
    Deno.copyFileSync(file, cut);
    Deno.truncateSync(cut, 20_000_000);
    const { code, err } = await run(["exit", "0"], {}, cut);
    expect(code).toBe(125);
    expect(err).toMatch(/^berth: .*cut is damaged: it has 20000000 bytes and should have \d+\./);
  });

  it("says that it is damaged when a byte is wrong", async () => {
    const bad = `${home}/bad`;
    Deno.copyFileSync(file, bad);
    {
      using handle = Deno.openSync(bad, { write: true });
      handle.seekSync(20_000_000, Deno.SeekMode.Start);
      handle.writeSync(new Uint8Array(4096));
    }
    const { code, err } = await run(["exit", "0"], {}, bad);
    expect(code).toBe(125);
    expect(err).toMatch(/^berth: .*bad is damaged: its archive cannot be unpacked/);
  });
});
