import { describe, expect, it } from "vitest";
import { EngineError } from "../../base/errors.ts";
import { nowNanos, rfc3339Nano } from "../../engine/clock.ts";
import { Container } from "../../engine/container.ts";
import { DetachScanner, parseDetachKeys } from "../../engine/detach_keys.ts";
import { EventLog } from "../../engine/events.ts";
import { LineSplitter } from "../../engine/line_reader.ts";
import { createLogger } from "../../engine/log.ts";
import { Mutex } from "../../engine/mutex.ts";
import { isAlive, processStat } from "../../base/process_identity.ts";
import { nextDelay, shouldRestart, shouldStartWithEngine } from "../../engine/restart_policy.ts";
import { ShimFailure } from "../../engine/shim_client.ts";
import { explainStartFailure } from "../../engine/start_failure.ts";
import { OOM_STAGE } from "../../runtime/protocol.ts";
import type { EngineEvent } from "../../engine/types.ts";
import { createdRecord } from "../support/engine_records.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

describe("clock", () => {
  it("rfc3339Nano cuts zeros as Go does", () => {
    expect(rfc3339Nano(1_767_323_045_678_901_234n)).toBe("2026-01-02T03:04:05.678901234Z");
    expect(rfc3339Nano(1_767_323_045_500_000_000n)).toBe("2026-01-02T03:04:05.5Z");
    expect(rfc3339Nano(1_767_323_045_000_000_000n)).toBe("2026-01-02T03:04:05Z");
  });

  it("nowNanos never answers the same twice", () => {
    const times = Array.from({ length: 5000 }, nowNanos);
    expect(times.every((time, i) => i === 0 || time > (times[i - 1] ?? 0n))).toBe(true);
  });
});

describe("Mutex", () => {
  it("runs in order and goes on after a failure", async () => {
    const mutex = new Mutex();
    const log: string[] = [];
    let open = () => {};
    const first = mutex.run(() => new Promise<void>((resolve) => open = resolve).then(() => log.push("a")));
    const second = mutex.run(() => {
      log.push("b");
      throw new Error("b failed");
    });
    const third = mutex.run(() => log.push("c"));
    second.catch(() => {});
    expect([log, mutex.busy]).toEqual([[], true]);
    open();
    await first;
    await expect(second).rejects.toThrow("b failed");
    await third;
    expect(log).toEqual(["a", "b", "c"]);
    expect(mutex.busy).toBe(false);
  });
});

describe("DetachScanner", () => {
  const scan = (keys: string | undefined, ...chunks: string[]) => {
    const scanner = new DetachScanner(parseDetachKeys(keys));
    return chunks.map((chunk) => {
      const { data, detached } = scanner.push(bytes(chunk));
      return `${text(data)}${detached ? "!" : ""}`;
    });
  };

  it("finds the default keys across chunks and passes on what comes before", () => {
    expect(scan(undefined, "ls\x10", "\x11rest")).toEqual(["ls", "!"]);
  });

  it("gives held back bytes out when it was no sequence", () => {
    expect(scan("", "\x10", "x\x10\x10\x11")).toEqual(["", "\x10x\x10!"]);
    expect(scan("a,b,c", "abab", "c")).toEqual(["ab", "!"]);
  });

  it("takes single characters and refuses nonsense", () => {
    expect(scan("q", "abqc")).toEqual(["ab!"]);
    expect([...parseDetachKeys("ctrl-@,ctrl-[,ctrl-_,Z")]).toEqual([0, 27, 31, 90]);
    for (const bad of ["ctrl-", "ctrl-1", "ctrl-p,", "abc", "é"]) {
      expect(() => parseDetachKeys(bad)).toThrow(`Invalid detach keys (${bad}) provided`);
    }
  });
});

