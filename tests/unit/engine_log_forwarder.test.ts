/** From the file to a log server: nothing twice, nothing left out, in order, whatever the server does. */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Container } from "../../engine/container.ts";
import type { LogLine, RemoteLogDriver } from "../../engine/log_drivers/driver.ts";
import { linesOf, LogForwarder } from "../../engine/log_drivers/forwarder.ts";
import { createLogger } from "../../engine/log.ts";
import { waitFor } from "../support/processes.ts";

let dir: string;
beforeEach(() => dir = Deno.makeTempDirSync({ prefix: "berth-forward-" }));
afterEach(() => Deno.removeSync(dir, { recursive: true }));

const decoder = new TextDecoder();
const silent = createLogger("error", () => {});

/** A container as far as a forwarder sees it. */
class PaperContainer {
  running = true;
  removed = false;
  readonly id = "c";
  readonly record;
  readonly #watchers = new Set<() => void>();
  #time = 0;

  constructor(config: Record<string, string> = {}) {
    this.record = { id: "c", dir, hostConfig: { LogConfig: { Type: "syslog", Config: config } } };
  }

  /** @param many entries of one and the same time. */
  print(...many: string[]): void {
    const time = new Date(Date.UTC(2026, 0, 1) + ++this.#time).toISOString();
    const entries = many.map((text) => `${JSON.stringify({ log: `${text}\n`, stream: "stdout", time })}\n`);
    Deno.writeTextFileSync(`${dir}/container-cached.log`, entries.join(""), { append: true });
  }

  end(): void {
    this.running = false;
    for (const watcher of this.#watchers) watcher();
  }

  watch(callback: () => void): () => void {
    this.#watchers.add(callback);
    return () => this.#watchers.delete(callback);
  }

  get asContainer(): Container {
    return this as unknown as Container;
  }
}

/** A driver that keeps what it is sent, unless `send` says otherwise. */
function paperDriver(send: (lines: readonly LogLine[]) => Promise<void> = () => Promise.resolve()) {
  const got: string[] = [];
  const driver: RemoteLogDriver = {
    options: [],
    check() {},
    open: () =>
      Promise.resolve({
        async send(lines) {
          await send(lines);
          got.push(...lines.map(({ text }) => decoder.decode(text)));
        },
        close() {},
      }),
  };
  return { driver, got };
}

const until = (condition: () => boolean) => waitFor(condition, 10_000, () => "it does not come to that");

it("LogForwarder sends what is there and what comes, to the end of the run", async () => {
  const container = new PaperContainer();
  const { driver, got } = paperDriver();
  container.print("one", "two");
  const forwarder = new LogForwarder(container.asContainer, driver, silent);
  forwarder.run();
  await until(() => got.length === 2);
  container.print("three");
  container.end();
  await forwarder.drained(10_000);
  expect(got).toEqual(["one", "two", "three"]);
});

it("goes on where the last one was, in the middle of entries of one time", async () => {
  const container = new PaperContainer();
  container.print("one", "two");
  container.print("three", "four", "five");
  container.end();
  const first = paperDriver();
  await finished(container, first.driver);
  expect(first.got).toEqual(["one", "two", "three", "four", "five"]);
  // As if it had been killed after the fourth.
  const position = JSON.parse(Deno.readTextFileSync(`${dir}/log-forwarded.json`)) as { count: number };
  expect(position).toMatchObject({ count: 3 });
  Deno.writeTextFileSync(`${dir}/log-forwarded.json`, JSON.stringify({ ...position, count: 2 }));
  const second = paperDriver();
  await finished(container, second.driver);
  expect(second.got).toEqual(["five"]);
  const third = paperDriver();
  await finished(container, third.driver);
  expect(third.got).toEqual([]);
});

async function finished(container: PaperContainer, driver: RemoteLogDriver): Promise<void> {
  const forwarder = new LogForwarder(container.asContainer, driver, silent);
  forwarder.run();
  await forwarder.drained(10_000);
}

it("sends again, in order, what a server has refused", async () => {
  const container = new PaperContainer();
  let refusals = 2;
  const { driver, got } = paperDriver(() =>
    refusals-- > 0 ? Promise.reject(new Error("connection reset by peer")) : Promise.resolve()
  );
  for (let n = 0; n < 700; n++) container.print(`n${n}`);
  container.end();
  await finished(container, driver);
  expect(got).toEqual(Array.from({ length: 700 }, (_, n) => `n${n}`));
});

it.each([["blocking", 1000], ["non-blocking", 1]])(
  "with mode=%s %i of 1000 lines are left of a server that hangs",
  async (mode, sent) => {
    const container = new PaperContainer({
      mode,
      ...(mode === "blocking" ? {} : { "max-buffer-size": "50" }),
    });
    let release = () => {};
    const hanging = new Promise<void>((resolve) => release = resolve);
    const { driver, got } = paperDriver(() => hanging);
    container.print("x".repeat(40));
    for (let n = 1; n < 1000; n++) container.print("y".repeat(40));
    container.end();
    const forwarder = new LogForwarder(container.asContainer, driver, silent);
    forwarder.run();
    // What does not fit is dropped while the server hangs.
    await new Promise((resolve) => setTimeout(resolve, 300));
    release();
    await forwarder.drained(10_000);
    expect(got.length).toBe(sent);
    expect(got[0]).toBe("x".repeat(40));
  },
);

it("close() ends it in the middle of everything", async () => {
  const container = new PaperContainer();
  const { driver, got } = paperDriver(() => Promise.reject(new Error("away")));
  container.print("one");
  const forwarder = new LogForwarder(container.asContainer, driver, silent);
  forwarder.run();
  forwarder.close();
  await forwarder.drained(10_000);
  expect(got).toEqual([]);
});

it("linesOf() tells lines from parts of long ones", () => {
  const time = "2026-01-02T03:04:05.000000006Z";
  const frame = (stream: number, text: string) => {
    const body = new TextEncoder().encode(`${time} ${text}`);
    const bytes = new Uint8Array(8 + body.length);
    bytes[0] = stream;
    new DataView(bytes.buffer).setUint32(4, body.length);
    bytes.set(body, 8);
    return bytes;
  };
  const both = new Uint8Array([...frame(1, "part"), ...frame(2, "whole\n")]);
  expect([...linesOf(both)].map((line) => ({ ...line, text: decoder.decode(line.text) }))).toEqual([
    { stream: "stdout", time, text: "part", partial: true },
    { stream: "stderr", time, text: "whole", partial: false },
  ]);
});
