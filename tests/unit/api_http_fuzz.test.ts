import { afterAll, beforeAll, expect, test } from "vitest";
import { serveHttp, type Server } from "../../api/server.ts";
import { RawClient, request } from "../support/raw_http.ts";

/** Park and Miller's generator: the same cases in every run, so that a failure can be repeated. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = state * 48271 % 2147483647;
    return state % below;
  };
}

let dir: string;
let socket: string;
let server: Server;
let answered: string[] = [];
const logged: string[] = [];

beforeAll(async () => {
  dir = await Deno.makeTempDir();
  socket = `${dir}/api.sock`;
  server = await serveHttp(
    async (req) => {
      const text = await req.text();
      answered.push(`${req.method} ${new URL(req.url).pathname} ${text}`);
      const bytes = new TextEncoder().encode(text);
      return new Response(bytes, { headers: { "content-length": `${bytes.length}` } });
    },
    [{ kind: "unix", path: socket }],
    { headTimeoutMs: 2_000, log: (message, error) => logged.push(`${message}: ${error}`) },
  );
});
afterAll(async () => {
  await server.close({ graceMs: 100 });
  await Deno.remove(dir, { recursive: true });
});

test("any split of pipelined requests into writes gives the same answers", async () => {
  const next = generator(1);
  for (let round = 0; round < 60; round++) {
    let text = "";
    const expected: string[] = [];
    for (let i = 0; i < 5; i++) {
      const body = "x".repeat(next(4) === 0 ? next(20_000) : next(40));
      if (next(2) === 0) {
        text += `POST /${i} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      } else {
        text += `POST /${i} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
        for (let at = 0; at < body.length;) {
          const chunk = body.slice(at, at + 1 + next(5_000));
          text += `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
          at += chunk.length;
        }
        text += "0\r\n\r\n";
      }
      expected.push(body);
    }
    const client = await RawClient.connect(socket);
    const sending = (async () => {
      for (let at = 0; at < text.length;) {
        const piece = text.slice(at, at + 1 + next(next(3) === 0 ? 10 : 3_000));
        await client.send(piece);
        at += piece.length;
      }
    })();
    const got: string[] = [];
    for (let i = 0; i < 5; i++) got.push((await client.response()).body);
    await sending;
    expect(got).toEqual(expected);
    client.close();
  }
});

test("a damaged request is refused or understood, and never stops the server", async () => {
  const next = generator(7);
  const good =
    "POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  const bytes = new TextEncoder().encode(good);
  for (let round = 0; round < 400; round++) {
    const damaged = [...bytes];
    for (let i = 0; i <= next(3); i++) {
      const at = next(damaged.length);
      const kind = next(4);
      if (kind === 0) damaged[at] = next(256);
      else if (kind === 1) damaged.splice(at, 1 + next(8));
      else if (kind === 2) damaged.splice(at, 0, ...[13, 10, 0, 32, 58, 255, 48].slice(next(6), 7));
      else damaged.splice(at, 0, ...damaged.slice(next(at + 1), at));
    }
    answered = [];
    const client = await RawClient.connect(socket);
    await client.send(new Uint8Array(damaged)).catch(() => {});
    await (client.conn as Deno.UnixConn).closeWrite().catch(() => {});
    const answer = await client.toEnd();
    client.close();
    // Whatever came back is a sequence of responses, and each status is one that we give.
    if (answer !== "") expect(answer).toMatch(/^HTTP\/1\.1 (200|400|405|417|431|501) /);
    expect(answered.length).toBeLessThanOrEqual(6);
  }
  expect((await request(socket, "POST", "/alive", { body: "yes" })).body).toBe("yes");
  expect(logged).toEqual([]);
});

test("random bytes never stop the server", async () => {
  const next = generator(3);
  await Promise.all(Array.from({ length: 100 }, async () => {
    const client = await RawClient.connect(socket);
    await client.send(Uint8Array.from({ length: next(3_000) }, () => next(256))).catch(() => {});
    await (client.conn as Deno.UnixConn).closeWrite().catch(() => {});
    const answer = await client.toEnd();
    if (answer !== "") expect(answer).toMatch(/^HTTP\/1\.1 4/);
    client.close();
  }));
  expect((await request(socket, "POST", "/alive", { body: "yes" })).body).toBe("yes");
  expect(logged).toEqual([]);
});
