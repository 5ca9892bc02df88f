/**
 * Sends the engine what no client should, for some seconds by default (BERTH_FUZZ_SECONDS): each operation with wrong types, wrong encodings, long and
 * deep values, broken framing, and clients that leave in the middle. A client's mistake is never the engine's failure: no 500, no crash, nothing kept.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { eventually, request } from "../support/raw_http.ts";
import { currentUser, testDir, usersToTest } from "../support/users.ts";
import { type Case, makeCase, routes } from "./api_cases.ts";
import { Random } from "./random.ts";

const numberOf = (name: string, otherwise: number) => Number(Deno.env.get(name) ?? otherwise);
const seconds = numberOf("BERTH_FUZZ_SECONDS", 15);
const seed = numberOf("BERTH_FUZZ_SEED", 1);
const only = Deno.env.get("BERTH_FUZZ_CASE");
/** So long a client waits for a stream to say something before it leaves. */
const STREAM_MS = 150;
/** Whoever has answered nothing after this is stuck, unless it is an operation that waits. */
const AT_ONCE = 6;
/** After so many cases things that they have removed are made again. */
const ROUND = 60;
/** A registry that the client has named, and that nobody can reach from here: 500 in Docker, too. */
const UNREACHABLE = /(?:Get|Head|Post) \\?"https?:\/\/[^"]+": Connection refused/;

describeWith(BUSYBOX)("the API and its worst clients", () => {
  let engine: Engine;
  let archive: string;
  beforeAll(async () => {
    const user = usersToTest()[0] ?? currentUser();
    // A registry is never reached: what a case makes up is nobody's business.
    const nowhere = "http://127.0.0.1:1";
    engine = await startEngine({ user, env: { HTTPS_PROXY: nowhere, HTTP_PROXY: nowhere } });
    archive = await busyboxArchive(testDir(), { reference: "fuzz-image:latest" });
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  /** The container, image, network, volume and exec that cases name; answers the exec's id. */
  async function furnish(): Promise<string> {
    const call = (method: string, path: string, body?: unknown) =>
      request(engine.socket, method, path, {
        headers: { "Content-Type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    if ((await call("GET", "/images/fuzz-image/json")).status === 404) {
      expect((await engine.berth(["load", "-q", "-i", archive])).code).toBe(0);
    }
    await call("POST", "/volumes/create", { Name: "fuzz-vol" });
    await call("POST", "/networks/create", { Name: "fuzz-net" });
    const there = await call("GET", "/containers/json?all=1");
    expect(there.status, there.body).toBe(200);
    // Others are in the way of the next cases, and their processes of the machine.
    for (const { Id } of JSON.parse(there.body) as { Id: string }[]) {
      await call("DELETE", `/containers/${Id}?force=1`);
    }
    const cmd = ["sh", "-c", "trap exit TERM; while :; do echo line; sleep 0.05; done"];
    const made = await call("POST", "/containers/create?name=fuzz", {
      Image: "fuzz-image",
      Cmd: cmd,
      OpenStdin: true,
    });
    expect(made.status, made.body).toBe(201);
    expect((await call("POST", "/containers/fuzz/start")).status).toBe(204);
    const exec = await call("POST", "/containers/fuzz/exec", { Cmd: ["sleep", "1"], AttachStdout: true });
    expect(exec.status, exec.body).toBe(201);
    return (JSON.parse(exec.body) as { Id: string }).Id;
  }

  async function tidy(): Promise<void> {
    const ids = (await engine.berth(["ps", "-aq"])).stdout.split("\n").filter((id) => id !== "");
    if (ids.length > 0) await engine.berth(["rm", "-f", "-v", ...ids]);
  }

  const descriptors = () => [...Deno.readDirSync(`/proc/${engine.pid}/fd`)].length;

  it(
    "answers a mistake as a mistake, and stays as it is",
    { timeout: seconds * 1000 + 120_000 },
    async () => {
      const all = routes();
      const [first, ...others] = all;
      if (first === undefined) throw new Error("the API has no routes");
      await furnish();
      await tidy();
      const before = descriptors();
      /** One of each kind. */
      const failures = new Map<string, string>();
      const answered = new Map<string, number>();
      const end = performance.now() + seconds * 1000;
      let number = only === undefined ? 0 : Number(only);
      const names: string[] = [];
      do {
        names.splice(0, names.length, await furnish());
        for (let left = ROUND; left > 0 && performance.now() < end; left -= AT_ONCE) {
          const from = number;
          number += AT_ONCE;
          await Promise.all(Array.from({ length: AT_ONCE }, async (_, i) => {
            const random = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(from + i, 0x85ebca6b));
            const made = makeCase(random, [first, ...others], names);
            const label = () =>
              `BERTH_FUZZ_SEED=${seed} BERTH_FUZZ_CASE=${from + i}: ${made.method} ${
                made.target.slice(0, 300)
              }`;
            const answer = await send(engine.socket, made);
            const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 0);
            if (answer !== "") {
              expect(status, `${label()}\n${answer.slice(0, 300)}`).toBeGreaterThanOrEqual(100);
            }
            if (status === 500 && !UNREACHABLE.test(answer)) {
              const what = /"message":"(.*)"/.exec(answer)?.[1] ?? answer;
              failures.set(
                what.replaceAll(/[0-9a-f]{12,}|\d+/g, "#").slice(0, 80),
                `${label()}\n${new TextDecoder().decode(made.bytes).slice(0, 2000)}\n${what.slice(0, 500)}`,
              );
            }
            if (status !== 0) answered.set(made.route, (answered.get(made.route) ?? 0) + 1);
          }));
        }
        expect((await request(engine.socket, "GET", "/_ping")).body).toBe("OK");
      } while (only === undefined && performance.now() < end);
      await tidy();
      expect([...failures.values()].join("\n\n")).toBe("");
      const mistakes = engine.log().split("\n").filter((line) =>
        /TypeError|ReferenceError|RangeError|[Uu]ncaught|unhandled/.test(line) && !UNREACHABLE.test(line)
      );
      expect(mistakes).toEqual([]);
      // Shims that the cases have used may still come home.
      await eventually(() => descriptors() <= before + 4, `${before} descriptors again, as at the beginning`);
      console.log(`${number} requests to ${answered.size} of ${all.length} operations from seed ${seed}`);
    },
  );
});

/** Sends a case, reads what comes at once, and leaves without a word. */
async function send(socket: string, { bytes }: Case): Promise<string> {
  using conn = await Deno.connect({ transport: "unix", path: socket });
  const late = setTimeout(() => {
    try {
      conn.close();
    } catch {
      // closed already
    }
  }, STREAM_MS);
  let text = "";
  try {
    for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
    const buffer = new Uint8Array(16 * 1024);
    const decoder = new TextDecoder();
    while (text.length < 100_000) {
      const count = await conn.read(buffer);
      if (count === null) break;
      text += decoder.decode(buffer.subarray(0, count), { stream: true });
      // A whole answer that says how long it is.
      const [, head = "", body = ""] = /^([^]*?)\r\n\r\n([^]*)$/.exec(text) ?? [];
      const length = /^content-length: (\d+)/im.exec(head)?.[1];
      if (length !== undefined && body.length >= Number(length)) break;
      if (/^HTTP\/1\.1 (?:204|304)/.test(head)) break;
    }
  } catch {
    // The engine has closed, or our patience is over.
  } finally {
    clearTimeout(late);
  }
  return text;
}
