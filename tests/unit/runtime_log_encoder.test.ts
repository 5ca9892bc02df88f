/** Entries that are encoded many at once: byte for byte those that are made one by one. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { Recorder } from "../../ffi/recorder.ts";
import { LOG_ENTRIES_PROGRAM } from "../../runtime/log_entries_program.ts";
import { LogWriter } from "../../runtime/shim_log.ts";
import { assembleWat } from "../../scripts/assemble_wat.ts";

const encoder = new TextEncoder();

/** Writes that are never large enough for the encoder. */
const SMALL = 1000;
const SPEC = { driver: "json-file", path: "/l", maxFile: 1, compress: false } as const;

interface Written {
  readonly stream: number;
  readonly data: Uint8Array;
}

/** Files of a log, one after the other; each begins with a line of its own. */
function logged(writes: readonly Written[], maxSize: number, Writer = LogWriter): string {
  const recorder = new Recorder();
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  recorder.answer("open", () => (text += "FILE\n", 100));
  recorder.answer("write", (_, bytes) => {
    text += decoder.decode(bytes);
    return bytes.length;
  });
  const writer = new Writer(recorder.syscalls, { ...SPEC, maxSize, attrs: { label: 'a"b' } });
  for (const { stream, data } of writes) writer.write(stream, data);
  writer.end();
  return text;
}

function cut(writes: readonly Written[]): Written[] {
  return writes.flatMap(({ stream, data }) =>
    Array.from({ length: Math.ceil(data.length / SMALL) }, (_, i) => ({
      stream,
      data: data.subarray(i * SMALL, (i + 1) * SMALL),
    }))
  );
}

/** Numbers below `below`, the same ones for the same seed (a linear congruential generator). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

const WORDS = [
  ...'\n \t \r\n " \\ < > & / \x7f \b \f \0 \x1b[31m é 日本 😀 \u2028 \u2029 \ufeff \ufffd'.split(" "),
  ...["an ordinary line of text\n", "word ", "0123456789abcdef", "0123456789abcdefg", "\n\n\n"],
].map((word) => encoder.encode(word));
/** No UTF-8, or only the start of a character: overlong, surrogates, too large, alone. */
const BROKEN = [[0xff], [0x80], [0xc0, 0xaf], [0xe0, 0x80, 0xaf], [0xed, 0xa0, 0x80], [
  0xf4,
  0x90,
  0x80,
  0x80,
]]
  .concat([[0xe2, 0x80], [0xf0, 0x9f, 0x98], [0xc3], [0xe2, 0x80, 0xa7], [0xef, 0xbf, 0xbd], [
    0xf0,
    0x8f,
    0x80,
  ]])
  .map((bytes) => Uint8Array.from(bytes));

function randomOutput(seed: number): { writes: Written[]; maxSize: number } {
  const next = random(seed);
  const writes: Written[] = [];
  const newlines = next(3);
  for (let count = 1 + next(4); count > 0; count--) {
    const data = new Uint8Array(4096 + next(80_000));
    for (let at = 0; at < data.length;) {
      const kind = next(40);
      const word = kind === 0
        ? new Uint8Array(next(newlines === 0 ? 40_000 : 200)).fill(0x61 + next(20))
        : kind < 4
        ? BROKEN[next(BROKEN.length)]
        : WORDS[next(newlines === 2 ? WORDS.length : WORDS.length - 5)];
      for (const byte of word ?? []) if (at < data.length) data[at++] = byte;
    }
    writes.push({ stream: 1 + next(2), data });
  }
  return { writes, maxSize: next(2) * (10_000 + next(100_000)) };
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

it("the program is its source, assembled", () => {
  const source = Deno.readTextFileSync(new URL("../../runtime/log_entries.wat", import.meta.url));
  expect(assembleWat(source).toHex()).toBe(LOG_ENTRIES_PROGRAM);
});

describe("LogWriter", () => {
  const stopClock = () => {
    const now = Date.now();
    const since = performance.now();
    vi.spyOn(Date, "now").mockReturnValue(now);
    vi.spyOn(performance, "now").mockReturnValue(since);
  };

  it("writes the same files, whatever is printed and however it comes", () => {
    stopClock();
    let files = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const { writes, maxSize } = randomOutput(seed);
      const atOnce = logged(writes, maxSize);
      expect(atOnce === logged(cut(writes), maxSize), `seed ${seed}`).toBe(true);
      files += atOnce.split("FILE\n").length - 1;
    }
    expect(files).toBeGreaterThan(100);
  });

  it("leaves a full file to readers until there is another entry", () => {
    stopClock();
    const lines = { stream: 1, data: encoder.encode("a line of the log\n".repeat(400)) };
    const one = logged([lines], 0);
    const size = one.length - "FILE\n".length;
    expect(logged([lines], size - 10).split("FILE\n").length).toBe(2);
    expect(
      logged([lines, { stream: 1, data: encoder.encode("no end".repeat(1000)) }], size).split("FILE\n")
        .length,
    )
      .toBe(3);
  });

  it("gives all parts of a line the time of the first, and the next line its own", () => {
    const part = encoder.encode("x".repeat(50_000));
    const rest = encoder.encode(`${"y".repeat(5000)}\nnext\n`.repeat(2));
    const entries = logged([part, part, rest].map((data) => ({ stream: 1, data })), 0)
      .trim().split("\n").slice(1).map((line) => JSON.parse(line) as { log: string; time: string });
    expect(entries.map(({ log }) => log).join("")).toBe(
      new TextDecoder().decode(new Uint8Array([...part, ...part, ...rest])),
    );
    const times = new Set(entries.slice(0, 7).map(({ time }) => time));
    expect(entries[6]?.log.endsWith("\n")).toBe(true);
    expect(times.size).toBe(1);
    expect(times.has(entries[7]?.time ?? "")).toBe(false);
  });

  it("writes the same where WebAssembly is missing", async () => {
    const { writes } = randomOutput(3);
    const withoutTimes = (log: string) => log.replaceAll(/"time":"[^"]*"/g, "");
    const usual = withoutTimes(logged(writes, 0));
    vi.resetModules();
    vi.stubGlobal("WebAssembly", undefined);
    const { LogWriter: Plain } = await import("../../runtime/shim_log.ts");
    expect(withoutTimes(logged(writes, 0, Plain)) === usual).toBe(true);
  });
});
