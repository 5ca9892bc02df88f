/** How `berth build` shows a build: in place on a terminal, line by line elsewhere, as JSON for programs. */
import { describe, expect, test, vi } from "vitest";
import type { SessionEvent } from "../../base/build_session.ts";
import { PlainProgress } from "../../cli/build/progress/plain.ts";
import { RawJsonProgress } from "../../cli/build/progress/raw_json.ts";
import { printable, TerminalProgress } from "../../cli/build/progress/terminal.ts";
import { checkText, excerpt, warningsText } from "../../cli/build/report.ts";

const plan = (...names: string[]): SessionEvent => ({
  kind: "plan",
  vertices: names.map((name, id) => ({ id, name, inputs: [] })),
});
const start = (id: number, time: number): SessionEvent => ({ kind: "start", id, time });
const done = (id: number, time: number, cached = false, error?: string): SessionEvent => ({
  kind: "done",
  id,
  time,
  cached,
  error,
});
const log = (id: number, text: string, time: number, stream: 1 | 2 = 1): SessionEvent => ({
  kind: "log",
  id,
  stream,
  data: new TextEncoder().encode(text).toBase64(),
  time,
});
const status = (id: number, current: number, time: number, done = false): SessionEvent => ({
  kind: "status",
  id,
  name: "sha256:abc",
  current,
  total: 3_200_000,
  time,
  done,
});

/** A terminal of so many rows that remembers what stands on it, scrolled out lines included. */
class FakeTerminal {
  rows: number;
  columns: number;
  readonly lines: string[] = [""];
  writes = 0;
  #at = 0;

  constructor(rows: number, columns: number) {
    this.rows = rows;
    this.columns = columns;
  }

  size = () => ({ rows: this.rows, columns: this.columns });