describe("EventLog", () => {
  const collect = async (stream: AsyncIterable<EngineEvent>) => {
    const actions: string[] = [];
    for await (const event of stream) actions.push(event.Action);
    return actions;
  };
  const noFilters = { since: undefined, until: undefined, filters: new Map<string, string[]>() };

  it("gives past events from since on, then live ones until the signal", async () => {
    const log = new EventLog();
    log.publish("container", "create", "1", {});
    const { timeNano } = log.publish("container", "start", "1", {});
    const stop = new AbortController();
    const seen = collect(log.stream({ ...noFilters, since: timeNano }, stop.signal));
    log.publish("container", "die", "1", {});
    await Promise.resolve();
    stop.abort();
    expect(await seen).toEqual(["start", "die"]);
    expect(log.listeners).toBe(0);
  });

  it("ends by itself at until, with what had happened by then", async () => {
    const log = new EventLog();
    log.publish("container", "create", "1", {});
    const past = nowNanos();
    log.publish("container", "start", "1", {});
    const signal = new AbortController().signal;
    expect(await collect(log.stream({ ...noFilters, since: 0n, until: past }, signal))).toEqual(["create"]);
    // Without a beginning it is from the first that is kept.
    expect(await collect(log.stream({ ...noFilters, until: past }, signal))).toEqual(["create"]);
    const soon = nowNanos() + 20_000_000n;
    expect(await collect(log.stream({ ...noFilters, until: soon }, signal))).toEqual(["create", "start"]);
  });

  it("keeps the last 1,000 and cuts a reader off that falls 10,000 behind", async () => {
    const log = new EventLog();
    const stalled = log.stream(noFilters, new AbortController().signal);
    for (let i = 0; i < 10_001; i++) log.publish("container", `e${i}`, "1", {});
    expect(log.history().map((event) => event.Action)).toEqual(
      Array.from({ length: 1000 }, (_, i) => `e${9001 + i}`),
    );
    expect(log.listeners).toBe(0);
    expect((await collect(stalled)).length).toBe(10_001);
  });

  it("filters by type, action, label, image and container", async () => {
    const log = new EventLog();
    const attributes = { image: "busybox:latest", name: "web-1", tier: "a", zone: "b" };
    log.publish("container", "exec_start: sh -c true", "abc1", attributes);
    log.publish("image", "tag", "sha256:1", { name: "busybox:latest" });
    const seen = (filters: [string, string[]][]) =>
      collect(
        log.stream(
          { since: 0n, until: nowNanos(), filters: new Map(filters) },
          new AbortController().signal,
        ),
      );
    expect(await seen([["event", ["exec_start"]]])).toHaveLength(1);
    expect(await seen([["event", ["exec"]]])).toHaveLength(0);
    expect(await seen([["container", ["web"]], ["label", ["tier=a"]]])).toHaveLength(1);
    expect(await seen([["container", ["abc"]], ["label", ["tier=b"]]])).toHaveLength(0);
    expect(await seen([["label", ["tier=a", "zone"]]])).toHaveLength(1);
    expect(await seen([["label", ["tier=a", "zone=c"]]])).toHaveLength(0);
    expect(await seen([["image", ["busybox"]]])).toHaveLength(2);
    expect(await seen([["type", ["image", "network"]]])).toEqual(["tag"]);
  });
});

describe("Container", () => {
  it("settles waits at the exit and at the removal, and forgets those that were given up", async () => {
    const container = new Container(createdRecord(1));
    const gone = new AbortController();
    let settled = false;
    void container.nextExit(gone.signal).then(() => settled = true);
    gone.abort();
    const exit = container.nextExit();
    const removal = container.removal();
    const state = { ...container.record.state, exitCode: 3 };
    container.record = { ...container.record, state };
    container.notifyExit();
    expect(await exit).toEqual({ StatusCode: 3 });
    const late = container.nextExit();
    container.notifyRemoved();
    expect([await removal, await late]).toEqual([{ StatusCode: 3 }, { StatusCode: 3 }]);
    expect([settled, container.removed]).toEqual([false, true]);
  });
});

describe("explainStartFailure", () => {
  const explain = (message: string, stage = "exec", what: "start" | "exec" = "start") =>
    explainStartFailure(new ShimFailure({ message, errno: 0, stage }), what);

  it("has Docker's exit code, kind and words for each failure", () => {
    const missing = explain('exec: "foo": executable file not found in $PATH');
    expect([missing.exitCode, missing.error.kind]).toEqual([127, "invalid"]);
    expect(missing.error.message).toBe(
      "failed to create task for container: failed to create shim task: OCI runtime create failed: " +
        "runc create failed: unable to start container process: error during container init: " +
        'exec: "foo": executable file not found in $PATH: unknown',
    );
    expect(explain('exec: "/x": stat /x: no such file or directory').exitCode).toBe(127);
    for (const why of ["permission denied", "is a directory", "exec format error"]) {
      expect(explain(`exec: "/x": ${why}`)).toMatchObject({ exitCode: 126, error: { kind: "invalid" } });
    }
    expect(explain("error mounting: not a directory", "mount").error.message).toContain(
      "Are you trying to mount a directory onto a file (or vice-versa)?",
    );
    const other = explain("cannot set hostname: operation not permitted", "hostname");
    expect([other.exitCode, other.error.kind]).toEqual([128, "system"]);
  });

  it("says what is wrong with a user without runc's words", () => {
    const user = explain("unable to find user nobody2: no matching entries in passwd file", "user");
    expect(user.error.message).toBe("unable to find user nobody2: no matching entries in passwd file");
  });

  it("says in runc's words that there was too little memory to start with", () => {
    expect(explain("container init was OOM-killed (memory limit too low?)", OOM_STAGE).error.message).toMatch(
      /: unable to start container process: container init was OOM-killed \(memory limit too low\?\): unknown$/,
    );
  });

  it("speaks of exec for an exec, and passes other errors through", () => {
    expect(explain('exec: "x": executable file not found in $PATH', "exec", "exec").error.message).toBe(
      "OCI runtime exec failed: exec failed: unable to start container process: " +
        'exec: "x": executable file not found in $PATH: unknown',
    );
    const own = new EngineError("conflict", "cannot join");
    expect(explainStartFailure(own, "start")).toEqual({ error: own, exitCode: 128 });
    expect(explainStartFailure(new Error("boom"), "start").error.kind).toBe("system");
  });
});

