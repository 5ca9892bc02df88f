import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { closeAll, openLogFiles, seekSince } from "../../engine/log_files.ts";
import { readLogs } from "../../engine/log_reader.ts";
import type { LogsOptions } from "../../engine/types.ts";

const ALL: LogsOptions = {
  stdout: true,
  stderr: true,
  follow: false,
  since: undefined,
  until: undefined,
  timestamps: false,
  details: false,
  tail: undefined,
};
const STOPPED = { tty: true, running: () => false, onChange: () => () => {} };

let root: string;
let count = 0;

beforeAll(() => {
  root = Deno.makeTempDirSync({ prefix: "berth-logs-" });
});
afterAll(() => Deno.removeSync(root, { recursive: true }));

/** A path of its own for each test's log, in a directory of its own. */
function logPath(): string {
  const dir = `${root}/${count++}`;
  Deno.mkdirSync(dir);
  return `${dir}/x-json.log`;
}

function entry(
  log: string,
  second = 0,
  stream = "stdout",
  attrs?: Record<string, string>,
): string {
  const time = `2026-01-01T00:00:${String(second).padStart(2, "0")}.5Z`;
  return `${JSON.stringify({ log, stream, ...(attrs ? { attrs } : {}), time })}\n`;
}

async function gather(
  path: string,
  options: Partial<LogsOptions> = {},
  source: Parameters<typeof readLogs>[2] = STOPPED,
  signal = new AbortController().signal,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readLogs({ path }, { ...ALL, ...options }, source, signal)) chunks.push(chunk);
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
}

