import { describe, expect, test } from "vitest";
import { Demultiplexer } from "../../cli/demux.ts";
import { jsonTexts, jsonValues } from "../../cli/json_lines.ts";
import { DetachWatcher, parseDetachKeys } from "../../cli/terminal/detach_keys.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function frame(stream: number, text: string): number[] {
  const payload = encode(text);
  const header = new Uint8Array(8);
  header[0] = stream;
  new DataView(header.buffer).setUint32(4, payload.length);
  return [...header, ...payload];
}

function collector() {
  const seen: string[] = [];
  const demux = new Demultiplexer({
    stdout: (bytes) => Promise.resolve(void seen.push(`1:${decode(bytes)}`)),
    stderr: (bytes) => Promise.resolve(void seen.push(`2:${decode(bytes)}`)),
  });
  return { demux, seen };
}

describe("Demultiplexer", () => {
  const stream = Uint8Array.from([
    ...frame(1, "out"),
    ...frame(2, "err"),
    ...frame(1, ""),
    ...frame(1, "more"),
  ]);

  test("separates the streams of whole frames", async () => {
    const { demux, seen } = collector();
    await demux.push(stream);
    expect(seen).toEqual(["1:out", "2:err", "1:more"]);
  });

  test.each([1, 2, 3, 5, 7, 8, 9, 11])("separates them when they come %d bytes at a time", async (size) => {
    const { demux, seen } = collector();
    for (let at = 0; at < stream.length; at += size) await demux.push(stream.subarray(at, at + size));
    const joined = (prefix: string) =>
      seen.filter((s) => s.startsWith(prefix)).map((s) => s.slice(2)).join("");
    expect([joined("1:"), joined("2:")]).toEqual(["outmore", "err"]);
  });

  test("passes a payload on before the frame is whole", async () => {
    const { demux, seen } = collector();
    await demux.push(Uint8Array.from(frame(1, "hello").slice(0, 10)));
    expect(seen).toEqual(["1:he"]);
  });

  test("passes on together what follows on one stream", async () => {
    const { demux, seen } = collector();
    const lines = Array.from({ length: 50 }, (_, i) => frame(1, `${i}\n`)).flat();
    await demux.push(Uint8Array.from([...lines, ...frame(2, "a"), ...frame(2, "b"), ...frame(1, "end")]));
    expect(seen).toEqual([`1:${Array.from({ length: 50 }, (_, i) => `${i}\n`).join("")}`, "2:ab", "1:end"]);
  });

  test("throws for a stream without frames", async () => {
    await expect(collector().demux.push(encode("plain text of a terminal"))).rejects.toThrow(
      "unrecognized stream",
    );
  });

  test("throws the engine's error of stream 3", async () => {
    const { demux } = collector();
    await expect(demux.push(Uint8Array.from(frame(3, "log driver broke")))).rejects.toThrow(
      "log driver broke",
    );
  });
});

describe("parseDetachKeys()", () => {
  test.each([
    ["", [16, 17]],
    ["ctrl-p,ctrl-q", [16, 17]],
    ["ctrl-a", [1]],
    ["a,b", [97, 98]],
    ["ctrl-@,ctrl-[,ctrl-_", [0, 27, 31]],
    ["del", [127]],
  ])("takes %j", (keys, bytes) => {
    expect([...parseDetachKeys(keys)]).toEqual(bytes);
  });

  test("refuses what is no key", () => {
    expect(() => parseDetachKeys("ctrl-foo")).toThrow(
      "invalid detach keys (ctrl-foo): Unknown character: 'ctrl-foo'",
    );
  });
});

describe("DetachWatcher", () => {
  const feed = (watcher: DetachWatcher, ...bytes: number[]) => {
    const { pass, detached } = watcher.feed(Uint8Array.from(bytes));
    return [[...pass], detached];
  };

  test("passes everything else on", () => {
    expect(feed(new DetachWatcher(parseDetachKeys("")), 1, 2, 3)).toEqual([[1, 2, 3], false]);
  });

  test("sees the sequence within and across reads", () => {
    expect(feed(new DetachWatcher(parseDetachKeys("")), 1, 16, 17, 5)).toEqual([[1], true]);
    const watcher = new DetachWatcher(parseDetachKeys(""));
    expect(feed(watcher, 16)).toEqual([[], false]);
    expect(feed(watcher, 17)).toEqual([[], true]);
  });

  test("gives back what only began like it", () => {
    const watcher = new DetachWatcher(parseDetachKeys(""));
    expect(feed(watcher, 16)).toEqual([[], false]);
    expect(feed(watcher, 65)).toEqual([[16, 65], false]);
    expect(feed(watcher, 16, 16, 17)).toEqual([[16], true]);
  });
});

describe("jsonValues()", () => {
  async function collect(...chunks: string[]): Promise<unknown[]> {
    async function* bytes() {
      for (const chunk of chunks) yield await Promise.resolve(encode(chunk));
    }
    return await Array.fromAsync(jsonValues(bytes()));
  }

  test("splits values with and without newlines, and joins those that are cut", async () => {
    expect(await collect('{"a":1}{"b":"}{"}\r\n{"c"', ':"\\"', '"}\n')).toEqual([{ a: 1 }, { b: "}{" }, {
      c: '"',
    }]);
  });

  test("keeps a character that is cut between two reads", async () => {
    const bytes = encode('{"a":"é"}');
    async function* cut() {
      yield await Promise.resolve(bytes.subarray(0, 7));
      yield bytes.subarray(7);
    }
    expect(await Array.fromAsync(jsonTexts(cut()))).toEqual(['{"a":"é"}']);
  });

  test("throws for a stream that ends within a value", async () => {
    await expect(collect('{"a":')).rejects.toThrow(SyntaxError);
  });
});