describe("restart policy", () => {
  const record = (
    Name: string,
    exitCode: number,
    more: { max?: number; count?: number; stopped?: boolean } = {},
  ) =>
    createdRecord(1, {
      hostConfig: { RestartPolicy: { Name, MaximumRetryCount: more.max ?? 0 } },
      restartCount: more.count ?? 0,
      state: {
        ...createdRecord(1).state,
        status: "exited",
        exitCode,
        manuallyStopped: more.stopped ?? false,
        hasBeenStarted: true,
      },
    });

  it("decides as Docker does after an exit", () => {
    expect(shouldRestart(record("no", 1))).toBe(false);
    expect(shouldRestart(record("always", 0))).toBe(true);
    expect(shouldRestart(record("always", 0, { stopped: true }))).toBe(false);
    expect(shouldRestart(record("on-failure", 0))).toBe(false);
    expect(shouldRestart(record("on-failure", 1, { max: 2, count: 1 }))).toBe(true);
    expect(shouldRestart(record("on-failure", 1, { max: 2, count: 2 }))).toBe(false);
  });

  it("starts with the engine what was not stopped by hand, and always what is always", () => {
    expect(shouldStartWithEngine(record("always", 0, { stopped: true }))).toBe(true);
    expect(shouldStartWithEngine(record("unless-stopped", 0, { stopped: true }))).toBe(false);
    expect(shouldStartWithEngine(record("unless-stopped", 0))).toBe(true);
    expect(shouldStartWithEngine(record("no", 0))).toBe(false);
    expect(shouldStartWithEngine(createdRecord(1, { hostConfig: { RestartPolicy: { Name: "always" } } })))
      .toBe(
        false,
      );
  });

  it("doubles the delay from 100 ms to a minute and begins anew after ten good seconds", () => {
    const delays = [0];
    for (let i = 0; i < 12; i++) delays.push(nextDelay(delays.at(-1) ?? 0, 50));
    expect(delays.slice(1)).toEqual([
      100,
      200,
      400,
      800,
      1600,
      3200,
      6400,
      12800,
      25600,
      51200,
      60000,
      60000,
    ]);
    expect(nextDelay(60_000, 10_000)).toBe(100);
  });
});

describe("small parts", () => {
  it("LineSplitter puts lines together that came in pieces", () => {
    const lines = new LineSplitter();
    const buffer = bytes("one\ntw");
    expect(lines.push(buffer)).toEqual(["one"]);
    buffer.fill(0x78);
    expect(lines.push(bytes("o\n\nä"))).toEqual(["two", ""]);
    expect(lines.push(bytes("\n"))).toEqual(["ä"]);
  });

  it("createLogger writes JSON whose own keys no field can replace", () => {
    const lines: string[] = [];
    createLogger("info", (line) => lines.push(line), "json").warn("a\nb", { level: "x", n: 3 });
    expect(lines.join("").split("\n").length).toBe(2);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ level: "warning", msg: "a\nb", n: 3 });
  });

  it("createLogger leaves out what is below its level and cannot be made to forge a line", () => {
    const lines: string[] = [];
    const log = createLogger("warn", (line) => lines.push(line.replace(/^time=\S+ /, "")));
    log.info("quiet");
    log.warn("a b", { name: "x\nlevel=error" });
    expect(lines).toEqual(['level=warning msg="a b" name="x\\nlevel=error"\n']);
  });

  it("isAlive tells a process from a later one with its pid", () => {
    const stat = processStat(Deno.pid);
    if (stat === undefined) throw new Error("no /proc");
    expect(isAlive({ pid: Deno.pid, startTime: stat.startTime })).toBe(true);
    expect(isAlive({ pid: Deno.pid, startTime: `${Number(stat.startTime) - 1}` })).toBe(false);
    expect(processStat(0)).toBeUndefined();
  });
});