async function text(...args: Parameters<typeof gather>): Promise<string> {
  return new TextDecoder().decode(await gather(...args));
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("nothing came");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe("readLogs()", () => {
  it("frames each entry with its stream and length", async () => {
    const path = logPath();
    Deno.writeTextFileSync(path, entry("out\n") + entry("é\n", 1, "stderr"));
    expect([...await gather(path, {}, { ...STOPPED, tty: false })]).toEqual([
      ...[1, 0, 0, 0, 0, 0, 0, 4, 0x6f, 0x75, 0x74, 0x0a],
      ...[2, 0, 0, 0, 0, 0, 0, 3, 0xc3, 0xa9, 0x0a],
    ]);
  });

  it("gives back exactly what any JSON writer has escaped", async () => {
    const path = logPath();
    const lines = [
      `plain\n`,
      `no end`,
      `\n`,
      ``,
      `"quoted" and \\ and \\n literally\n`,
      `\t\b\f\r\u0000\u001b[31mred\n`,
      `😀 ü € <&>\n`,
      `back\\\\slash"\\"\n`,
      `ends with backslash\\`,
      `","stream":"stderr","time":"x"}\n`,
    ];
    Deno.writeTextFileSync(path, lines.map((line) => entry(line)).join(""));
    expect(await text(path)).toBe(lines.join(""));
    // As Go escapes: surrogate pairs, HTML characters, invalid UTF-8.
    Deno.writeTextFileSync(
      path,
      '{"log":"\\u003cb\\u003e \\ud83d\\ude00 \\u00e9 \\u20ac \\ufffd\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n',
    );
    expect(await text(path)).toBe("<b> 😀 é € \ufffd\n");
  });

  it("selects streams", async () => {
    const path = logPath();
    Deno.writeTextFileSync(path, entry("o\n") + entry("e\n", 0, "stderr") + entry("o2\n"));
    expect(await text(path, { stderr: false })).toBe("o\no2\n");
    expect(await text(path, { stdout: false })).toBe("e\n");
  });

  it("selects by time, both ends included", async () => {
    const path = logPath();
    Deno.writeTextFileSync(path, [0, 1, 2, 3, 4].map((s) => entry(`${s}\n`, s)).join(""));
    const at = (s: number) => BigInt(Date.UTC(2026, 0, 1, 0, 0, s, 500)) * 1_000_000n;
    expect(await text(path, { since: at(3) })).toBe("3\n4\n");
    expect(await text(path, { since: at(3) + 1n })).toBe("4\n");
    expect(await text(path, { until: at(1) })).toBe("0\n1\n");
    expect(await text(path, { since: at(1), until: at(2) })).toBe("1\n2\n");
  });

  it("puts times and details before a line as Docker does", async () => {
    const path = logPath();
    Deno.writeTextFileSync(path, entry("x\n", 1) + entry("y\n", 2, "stdout", { z: "1 2", "a&b": "c" }));
    expect(await text(path, { timestamps: true })).toBe(
      "2026-01-01T00:00:01.500000000Z x\n2026-01-01T00:00:02.500000000Z y\n",
    );
    expect(await text(path, { timestamps: true, details: true })).toBe(
      "2026-01-01T00:00:01.500000000Z  x\n2026-01-01T00:00:02.500000000Z a%26b=c,z=1+2 y\n",
    );
  });

  it("tails over block borders, whatever the length of lines", async () => {
    const path = logPath();
    const lines = Array.from({ length: 3000 }, (_, i) => `${i} ${"x".repeat((i * 7919) % 257)}\n`);
    Deno.writeTextFileSync(path, lines.map((line) => entry(line)).join(""));
    for (const tail of [0, 1, 2, 17, 1500, 2999, 3000, 3001, 1e9]) {
      expect(await text(path, { tail }), `tail ${tail}`).toBe(lines.slice(Math.max(0, 3000 - tail)).join(""));
    }
  });

  it("tails over rotated files, compressed ones too", async () => {
    const path = logPath();
    const gzip = async (data: string) =>
      new Uint8Array(
        await new Response(new Blob([data]).stream().pipeThrough(new CompressionStream("gzip")))
          .arrayBuffer(),
      );
    const lines = Array.from({ length: 40 }, (_, i) => `${i}\n`);
    const part = (from: number) => lines.slice(from, from + 10).map((line) => entry(line)).join("");
    Deno.writeFileSync(`${path}.3.gz`, await gzip(part(0)));
    Deno.writeFileSync(`${path}.2.gz`, await gzip(part(10)));
    Deno.writeTextFileSync(`${path}.1`, part(20));
    Deno.writeTextFileSync(path, part(30));
    for (const tail of [undefined, 0, 3, 10, 11, 20, 21, 25, 30, 39, 40, 99]) {
      const expected = tail === undefined ? lines : lines.slice(Math.max(0, 40 - tail));
      expect(await text(path, { tail }), `tail ${tail}`).toBe(expected.join(""));
    }
  });

  it("finds a time in a large log, over disorder and rotation", async () => {
    const path = logPath();
    const start = Date.parse("2026-01-01T00:00:00Z");
    const at = (i: number) => new Date(start + i * 10).toISOString();
    const line = (i: number, time: string) =>
      `${JSON.stringify({ log: `${i} ${"x".repeat(i % 300)}\n`, stream: "stdout", time })}\n`;
    const all = Array.from(
      { length: 24_000 },
      (_, i) => line(i, i % 50 === 0 ? at(Math.max(0, i - 900)) : at(i)),
    );
    Deno.writeTextFileSync(`${path}.1`, all.slice(0, 4000).join(""));
    Deno.utimeSync(`${path}.1`, start / 1000 + 40, start / 1000 + 40);
    Deno.writeTextFileSync(path, all.slice(4000).join(""));
    for (const wanted of [0, 3000, 3999, 4000, 4001, 12_345, 20_000, 23_999, 30_000]) {
      const since = BigInt(Date.parse(at(wanted))) * 1_000_000n;
      const expected = all.filter((text) => (JSON.parse(text) as { time: string }).time >= at(wanted))
        .map((text) => (JSON.parse(text) as { log: string }).log.split(" ")[0]);
      const got = (await text(path, { since })).split("\n").slice(0, -1).map((text) => text.split(" ")[0]);
      expect(got, `since entry ${wanted}`).toEqual(expected);
    }
    // and reads little of it
    const left = seekSince(openLogFiles(path), BigInt(start + 230_000) * 1_000_000n);
    expect(left.length).toBe(1);
    expect(left[0]?.file.seekSync(0, Deno.SeekMode.Current)).toBeGreaterThan(1_000_000);
    closeAll(left);
  });

  it("leaves out what a crash has torn, and nothing else", async () => {
    const path = logPath();
    Deno.writeTextFileSync(
      path,
      entry("a\n") + '{"log":"half of a li' + entry("b\n") + entry("c\n").slice(0, -7),
    );
    expect(await text(path)).toBe("a\nb\n");
    Deno.writeTextFileSync(path, "garbage\n\n{}\n[1]\nnull\n" + entry("ok\n"));
    expect(await text(path)).toBe("ok\n");
  });

  it("answers nothing for a log that does not exist", async () => {
    expect(await text(`${root}/none/x-json.log`)).toBe("");
    expect(await text(`${root}/none/x-json.log`, { tail: 5 })).toBe("");
  });

  it("follows over rotation until the container has ended, losing nothing", async () => {
    const path = logPath();
    Deno.writeTextFileSync(path, "");
    let running = true;
    let wake = () => {};
    let subscribed = 0;
    const source = {
      tty: true,
      running: () => running,
      onChange: (callback: () => void) => {
        wake = callback;
        subscribed++;
        return () => void subscribed--;
      },
    };
    let got = "";
    const reading = (async () => {
      const decoder = new TextDecoder();
      const signal = new AbortController().signal;
      for await (const chunk of readLogs({ path }, { ...ALL, follow: true }, source, signal)) {
        got += decoder.decode(chunk, { stream: true });
      }
    })();
    let expected = "";
    for (let i = 0; i < 60; i++) {
      const line = `${i}\n`;
      expected += line;
      const written = entry(line);
      // In two writes: a reader must wait for the end of a line.
      Deno.writeTextFileSync(path, written.slice(0, 11), { append: true });
      await new Promise((resolve) => setTimeout(resolve, i % 3));
      Deno.writeTextFileSync(path, written.slice(11), { append: true });
      if (i % 7 === 6) {
        await until(() => got === expected);
        for (const n of [2, 1]) {
          try {
            Deno.renameSync(`${path}.${n}`, `${path}.${n + 1}`);
          } catch { /* not there yet */ }
        }
        Deno.renameSync(path, `${path}.1`);
        Deno.writeTextFileSync(path, "");
      }
    }
    await until(() => got === expected);
    Deno.writeTextFileSync(path, entry("last words"), { append: true });
    running = false;
    wake();
    await reading;
    expect(got).toBe(`${expected}last words`);
    expect(subscribed).toBe(0);
  });

  it("follows a log whose only file is emptied by rotation", async () => {
    const path = logPath();
    Deno.writeTextFileSync(path, entry("a long first line that makes the file longer than the next\n"));
    let running = true;
    let got = "";
    const source = { tty: true, running: () => running, onChange: () => () => {} };
    const reading = (async () => {
      for await (
        const chunk of readLogs(
          { path },
          { ...ALL, follow: true, tail: 0 },
          source,
          new AbortController().signal,
        )
      ) got += new TextDecoder().decode(chunk);
    })();
    await new Promise((resolve) => setTimeout(resolve, 50));
    Deno.writeTextFileSync(path, entry("b\n"));
    await until(() => got !== "");
    running = false;
    Deno.writeTextFileSync(path, entry("c\n"), { append: true });
    await reading;
    expect(got).toBe("b\nc\n");
  });

  it("ends without an error when the client goes or `until` has passed", async () => {
    const path = logPath();
    Deno.writeTextFileSync(path, entry("a\n"));
    const source = { tty: true, running: () => true, onChange: () => () => {} };
    const client = new AbortController();
    const reading = text(path, { follow: true }, source, client.signal);
    setTimeout(() => client.abort(), 20);
    expect(await reading).toBe("a\n");
    expect(await text(path, { follow: true, until: BigInt(Date.now() + 30) * 1_000_000n }, source)).toBe(
      "a\n",
    );
  });

  it("stops at once when the reader stops taking", async () => {
    const path = logPath();
    Deno.writeTextFileSync(path, entry("x".repeat(2000) + "\n").repeat(500));
    const open = () => [...Deno.readDirSync("/proc/self/fd")].length;
    const before = open();
    for await (
      const chunk of readLogs({ path }, { ...ALL, follow: true }, STOPPED, new AbortController().signal)
    ) {
      expect(chunk.length).toBeLessThan(200_000);
      break;
    }
    await until(() => open() <= before);
  });
});
