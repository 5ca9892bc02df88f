import { describe, expect, it } from "vitest";
import { decodePath, encodePath } from "../../base/path_text.ts";
import { cleanEntryPath } from "../../fs/entry_path.ts";
import { formatPax, parsePax, parsePaxTime } from "../../base/tar/pax.ts";
import {
  tarArchive,
  type TarEntry,
  type TarEntryInput,
  TarError,
  tarHeader,
  TarReader,
  type TarReaderOptions,
} from "../../fs/tar/mod.ts";

interface Read {
  entry: TarEntry;
  data: Uint8Array;
}

/** Reads an archive in chunks of `step` bytes; holes come out as zeros. */
function read(archive: Uint8Array, step = archive.length, options?: TarReaderOptions): Read[] {
  const reader = new TarReader(options);
  const files: Read[] = [];
  for (let at = 0; at < archive.length; at += step) {
    for (const event of reader.feed(archive.subarray(at, at + step))) {
      if (event.kind === "entry") files.push({ entry: event.entry, data: new Uint8Array(event.entry.size) });
      else if (event.kind === "data") files.at(-1)?.data.set(event.chunk, event.offset);
    }
  }
  reader.finish();
  return files;
}

const text = (value: string) => new TextEncoder().encode(value);

async function gnuTar(args: string[], files: (dir: string) => void): Promise<Uint8Array> {
  const dir = await Deno.makeTempDir();
  try {
    files(dir);
    const { stdout, success, stderr } = await new Deno.Command("tar", {
      args: [...args, "-cf", "-", "-C", dir, "."],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return stdout;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const SAMPLE: (TarEntryInput & { data?: Uint8Array })[] = [
  { name: "dir", type: "directory", mode: 0o1777, mtime: [1_600_000_000, 0] },
  {
    name: "dir/file",
    mode: 0o4755,
    uid: 1000,
    gid: 100,
    data: text("hello"),
    mtime: [1_600_000_001, 123_456_789],
  },
  {
    name: `dir/${"long/".repeat(60)}name`,
    data: new Uint8Array(3000).fill(7),
    uid: 3_000_000,
    gid: 2_999_999,
  },
  { name: "dir/link", type: "symlink", linkName: `../${"x".repeat(200)}` },
  { name: "dir/hard", type: "hardlink", linkName: "dir/file" },
  { name: "dir/fifo", type: "fifo", mode: 0o600 },
  { name: "dev", type: "char", deviceMajor: 10, deviceMinor: 229 },
  { name: "empty", data: new Uint8Array(0) },
  { name: "snowman-☃", data: text("☃"), mtime: [-5, 500_000_000] },
  {
    name: "caps",
    data: text("x"),
    xattrs: new Map([["security.capability", new Uint8Array([0, 255, 10, 61, 0])]]),
  },
];

describe("TarReader with tarArchive()'s output", () => {
  const archive = tarArchive(SAMPLE);

  it.each([1, 7, 511, 512, 513, 4096, 1 << 20])(
    "gives back what was written, in chunks of %i bytes",
    (step) => {
      const files = read(archive, step);
      expect(files).toHaveLength(SAMPLE.length);
      for (const [i, { entry, data }] of files.entries()) {
        const wanted = SAMPLE[i];
        expect(entry.name.replace(/\/$/, "")).toBe(wanted?.name);
        expect(entry.type).toBe(wanted?.type ?? "file");
        expect(entry.linkName).toBe(wanted?.linkName ?? "");
        expect([entry.uid, entry.gid]).toEqual([wanted?.uid ?? 0, wanted?.gid ?? 0]);
        expect(entry.mtime).toEqual(wanted?.mtime ?? [0, 0]);
        expect([...entry.xattrs]).toEqual([...wanted?.xattrs ?? []]);
        expect(data).toEqual(wanted?.data ?? new Uint8Array(0));
      }
      expect(files[0]?.entry.mode).toBe(0o1777);
      expect(files[1]?.entry.mode).toBe(0o4755);
      expect([files[6]?.entry.deviceMajor, files[6]?.entry.deviceMinor]).toEqual([10, 229]);
    },
  );

  it("is understood by GNU tar", async () => {
    const child = new Deno.Command("tar", {
      args: ["-tvf", "-"],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    })
      .spawn();
    const writer = child.stdin.getWriter();
    await writer.write(archive);
    await writer.close();
    const { stdout, code } = await child.output();
    expect(code).toBe(0);
    expect(new TextDecoder().decode(stdout).split("\n")).toHaveLength(SAMPLE.length + 1);
  });

  it("fails or stops at an entry when it is cut at any multiple of 100 bytes", () => {
    for (let length = 0; length < archive.length - 1024; length += 100) {
      expect(() => read(archive.subarray(0, length)), `${length} bytes`).toThrow(TarError);
    }
    // with both zero blocks, with one, with none
    expect(read(archive.subarray(0, archive.length - 512))).toHaveLength(SAMPLE.length);
    expect(() => read(archive.subarray(0, archive.length - 1024))).toThrow("unexpected EOF");
    expect(read(archive.subarray(0, archive.length - 1024), 512, { allowMissingEnd: true })).toHaveLength(
      SAMPLE.length,
    );
  });

  it("fails with a TarError when a byte of a header is changed", () => {
    const header = tarHeader({ name: "file", size: 0 });
    for (let at = 0; at < 500; at++) {
      // the byte behind the checksum's digits ends it, whatever it is
      if (at === 155) continue;
      const damaged = new Uint8Array(1536);
      damaged.set(header);
      damaged[at] = (damaged[at] ?? 0) ^ 0x41;
      expect(() => read(damaged), `byte ${at}`).toThrow(TarError);
    }
  });

  it("never throws anything but TarError, and always ends, on random damage", () => {
    let seed = 12345;
    const random = (below: number) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
    for (let round = 0; round < 300; round++) {
      const damaged = archive.slice();
      for (let i = 0; i < 3; i++) damaged[random(damaged.length)] = random(256);
      try {
        read(damaged, 700);
      } catch (error) {
        expect(error).toBeInstanceOf(TarError);
      }
    }
  });
});

describe("TarReader with GNU tar's output", () => {
  const longName = "n".repeat(150);
  it.each(["gnu", "posix", "ustar", "v7", "oldgnu"])("reads format %s", async (format) => {
    const long = format === "gnu" || format === "posix" || format === "oldgnu";
    const archive = await gnuTar([`--format=${format}`, "--numeric-owner"], (dir) => {
      Deno.mkdirSync(`${dir}/sub`);
      Deno.writeTextFileSync(`${dir}/sub/file`, "content");
      Deno.symlinkSync("file", `${dir}/sub/link`);
      Deno.linkSync(`${dir}/sub/file`, `${dir}/sub/zhard`);
      if (long) Deno.writeTextFileSync(`${dir}/${longName}`, "long");
      if (long) Deno.symlinkSync("t".repeat(180), `${dir}/longlink`);
    });
    const files = new Map(read(archive, 1000).map(({ entry, data }) => [entry.name, { entry, data }]));
    expect(files.get("./sub/")?.entry.type).toBe("directory");
    expect(files.get("./sub/link")?.entry).toMatchObject({ type: "symlink", linkName: "file" });
    const types = ["./sub/file", "./sub/zhard"].map((name) => files.get(name)?.entry.type);
    expect(types.sort()).toEqual(["file", "hardlink"]);
    if (!long) return;
    expect(files.get(`./${longName}`)?.data).toEqual(text("long"));
    expect(files.get("./longlink")?.entry.linkName).toBe("t".repeat(180));
  });

  it.each([
    ["gnu", []],
    ["posix", ["--sparse-version=0.0"]],
    ["posix", ["--sparse-version=0.1"]],
    ["posix", ["--sparse-version=1.0"]],
  ])("reads sparse files of format %s %s", async (format, more) => {
    const MiB = 1024 * 1024;
    const archive = await gnuTar(["--sparse", `--format=${format}`, ...more], (dir) => {
      const file = Deno.openSync(`${dir}/sparse`, { write: true, create: true });
      // more stretches than fit in the first header
      for (let i = 0; i < 40; i++) {
        file.seekSync(i * MiB / 4, Deno.SeekMode.Start);
        file.writeSync(text(`stretch ${i}`));
      }
      file.truncateSync(12 * MiB);
      file.close();
      Deno.writeTextFileSync(`${dir}/z-after`, "after");
    });
    expect(archive.length).toBeLessThan(2 * MiB);
    const files = new Map(read(archive, 999).map((file) => [file.entry.name, file]));
    const sparse = files.get("./sparse");
    expect(sparse?.entry).toMatchObject({ size: 12 * MiB, sparse: true });
    for (let i = 0; i < 40; i++) {
      const at = i * MiB / 4;
      const wanted = `stretch ${i}`;
      expect(new TextDecoder().decode(sparse?.data.subarray(at, at + wanted.length))).toBe(wanted);
      expect(sparse?.data[at + 5000]).toBe(0);
    }
    expect(files.get("./z-after")?.data).toEqual(text("after"));
  });

  it("reads extended attributes as bytes", async () => {
    const archive = await gnuTar(["--xattrs", "--format=posix"], (dir) => {
      Deno.writeTextFileSync(`${dir}/f`, "");
      const set = new Deno.Command("setfattr", { args: ["-n", "user.bin", "-v", "0x00ff0a3d", `${dir}/f`] });
      if (!set.outputSync().success) throw new Error("setfattr failed");
    });
    const file = read(archive).find(({ entry }) => entry.name === "./f");
    expect(file?.entry.xattrs.get("user.bin")).toEqual(new Uint8Array([0, 0xff, 0x0a, 0x3d]));
  });
});

describe("TarReader with oddities", () => {
  it("reads base-256 numbers", () => {
    const header = tarHeader({ name: "f" });
    // uid 2^32 - 2, in seven bytes behind the mark
    header.set([0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe], 108);
    // mtime -1
    header.fill(0xff, 136, 148);
    fixChecksum(header);
    const [file] = read(new Uint8Array([...header, ...new Uint8Array(1024)]));
    expect(file?.entry.uid).toBe(0xfffffffe);
    expect(file?.entry.mtime).toEqual([-1, 0]);
  });

  it("refuses a size that no number can hold, and a negative one", () => {
    for (const bytes of [[0x80, 0x7f], [0xff, 0xff]]) {
      const header = tarHeader({ name: "f" });
      header.fill(0xff, 124, 136);
      header.set(bytes, 124);
      fixChecksum(header);
      expect(() => read(new Uint8Array([...header, ...new Uint8Array(1024)]))).toThrow(TarError);
    }
  });

  it("refuses an extended header that would have to be held in memory", () => {
    const header = tarHeader({ name: "f", size: 2 ** 31 });
    header[156] = "x".charCodeAt(0);
    fixChecksum(header);
    expect(() => read(header)).toThrow("too large");
  });

  it("keeps the bytes of a name that is no UTF-8", () => {
    const bytes = new Uint8Array([0x61, 0xff, 0xc3, 0x28, 0xe2, 0x98, 0x83]);
    const name = decodePath(bytes);
    expect(encodePath(name)).toEqual(bytes);
    const [file] = read(tarArchive([{ name, data: text("x") }]));
    expect(encodePath(file?.entry.name ?? "")).toEqual(bytes);
  });
});

function fixChecksum(header: Uint8Array): void {
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.set(text(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
}

describe("PAX records", () => {
  it("count their own length", () => {
    for (const length of [1, 5, 85, 86, 87, 88, 95, 96, 985, 986, 987, 5000]) {
      const records = [["k", new Uint8Array(length).fill(65)]] as const;
      const payload = formatPax(records);
      expect(Number(new TextDecoder().decode(payload).split(" ")[0])).toBe(payload.length);
      expect(parsePax(payload)).toEqual(records);
    }
  });

  it.each(["5 a=b\n", "7 a=b\n", "6 a=b", "x a=b\n", "6 ab\n\n", "6 =bb\n", "99999999999 a=b\n"])(
    "refuse %j",
    (bad) => {
      expect(() => parsePax(text(bad))).toThrow(TarError);
    },
  );

  it("hold times before the epoch", () => {
    expect(parsePaxTime("-1.5")).toEqual([-2, 500_000_000]);
    expect(parsePaxTime("1.000000001999")).toEqual([1, 1]);
    expect(parsePaxTime("1e5")).toBeUndefined();
  });
});

describe("cleanEntryPath()", () => {
  it.each([
    ["a", "/a"],
    ["./a/b/", "/a/b"],
    ["/a//b/./c", "/a/b/c"],
    ["./", "/"],
    [".", "/"],
    ["a/../b", "/b"],
    ["a/..", "/"],
    ["...", "/..."],
    ["a/.b", "/a/.b"],
  ])("makes %s %s", (name, path) => expect(cleanEntryPath(name)).toBe(path));

  it.each(["..", "../a", "a/../../b", "", "/..", "a\0b"])("refuses %j", (name) => {
    expect(() => cleanEntryPath(name)).toThrow();
  });
});
