/**
 * Many clients at once, and some that never read. Short by default; BERTH_LOAD_SECONDS=60 is the long form. Figures are for `make bench`: here
 * nothing may fail, wait for somebody else, or stay behind.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiConnection } from "../support/api_client.ts";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { percentile } from "../../bench/stats.ts";
import { waitFor } from "../support/processes.ts";
import { currentUser, testDir, usersToTest } from "../support/users.ts";

const seconds = Number(Deno.env.get("BERTH_LOAD_SECONDS") ?? 3);
const long = seconds >= 30;
const CONTAINERS = long ? 100 : 30;
const STREAMS = long ? 200 : 45;
const RUNS = long ? 50 : 12;
const READERS = 8;
/** The first one has everything made that stays; what grows, grows in each. */
const ROUNDS = 3;
/** What the last round may leave the engine with, to those before it: garbage is not collected at the same moment. */
const SLACK = 1.15;
/** More than all buffers between a container and a client who does not read. */
const UNREAD = 30_000_000;

const encoder = new TextEncoder();

describeWith(BUSYBOX)("an engine with many clients", () => {
  let engine: Engine;
  const ids: string[] = [];
  beforeAll(async () => {
    engine = await startEngine({ user: usersToTest()[0] ?? currentUser() });
    const archive = await busyboxArchive(testDir(), { reference: "load:1" });
    expect((await engine.berth(["load", "-q", "-i", archive])).code).toBe(0);
    using api = await ApiConnection.open(engine.socket);
    for (let i = 0; i < CONTAINERS; i++) ids.push(await create(api, ["true"], `idle-${i}`));
    for (const name of ["chatty-0", "chatty-1", "chatty-2"]) {
      await create(api, ["sh", "-c", "while :; do echo line; sleep 0.1; done"], name);
      await api.call("POST", `/containers/${name}/start`);
    }
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  async function create(api: ApiConnection, cmd: string[], name: string): Promise<string> {
    const body = { Image: "load:1", Cmd: cmd, StopSignal: "SIGKILL", HostConfig: { NetworkMode: "none" } };
    return (await api.call("POST", `/containers/create?name=${name}`, body) as { Id: string }).Id;
  }

  const descriptors = () => [...Deno.readDirSync(`/proc/${engine.pid}/fd`)].length;
  /** Megabytes that are the engine's own: its heap and buffers, not the pages of its executable. */
  const ownMb = () =>
    Number(/^RssAnon:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${engine.pid}/status`))?.[1]) / 1024;

  /** The same again and again: what the engine has after a round, it had after the one before. */
  async function rounds(what: string, round: (index: number) => Promise<void>): Promise<void> {
    const before = { descriptors: descriptors(), mb: ownMb() };
    const after: number[] = [];
    let peak = 0;
    const watch = setInterval(() => peak = Math.max(peak, ownMb()), 100);
    try {
      for (let i = 0; i < ROUNDS; i++) {
        await round(i);
        // warm shims are the engine's own
        await waitFor(
          () => descriptors() <= before.descriptors + 8,
          30_000,
          () => `${descriptors()} descriptors, ${before.descriptors} before`,
        );
        after.push(ownMb());
      }
    } finally {
      clearInterval(watch);
    }
    const mb = (value: number) => value.toFixed(0);
    console.log(
      `${what}: the engine had ${mb(before.mb)} MB of its own, after each round ${
        after.map(mb).join(", ")
      }; ${mb(peak)} at most`,
    );
    expect(after.at(-1), "megabytes after the last round").toBeLessThan(
      Math.max(...after.slice(0, -1)) * SLACK,
    );
  }

  /** Reads of all kinds on a connection until `end`; answers the milliseconds of each. */
  async function read(end: () => boolean): Promise<number[]> {
    using api = await ApiConnection.open(engine.socket);
    const now = Math.floor(Date.now() / 1000);
    const targets = [
      ...[
        "/_ping",
        "/containers/json?all=1",
        `/containers/${ids[0]}/json`,
        "/images/json",
        "/version",
        "/info",
      ],
      ...["/networks", "/volumes", "/containers/chatty-0/json", `/events?since=${now - 2}&until=${now - 1}`],
      ...["/containers/chatty-1/top", "/containers/chatty-0/logs?stdout=1&tail=5", "/images/load:1/json"],
      ...["/containers/chatty-2/stats?stream=0&one-shot=1", '/containers/json?filters={"name":["idle-1"]}'],
    ].map((target) => ({ target, request: ApiConnection.request("GET", target) }));
    const times: number[] = [];
    while (!end()) {
      const { target, request } = targets[times.length % targets.length] ??
        { target: "", request: new Uint8Array() };
      const start = performance.now();
      const { status, text } = await api.send(request);
      times.push(performance.now() - start);
      expect(status, `${target}: ${text()}`).toBe(200);
    }
    return times;
  }

  const NO_END = { timeout: seconds * 1000 + 180_000 };

  it("mixed reads: each is answered, and nothing is kept", NO_END, async () => {
    // Once each: what is made at the first use stays.
    let left = 15;
    await read(() => left-- === 0);
    const times: number[] = [];
    await rounds("reads", async () => {
      const end = performance.now() + seconds * 1000 / ROUNDS;
      const each = await Promise.all(
        Array.from({ length: READERS }, () => read(() => performance.now() > end)),
      );
      expect(Math.min(...each.map(({ length }) => length))).toBeGreaterThan(0);
      times.push(...each.flat());
    });
    console.log(
      `${(times.length / seconds).toFixed(0)} reads/s by ${READERS} clients, p50 ${
        percentile(times, 0.5).toFixed(1)
      } ms, p99 ${percentile(times, 0.99).toFixed(1)} ms`,
    );
  });

  it("streams, and containers that come and go: all get what is theirs", NO_END, async () => {
    await rounds("streams and runs", streamsAndRuns);
  });

  async function streamsAndRuns(round: number): Promise<void> {
    const kinds = [
      () => "/events",
      (i: number) => `/containers/chatty-${i % 3}/logs?follow=1&stdout=1&tail=1`,
      (i: number) => `/containers/chatty-${i % 3}/stats`,
    ];
    const streams = await Promise.all(Array.from({ length: STREAMS }, async (_, i) => {
      const conn = await Deno.connect({ transport: "unix", path: engine.socket });
      const target = kinds[i % kinds.length]?.(i) ?? "";
      await conn.write(encoder.encode(`GET ${target} HTTP/1.1\r\nHost: d\r\n\r\n`));
      let bytes = 0;
      const done = (async () => {
        const buffer = new Uint8Array(16 * 1024);
        for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) bytes += n;
      })().catch(() => {});
      return { conn, target, done, bytes: () => bytes };
    }));
    await Promise.all(Array.from({ length: RUNS }, async (_, i) => {
      using api = await ApiConnection.open(engine.socket);
      const id = await create(api, ["sh", "-c", "exit 3"], `run-${round}-${i}`);
      await api.call("POST", `/containers/${id}/start`);
      expect(await api.call("POST", `/containers/${id}/wait`)).toMatchObject({ StatusCode: 3 });
      await api.call("DELETE", `/containers/${id}?force=1`);
    }));
    // a head alone is less
    await waitFor(
      () => streams.every(({ bytes }) => bytes() > 300),
      60_000,
      () => `silent: ${streams.filter(({ bytes }) => bytes() <= 300).map(({ target }) => target).join(" ")}`,
    );
    for (const { conn } of streams) conn.close();
    await Promise.all(streams.map(({ done }) => done));
  }

  it("clients that never read stop neither a container nor others", NO_END, async () => {
    using api = await ApiConnection.open(engine.socket);
    const script = `yes ${"x".repeat(99)} | head -c ${UNREAD}`;
    const id = await create(api, ["sh", "-c", script], "loud");
    const unread: Deno.Conn[] = [];
    for (
      const target of [`/containers/${id}/logs?follow=1&stdout=1`, "/events", "/containers/chatty-0/stats"]
    ) {
      const conn = await Deno.connect({ transport: "unix", path: engine.socket });
      await conn.write(encoder.encode(`GET ${target} HTTP/1.1\r\nHost: d\r\n\r\n`));
      unread.push(conn);
    }
    const attached = await Deno.connect({ transport: "unix", path: engine.socket });
    await attached.write(encoder.encode(
      `POST /containers/${id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n`,
    ));
    // what it prints before the engine has taken the connection over is not for this client
    const head = new Uint8Array(1024);
    expect(new TextDecoder().decode(head.subarray(0, await attached.read(head) ?? 0))).toMatch(
      /^HTTP\/1.1 101 /,
    );
    await api.call("POST", `/containers/${id}/start`);
    // It has no follower before it runs.
    const late = await Deno.connect({ transport: "unix", path: engine.socket });
    await late.write(
      encoder.encode(`GET /containers/${id}/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: d\r\n\r\n`),
    );
    unread.push(late);
    expect(await api.call("POST", `/containers/${id}/wait`)).toMatchObject({ StatusCode: 0 });
    using other = await ApiConnection.open(engine.socket);
    const log = await other.send(ApiConnection.request("GET", `/containers/${id}/logs?stdout=1&tail=2`));
    expect(log.status).toBe(200);
    const all = await engine.berth(["logs", id]);
    expect(all.stdout.length).toBe(UNREAD);
    let left = 15;
    expect((await read(() => left-- === 0)).length).toBe(15);
    for (const conn of unread) conn.close();
    // A pipeline that reads on after a while gets all of it.
    const bytes = (await new Response(attached.readable).bytes()).length;
    expect(bytes).toBeGreaterThan(UNREAD);
    await api.call("DELETE", `/containers/${id}?force=1`);
  });
});
