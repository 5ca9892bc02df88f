/** Clients that leave in the middle of each kind of stream, in each way that a connection can end: nothing of them stays. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiConnection } from "../support/api_client.ts";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { FakeRegistry } from "../support/fake_registry.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { SLOWNESS, waitFor } from "../support/processes.ts";
import { currentUser, testDir, usersToTest } from "../support/users.ts";

const encoder = new TextEncoder();
const TIMES = 10;
const UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
const WEB_SOCKET =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPLOAD = "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n";
/** Longer than what follows it: the client is in the middle of its request. */
const HALF = 'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"Image":"leaves';

describeWith(BUSYBOX)("clients that leave", () => {
  let engine: Engine;
  let registry: FakeRegistry;
  beforeAll(async () => {
    engine = await startEngine({ user: usersToTest()[0] ?? currentUser() });
    registry = new FakeRegistry();
    // A registry that never comes to an end.
    registry.intercept = (_request, path) => path === "/v2/" ? undefined : new Response(new ReadableStream());
    const archive = await busyboxArchive(testDir(), { reference: "leaves:1" });
    expect((await engine.berth(["load", "-q", "-i", archive])).code).toBe(0);
    using api = await ApiConnection.open(engine.socket);
    await api.call("POST", "/containers/create?name=leaves", {
      Image: "leaves:1",
      Cmd: ["sh", "-c", "while :; do echo line; sleep 0.02; done"],
      OpenStdin: true,
      StopSignal: "SIGKILL",
      HostConfig: { NetworkMode: "none" },
    });
    await api.call("POST", "/containers/leaves/start");
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const descriptorsOf = (pid: number) => [...Deno.readDirSync(`/proc/${pid}/fd`)].length;

  /** What a client that leaves could leave behind. */
  async function held(shim: number): Promise<{ engine: number; shim: number; listeners: number }> {
    using api = await ApiConnection.open(engine.socket);
    const info = await api.call("GET", "/info") as { NEventsListener: number };
    return {
      engine: descriptorsOf(engine.pid),
      shim: descriptorsOf(shim),
      listeners: info.NEventsListener,
    };
  }

  async function exec(): Promise<string> {
    using api = await ApiConnection.open(engine.socket);
    // It ends with its input: as in Docker, others outlive the client that has started them.
    const body = { Cmd: ["cat"], AttachStdout: true, AttachStdin: true };
    return (await api.call("POST", "/containers/leaves/exec", body) as { Id: string }).Id;
  }

  const STREAMS: [string, () => string | Promise<string>][] = [
    ["events", () => "GET /events HTTP/1.1\r\n"],
    ["logs", () => "GET /containers/leaves/logs?follow=1&stdout=1 HTTP/1.1\r\n"],
    ["stats", () => "GET /containers/leaves/stats HTTP/1.1\r\n"],
    ["wait", () => "POST /containers/leaves/wait HTTP/1.1\r\n"],
    ["attach", () => `POST /containers/leaves/attach?stream=1&stdout=1&stdin=1 HTTP/1.1\r\n${UPGRADE}`],
    [
      "attach with the log",
      () => `POST /containers/leaves/attach?logs=1&stream=1&stdout=1 HTTP/1.1\r\n${UPGRADE}`,
    ],
    [
      "attach without an upgrade",
      () => "POST /containers/leaves/attach?stream=1&stdout=1&stdin=1 HTTP/1.1\r\n",
    ],
    [
      "attach by WebSocket",
      () => `GET /containers/leaves/attach/ws?stream=1&stdout=1 HTTP/1.1\r\n${WEB_SOCKET}`,
    ],
    ["attach to nothing", () => `POST /containers/nobody/attach?stream=1&stdout=1 HTTP/1.1\r\n${UPGRADE}`],
    [
      "exec",
      async () =>
        `POST /exec/${await exec()}/start HTTP/1.1\r\n${UPGRADE}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    ],
    [
      "an exec's half body",
      async () =>
        `POST /exec/${await exec()}/start HTTP/1.1\r\n${UPGRADE}Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{`,
    ],
    ["export", () => "GET /containers/leaves/export HTTP/1.1\r\n"],
    ["copy from", () => "GET /containers/leaves/archive?path=/bin HTTP/1.1\r\n"],
    ["copy to", () => `PUT /containers/leaves/archive?path=/tmp HTTP/1.1\r\n${UPLOAD}\r\n200\r\nhalf`],
    ["save", () => "GET /images/leaves:1/get HTTP/1.1\r\n"],
    ["load", () => `POST /images/load HTTP/1.1\r\n${UPLOAD}\r\n200\r\nhalf`],
    ["import", () => `POST /images/create?fromSrc=- HTTP/1.1\r\n${UPLOAD}\r\n200\r\nhalf`],
    ["pull", () => `POST /images/create?fromImage=${registry.host}/x&tag=1 HTTP/1.1\r\n`],
    ["half a body", () => `POST /containers/create HTTP/1.1\r\nHost: d\r\n${HALF}`],
    ["half a head", () => "GET /containers/leaves/logs?follow=1 HTTP/1.1\r\nX-Half: "],
  ];

  /** Ways to go: at once, when something has come, by half first, and with bytes that nobody has read. */
  const WAYS = ["at once", "after an answer", "by half", "in disorder"] as const;

  it.each(STREAMS)("%s: nothing stays", { timeout: 120_000 * SLOWNESS }, async (what, make) => {
    using api = await ApiConnection.open(engine.socket);
    const { State } = await api.call("GET", "/containers/leaves/json") as { State: { Pid: number } };
    const shim = Number(/^PPid:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${State.Pid}/status`))?.[1]);
    // What is made at the first use stays: threads, a watch for changes of files.
    await leave("after an answer");
    const before = await held(shim);
    for (const way of WAYS) await leave(way);
    async function leave(way: typeof WAYS[number]): Promise<void> {
      await Promise.all(Array.from({ length: TIMES }, async () => {
        const request = await make();
        const whole = request.includes("\r\n\r\n") || what === "half a head"
          ? request.replace("HTTP/1.1\r\n", "HTTP/1.1\r\nHost: d\r\n").replace(
            "Host: d\r\nHost: d",
            "Host: d",
          )
          : `${request}Host: d\r\n\r\n`;
        using conn = await Deno.connect({ transport: "unix", path: engine.socket });
        await conn.write(encoder.encode(whole));
        if (way === "at once") return;
        const answered = conn.read(new Uint8Array(64)).catch(() => null);
        // Not everything is answered before the request is whole.
        await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, 100))]);
        if (way === "by half") await conn.closeWrite().catch(() => {});
        if (way === "in disorder") {
          await conn.write(encoder.encode("\x81\xff\0\0GARBAGE\r\n\r\n")).catch(() => {});
        }
      }));
    }
    let now = before;
    await waitFor(
      async () => {
        now = await held(shim);
        // a thread or a warm shim more is the engine's own affair
        return now.engine < before.engine + TIMES / 2 && now.shim <= before.shim &&
          now.listeners <= before.listeners;
      },
      // so many execs, one after the other, on a machine that is busy
      90_000,
      () => `before ${JSON.stringify(before)}, now ${JSON.stringify(now)}`,
    );
    expect(engine.log()).not.toMatch(/TypeError|ReferenceError|Uncaught|unhandled/);
  });
});
