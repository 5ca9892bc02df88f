import { concat } from "../../base/concat.ts";
import { describe, expect, it } from "vitest";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { decompress, detectCompression, sniff } from "../../fs/compression/mod.ts";

const text = (value: string) => new TextEncoder().encode(value);
/** Compressible but not trivial, several decoder chunks long. */
const PLAIN = text(Array.from({ length: 60_000 }, (_, i) => `line ${i * 7919 % 10007}\n`).join(""));

async function* chunksOf(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
  }
}

async function inflate(bytes: Uint8Array, size = 1000): Promise<Uint8Array> {
  const { compression, chunks } = await sniff(chunksOf(bytes, size));
  const out: Uint8Array[] = [];
  for await (const chunk of decompress(compression, chunks)) out.push(chunk.slice());
  return concat(out);
}

async function byProgram(program: string): Promise<Uint8Array | undefined> {
  try {
    const child = new Deno.Command(program, { args: ["-c"], stdin: "piped", stdout: "piped" }).spawn();
    const writer = child.stdin.getWriter();
    const [{ stdout }] = await Promise.all([child.output(), writer.write(PLAIN).then(() => writer.close())]);
    return stdout;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const SKIPPABLE = new Uint8Array([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
const EMPTY_SKIPPABLE = new Uint8Array([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);

describe("decompress()", () => {
  const gz = new Uint8Array(gzipSync(PLAIN));
  const zst = new Uint8Array(zstdCompressSync(PLAIN));
  const twice = concat([PLAIN, PLAIN]);

  it.each([1, 5, 1000, 1 << 20])("reads plain bytes in chunks of %i", async (size) => {
    const bytes = PLAIN.subarray(0, 5000);
    expect(await inflate(bytes, size)).toEqual(bytes);
  });

  it.each([
    ["one gzip member", gz, PLAIN],
    ["two gzip members", concat([gz, gz]), twice],
    ["gzip with zeros behind it", concat([gz, new Uint8Array(512)]), PLAIN],
    ["one zstd frame", zst, PLAIN],
    [
      "zstd frames with skippable ones between",
      concat([SKIPPABLE, zst, EMPTY_SKIPPABLE, zst, SKIPPABLE]),
      twice,
    ],
    ["zstd frames of nothing", concat([zstdCompressSync(new Uint8Array(0)), zst]), PLAIN],
    [
      "a zstd frame of one byte repeated",
      zstdCompressSync(new Uint8Array(300_000).fill(7)),
      new Uint8Array(300_000).fill(7),
    ],
  ])("reads %s, in chunks of any size", async (_name, bytes, wanted) => {
    for (const size of [97, 5000, 1 << 20]) expect(await inflate(bytes, size)).toEqual(wanted);
  });

  it("reads zstd split anywhere", async () => {
    const small = zstdCompressSync(text("hello hello hello"));
    expect(await inflate(concat([small, SKIPPABLE, small]), 1)).toEqual(text("hello hello hello".repeat(2)));
  });

  it.each(["xz", "bzip2"])("reads %s by the program", async (program) => {
    const bytes = await byProgram(program);
    if (bytes === undefined) return;
    expect(detectCompression(bytes)).toBe(program);
    expect(await inflate(bytes)).toEqual(PLAIN);
    await expect(inflate(bytes.subarray(0, bytes.length - 40))).rejects.toMatchObject({ kind: "invalid" });
  });

  it.each([["gzip", gz], ["zstd", zst]])("refuses %s that is cut short", async (_name, bytes) => {
    for (const cut of [12, 40, 1000, bytes.length >> 1, bytes.length - 1]) {
      await expect(inflate(bytes.subarray(0, cut)), `${cut} bytes`).rejects.toMatchObject({
        kind: "invalid",
      });
    }
  });

  it.each([["gzip", gz], ["zstd", zst]])("refuses %s that is damaged", async (_name, bytes) => {
    const damaged = bytes.slice();
    // the structure: zstd has no checksum here that would tell changed literals
    damaged.fill(0xff, 12, 80);
    await expect(inflate(damaged)).rejects.toMatchObject({ kind: "invalid" });
  });

  it("hands on the error of its source", async () => {
    async function* broken() {
      await Promise.resolve();
      yield gz.subarray(0, 2000);
      throw new DOMException("gone", "AbortError");
    }
    const { compression, chunks } = await sniff(broken());
    const all = async () => {
      for await (const _ of decompress(compression, chunks));
    };
    await expect(all()).rejects.toMatchObject({ name: "AbortError" });
  });
});