  write = (text: string) => {
    this.writes++;
    // deno-lint-ignore no-control-regex -- a terminal's own language
    for (const [part] of text.matchAll(/\x1b\[[?\d]*[A-Za-z]|[^\x1b]+/g)) {
      const up = part.startsWith("\x1b") ? /^.\[(\d+)A$/.exec(part)?.[1] : undefined;
      if (up !== undefined) {
        expect(Number(up)).toBeLessThan(this.rows);
        this.#at = Math.max(0, this.#at - Number(up));
      } else if (part === "\x1b[J") this.lines.splice(this.#at, Infinity, "");
      else if (!part.startsWith("\x1b")) this.#print(part);
    }
  };

  #print(text: string): void {
    for (const piece of text.split(/(?<=\n)/)) {
      const line = piece.replace(/[\r\n]/g, "");
      if (line !== "") this.lines[this.#at] = line;
      expect(line.length).toBeLessThanOrEqual(this.columns);
      if (piece.endsWith("\n")) this.lines[++this.#at] ??= "";
    }
  }
}

describe("TerminalProgress", () => {
  test("shows steps, times, what is cached, and the last output of what runs", () => {
    vi.useFakeTimers({ now: 100_000 });
    try {
      const terminal = new FakeTerminal(24, 60);
      const progress = new TerminalProgress(terminal, "berth");
      progress.take(plan("[1/3] FROM busybox", "[2/3] RUN make", "[3/3] RUN test"));
      progress.take(start(0, 100_000));
      progress.take(done(0, 100_000, true));
      progress.take(start(1, 100_000));
      progress.take(log(1, "one\n\x1b[31mtwo\x1b[0m\r\nthr\tee", 100_500));
      progress.take(status(1, 1_000_000, 100_600));
      vi.advanceTimersByTime(1500);
      expect(terminal.lines).toEqual([
        "[+] Building 1.5s (1/3)                                berth",
        " => CACHED [1/3] FROM busybox                           0.0s",
        " => [2/3] RUN make                                      1.5s",
        " => => sha256:abc 1.00MB / 3.20MB                       0.9s",
        " => => # one",
        " => => # two",
        " => => # thr    ee",
        "",
      ]);
      progress.take(done(1, 101_500));
      progress.take(start(2, 101_500));
      progress.take(done(2, 101_600, false, "exit code: 1"));
      progress.end();
      expect(terminal.lines).toEqual([
        "[+] Building 1.5s (3/3) FINISHED                       berth",
        " => CACHED [1/3] FROM busybox                           0.0s",
        " => [2/3] RUN make                                      1.5s",
        " => => sha256:abc 1.00MB / 3.20MB                       0.9s",
        " => ERROR [3/3] RUN test                                0.1s",
        "",
      ]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("is never higher than the terminal, and shows everything in the end", () => {
    vi.useFakeTimers({ now: 0 });
    try {
      const terminal = new FakeTerminal(8, 40);
      const progress = new TerminalProgress(terminal, "berth");
      progress.take(
        plan(
          ...Array.from({ length: 30 }, (_, id) => `[${id}] RUN a very long command that does not fit ${id}`),
        ),
      );
      for (let id = 0; id < 30; id++) {
        progress.take(start(id, id * 100));
        if (id < 28) progress.take(done(id, id * 100 + 50));
        vi.advanceTimersByTime(100);
        expect(terminal.lines.filter((line) => line !== "").length).toBeLessThan(8);
      }
      expect(terminal.lines.join("\n")).toContain("[29] RUN");
      terminal.rows = 5;
      vi.advanceTimersByTime(100);
      progress.end();
      expect(terminal.lines.filter((line) => / => /.test(line)).length).toBeGreaterThanOrEqual(30);
    } finally {
      vi.useRealTimers();
    }
  });

  test("stays in place on a terminal that does not say its size", () => {
    vi.useFakeTimers({ now: 0 });
    try {
      const terminal = new FakeTerminal(10, 80);
      terminal.size = () => ({ rows: 0, columns: 0 });
      const progress = new TerminalProgress(terminal, "berth");
      progress.take(plan("[1/1] RUN x"));
      progress.take(start(0, 0));
      vi.advanceTimersByTime(1000);
      expect(terminal.lines).toEqual([
        `[+] Building 1.0s (0/1)${"berth".padStart(57)}`,
        ` => [1/1] RUN x${"1.0s".padStart(65)}`,
        "",
      ]);
      progress.end();
    } finally {
      vi.useRealTimers();
    }
  });

  test("draws nothing when nothing has happened", () => {
    vi.useFakeTimers({ now: 0 });
    try {
      const terminal = new FakeTerminal(24, 80);
      const progress = new TerminalProgress(terminal, "berth");
      progress.take(plan("[1/1] RUN x"));
      vi.advanceTimersByTime(1000);
      expect(terminal.writes).toBe(1);
      progress.end();
    } finally {
      vi.useRealTimers();
    }
  });

  test("takes from a program's output whatever moves the cursor", () => {
    expect(printable("10%\r20%\r")).toBe("20%");
    expect(printable("a\x1b[2J\x1b[1;1Hb\x1b]0;title\x07c\x9bd\x08e\x1bMf")).toBe("abcdef");
  });
});

describe("PlainProgress", () => {
  test("lets one step speak at a time", () => {
    let text = "";
    const progress = new PlainProgress((more) => text += more);
    progress.take(plan("[1/2] RUN one", "[2/2] RUN two"));
    progress.take(start(0, 1000));
    progress.take(start(1, 1000));
    progress.take(log(1, "two speaks\n", 1100));
    progress.take(log(0, "one", 1200));
    progress.take(log(0, " speaks\n", 1300));
    progress.take(done(0, 2000));
    progress.take(log(1, "and ends without a newline", 2100, 2));
    progress.take(done(1, 3000, false, "it failed"));
    progress.end();
    expect(text).toBe([
      "#1 [1/2] RUN one",
      "#1 0.300 one speaks",
      "#1 DONE 1.0s",
      "",
      "#2 [2/2] RUN two",
      "#2 0.100 two speaks",
      "#2 1.100 and ends without a newline",
      "#2 ERROR: it failed",
      "",
    ].join("\n"));
  });

  test("tells of transfers when they begin and when they are done", () => {
    let text = "";
    const progress = new PlainProgress((more) => text += more);
    progress.take(plan("[1/1] FROM x"));
    progress.take(start(0, 0));
    for (let i = 0; i < 10; i++) progress.take(status(0, i * 100_000, i * 10));
    progress.take(status(0, 3_200_000, 500, true));
    progress.take(done(0, 600));
    expect(text).toBe(
      "#1 [1/1] FROM x\n#1 sha256:abc 0B / 3.20MB\n#1 sha256:abc 3.20MB / 3.20MB 0.5s done\n#1 DONE 0.6s\n",
    );
  });
});

test("RawJsonProgress writes what BuildKit's programs read", () => {
  const lines: Record<string, unknown>[] = [];
  const progress = new RawJsonProgress((line) => lines.push(JSON.parse(line)));
  progress.take(plan("[1/1] RUN x"));
  progress.take(start(0, 0));
  progress.take(log(0, "hi\n", 1));
  progress.take(done(0, 2, true));
  const digest = `sha256:${"0".repeat(64)}`;
  const [began, ended] = ["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.002Z"];
  expect(lines).toEqual([
    { vertexes: [{ digest, name: "[1/1] RUN x", started: began }] },
    { logs: [{ vertex: digest, stream: 1, data: btoa("hi\n"), timestamp: "1970-01-01T00:00:00.001Z" }] },
    { vertexes: [{ digest, name: "[1/1] RUN x", started: began, completed: ended, cached: true }] },
  ]);
});

describe("reports", () => {
  const file = { name: "Dockerfile", text: "FROM a\nRUN b \\\n  c\nRUN d\nRUN e\n" };
  const warning = {
    rule: "FromAsCasing",
    description: "Why",
    url: "https://example.com/rule",
    message: "as and FROM",
    range: { startLine: 1, endLine: 1 },
  };

  test("excerpt() marks the lines that are meant", () => {
    expect(excerpt(file, { startLine: 2, endLine: 3 })).toBe(
      "Dockerfile:2\n--------------------\n   1 |     FROM a\n   2 | >>> RUN b \\\n   3 | >>>   c\n" +
        "   4 |     RUN d\n   5 |     RUN e\n--------------------\n",
    );
    expect(excerpt(file, { startLine: 99, endLine: 99 })).toBe("");
  });

  test("warningsText() is short, and with debug whole", () => {
    expect(warningsText([], file, false)).toBe("");
    expect(warningsText([warning], file, false)).toBe(
      "\n 1 warning found (use --debug to expand):\n - FromAsCasing: as and FROM (line 1)\n",
    );
    expect(warningsText([warning, warning], file, true)).toContain(
      "\n 2 warnings found:\n\nWARNING: FromAsCasing - https://example.com/rule\nWhy\nas and FROM\n\nDockerfile:1\n",
    );
    expect(checkText([], file)).toBe("Check complete, no warnings found.\n");
  });
});
