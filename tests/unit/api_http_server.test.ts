import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RawConn } from "../../api/http/byte_source.ts";
import { Connection } from "../../api/http/connection.ts";
import { ConstantAnswers, wholeResponse } from "../../api/http/response.ts";
import { type Handler } from "../../api/http/exchange.ts";
import { serveHttp, type Server } from "../../api/server.ts";
import { eventually, RawClient, request } from "../support/raw_http.ts";

let dir: string;
let socket: string;
let server: Server;
const logged: string[] = [];

const reply = (text: string, status = 200) => {
  const bytes = new TextEncoder().encode(text);
  return new Response(bytes, { status, headers: { "content-length": `${bytes.length}` } });
};

let handler: Handler;
let streams: { aborted: boolean }[];

/** One route for each kind of answer that a handler can give. */
const routes: Handler = async (req, exchange) => {
  const { pathname } = new URL(req.url);
  switch (pathname) {
    case "/echo":
      return reply(await req.text());
    case "/ignore":
      return reply("ignored");
    case "/throw":
      throw new Error("boom");
    case "/none":
      return new Response(null, { status: 204 });
    case "/stream":
      return new Response(ReadableStream.from(["one", "two"].map((text) => new TextEncoder().encode(text))));
    case "/broken":
      return new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode("half"));
          },
          pull(controller) {
            controller.error(new Error("the other half is missing"));
          },
        }),
      );
    case "/forever": {
      const state = { aborted: false };
      streams.push(state);
      exchange.signal.addEventListener("abort", () => state.aborted = true);
      return new Response(new ReadableStream({}));
    }
    case "/take":
      return exchange.takeOver("HTTP/1.1 101 UPGRADED\r\n\r\n", async (stream) => {
        const decoder = new TextDecoder();
        for await (const bytes of stream.input) {
          await stream.write(new TextEncoder().encode(`<${decoder.decode(bytes)}>`));
        }
        await stream.write(new TextEncoder().encode("input ended"));
        await stream.closeWrite();
      });
    case "/take/close":
      return exchange.takeOver("HTTP/1.1 200 OK\r\n\r\n", async (stream) => {
        await stream.write(new TextEncoder().encode("last words"));
        stream.close();
      });
    case "/take/large":
      return exchange.takeOver("HTTP/1.1 200 OK\r\n\r\n", (stream) => {
        for (let i = 0; i < 50; i++) void stream.write(new Uint8Array(100_000).fill(97 + i % 26));
        stream.close();
        return Promise.resolve();
      });
    default:
      return reply(`${req.method} ${pathname}`);
  }
};

beforeEach(async () => {
  dir = await Deno.makeTempDir();
  socket = `${dir}/api.sock`;
  handler = routes;
  streams = [];
  logged.length = 0;
  server = await serveHttp((req, exchange) => handler(req, exchange), [{ kind: "unix", path: socket }], {
    headTimeoutMs: 300,
    log: (message) => logged.push(message),
  });
});
afterEach(async () => {
  await server.close({ graceMs: 100 });
  await Deno.remove(dir, { recursive: true });
});

const GET = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;

describe("requests", () => {
  test("Connection answers several requests on one connection", async () => {
    const client = await RawClient.connect(socket);
    for (const path of ["/a", "/b", "/c"]) {
      await client.send(GET(path));
      const response = await client.response();
      expect(response.statusLine).toBe("HTTP/1.1 200 OK");
      expect(response.body).toBe(`GET ${path}`);
      expect(response.headers.get("connection")).toBeUndefined();
    }
    client.close();
  });

  test("Connection answers pipelined requests in order, bodies included", async () => {
    const client = await RawClient.connect(socket);
    const post = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    const chunked =
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n";
    await client.send(post + chunked + GET("/stream") + post + GET("/last"));
    const bodies = [];
    for (let i = 0; i < 5; i++) bodies.push((await client.response()).body);
    expect(bodies).toEqual(["hello", "abcde", "onetwo", "hello", "GET /last"]);
    client.close();
  });

  test("Connection does not ask again for a constant answer, by method and target", async () => {
    const asked: string[] = [];
    handler = (req) => {
      const { pathname } = new URL(req.url);
      asked.push(`${req.method} ${pathname}`);
      return wholeResponse(new TextEncoder().encode(pathname), 200, { "X-Own": "1" }, pathname !== "/other");
    };
    const client = await RawClient.connect(socket);
    for (const path of ["/same", "/same", "/other", "/other", "/same"]) {
      await client.send(GET(path));
      const { body, headers } = await client.response();
      expect([body, headers.get("x-own")]).toEqual([path, "1"]);
    }
    await client.send(`HEAD /same HTTP/1.1\r\nHost: x\r\n\r\n${GET("/same")}`);
    expect((await client.head()).headers.get("content-length")).toBe("5");
    expect((await client.response()).body).toBe("/same");
    // a body has to be read, and a connection that is not to go on needs to be told so
    await client.send("GET /same HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
    expect((await client.response()).body).toBe("/same");
    await client.send("GET /same HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect((await client.response()).headers.get("connection")).toBe("close");
    expect(asked).toEqual(["GET /same", "GET /other", "GET /other", "HEAD /same", "GET /same", "GET /same"]);
    client.close();
  });

  test("Connection reads a request that comes byte by byte", async () => {
    const client = await RawClient.connect(socket);
    const text =
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" +
      GET("/x");
    for (const character of text) await client.send(character);
    expect((await client.response()).body).toBe("hello");
    expect((await client.response()).body).toBe("GET /x");
    client.close();
  });

  test("Connection drains a small body that the handler ignored, and closes on a large one", async () => {
    const client = await RawClient.connect(socket);
    const post = (length: number) => `POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;
    await client.send(post(1000) + "x".repeat(1000) + GET("/next"));
    expect((await client.response()).body).toBe("ignored");
    expect((await client.response()).body).toBe("GET /next");
    await client.send(post(10_000_000));
    const response = await client.response();
    expect(response.body).toBe("ignored");
    expect(response.headers.get("connection")).toBe("close");
    expect(await client.toEnd()).toBe("");
    client.close();
  });

  test("Connection passes a large body on piece by piece", async () => {
    let total = 0;
    let largest = 0;
    handler = async (req) => {
      for await (const bytes of req.body ?? []) {
        total += bytes.length;
        largest = Math.max(largest, bytes.length);
      }
      return reply(`${total}`);
    };
    const body = new Uint8Array(3_000_000);
    expect((await request(socket, "POST", "/", { body })).body).toBe("3000000");
    expect(largest).toBeLessThanOrEqual(128 * 1024);
  });

  test("Connection reads no further than the handler does", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => release = resolve);
    handler = async (req) => {
      await held;
      return reply(`${(await req.arrayBuffer()).byteLength}`);
    };
    const client = await RawClient.connect(socket);
    const size = 50_000_000;
    await client.send(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`);
    let sent = 0;
    const sending = (async () => {
      const block = new Uint8Array(1_000_000);
      while (sent < size) {
        await client.send(block);
        sent += block.length;
      }
    })();
    // The kernel's socket buffers fill, and then nothing moves any more.
    let last = -1;
    while (last !== sent) {
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(sent).toBeLessThan(size / 2);
    release();
    await sending;
    expect((await client.response()).body).toBe(`${size}`);
    client.close();
  });

  test("Connection sends 100 Continue only when the body is wanted", async () => {
    const head = (path: string) =>
      `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n`;
    const client = await RawClient.connect(socket);
    await client.send(head("/echo"));
    expect((await client.head()).statusLine).toBe("HTTP/1.1 100 Continue");
    await client.send("hi");
    expect((await client.response()).body).toBe("hi");
    await client.send(head("/ignore"));
    const response = await client.response();
    expect(response.statusLine).toBe("HTTP/1.1 200 OK");
    expect(response.headers.get("connection")).toBe("close");
    client.close();
  });

  test("Connection understands absolute targets and OPTIONS *", async () => {
    expect((await request(socket, "GET", "http://docker/v1.43/x?a=b")).body).toBe("GET /v1.43/x");
    expect((await request(socket, "OPTIONS", "*")).body).toBe("OPTIONS /");
    expect((await request(socket, "TRACE", "/")).status).toBe(404);
  });
});

describe("responses", () => {
  test("HEAD has the head of GET and no body", async () => {
    const client = await RawClient.connect(socket);
    await client.send("HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n" + GET("/next"));
    const response = await client.response(true);
    expect(response.headers.get("content-length")).toBe("9");
    expect((await client.response()).body).toBe("GET /next");
    client.close();
  });

  test("204 has neither body nor length", async () => {
    const response = await request(socket, "POST", "/none");
    expect(response.status).toBe(204);
    expect(response.headers.has("content-length")).toBe(false);
    expect(response.headers.has("transfer-encoding")).toBe(false);
  });

  test("HTTP/1.0 gets no chunks, and keep-alive only when asked for", async () => {
    const client = await RawClient.connect(socket);
    await client.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const kept = await client.response();
    expect(kept.headers.get("connection")).toBe("keep-alive");
    expect(kept.body).toBe("GET /a");
    await client.send("GET /stream HTTP/1.0\r\n\r\n");
    const streamed = await client.response();
    expect(streamed.headers.has("transfer-encoding")).toBe(false);
    expect(streamed.body).toBe("onetwo");
    client.close();
  });

  test("a handler's exception is a 500 with its message and no stack", async () => {
    const response = await request(socket, "GET", "/throw");
    expect(response.status).toBe(500);
    expect(JSON.parse(response.body)).toEqual({ message: "boom" });
  });

  test("a stream that fails breaks off without its last chunk", async () => {
    const client = await RawClient.connect(socket);
    await client.send(GET("/broken"));
    await client.head();
    const rest = await client.toEnd();
    expect(rest).toContain("half");
    expect(rest).not.toContain("0\r\n\r\n");
    expect(logged).toContain("response broke off");
    client.close();
  });

  test("a stream's head is sent before its first piece, and the client's leaving aborts the signal", async () => {
    const client = await RawClient.connect(socket);
    await client.send(GET("/forever"));
    expect((await client.head()).headers.get("transfer-encoding")).toBe("chunked");
    expect(streams[0]?.aborted).toBe(false);
    client.close();
    await eventually(() => streams[0]?.aborted === true, "abort");
  });

  test("Connection: close is obeyed", async () => {
    const client = await RawClient.connect(socket);
    await client.send("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect((await client.response()).headers.get("connection")).toBe("close");
    expect(await client.toEnd()).toBe("");
    client.close();
  });
});

describe("taken-over connections", () => {
  test("RawStream gives what came with the head, then what follows, then the half-close", async () => {
    const client = await RawClient.connect(socket);
    await client.send("POST /take HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\nearly");
    expect((await client.head()).statusLine).toBe("HTTP/1.1 101 UPGRADED");
    await client.until("<early>");
    await client.send("late");
    await client.until("<late>");
    await (client.conn as Deno.UnixConn).closeWrite();
    expect(await client.toEnd()).toBe("input ended");
    client.close();
  });

  test("RawStream begins after a Content-Length body", async () => {
    const client = await RawClient.connect(socket);
    await client.send("POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}raw");
    await client.head();
    await client.until("<raw>");
    client.close();
  });

  test("RawStream unchunks a body where the client did not upgrade", async () => {
    const client = await RawClient.connect(socket);
    await client.send(
      "POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    );
    await client.head();
    expect(await client.toEnd()).toBe("<hi>input ended");
    client.close();
  });

  test("RawStream writes in order, and close() cuts nothing off", async () => {
    const client = await RawClient.connect(socket);
    await client.send("POST /take/large HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.head();
    const text = await client.toEnd();
    expect(text.length).toBe(5_000_000);
    expect(text.replace(/(.)\1*/g, "$1")).toBe("abcdefghijklmnopqrstuvwxyz".repeat(2).slice(0, 50));
    client.close();
  });

  test("RawStream.close() gives a client that does not read yet as long as it wants", async () => {
    let read = () => {};
    const reads = new Promise<void>((resolve) => read = resolve);
    let written = 0;
    let closed = 0;
    const incoming = [new TextEncoder().encode("POST /take/large HTTP/1.1\r\nHost: x\r\n\r\n")];
    const conn: RawConn = {
      read: (into) => {
        const bytes = incoming.shift();
        if (bytes === undefined) return new Promise(() => {});
        into.set(bytes);
        return Promise.resolve(bytes.length);
      },
      write: async (bytes) => {
        if (written > 0) await reads;
        written += bytes.length;
        return bytes.length;
      },
      closeWrite: () => Promise.resolve(),
      close: () => closed++,
    };
    const options = { handler, headTimeoutMs: 300, lingerMs: 1, log: () => {} };
    void new Connection(conn, { ...options, constants: new ConstantAnswers() }).run();
    await eventually(() => written > 0, "the head is written");
    // many times as long as it may take to go once it has everything
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(closed).toBe(0);
    read();
    await eventually(() => closed > 0, "the connection is closed");
    expect(written).toBeGreaterThan(5_000_000);
  });

  test("RawStream.close() lets the client read the last words while it still sends", async () => {
    const client = await RawClient.connect(socket);
    await client.send("POST /take/close HTTP/1.1\r\nHost: x\r\n\r\n" + "x".repeat(100_000));
    await client.head();
    expect(await client.toEnd()).toBe("last words");
    client.close();
  });
});

describe("refusals", () => {
  const post = (headers: string, body = "") => `POST /echo HTTP/1.1\r\nHost: x\r\n${headers}\r\n${body}`;
  test.each<[string, string, number]>([
    ["both lengths", post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400],
    ["two lengths", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 400],
    ["a list of lengths", post("Content-Length: 3, 3\r\n", "abc"), 400],
    ["a signed length", post("Content-Length: +3\r\n", "abc"), 400],
    ["a huge length", post("Content-Length: 99999999999999999999\r\n"), 400],
    ["a hexadecimal length", post("Content-Length: 0x3\r\n", "abc"), 400],
    ["an unknown coding", post("Transfer-Encoding: gzip, chunked\r\n"), 501],
    ["chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400],
    ["a folded line", post("X-A: b\r\n c\r\n"), 400],
    ["a blank before the colon", post("Content-Length : 3\r\n", "abc"), 400],
    ["an empty name", post(": 3\r\n"), 400],
    ["no colon", post("nonsense\r\n"), 400],
    ["a bare LF", "GET / HTTP/1.1\nHost: x\n\r\n\r\n", 400],
    ["a bare CR in a value", post("X-A: b\rc\r\n"), 400],
    ["a NUL", post("X-A: b\0c\r\n"), 400],
    ["HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
    ["HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", 400],
    ["no version", "GET /\r\n\r\n", 400],
    ["two blanks", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    ["a relative target", "GET abc HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    ["a bad escape", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
    ["two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400],
    ["another expectation", post("Expect: a-pony\r\n"), 417],
    ["chunks in HTTP/1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
    ["a head of 1.1 MB", `GET / HTTP/1.1\r\nHost: x\r\nX-A: ${"a".repeat(1_100_000)}\r\n\r\n`, 431],
    ["an endless head", `GET /${"a".repeat(1_100_000)}`, 431],
    ["300 headers", `GET / HTTP/1.1\r\nHost: x\r\n${"A: b\r\n".repeat(300)}\r\n`, 431],
    ["a chunk size that is none", post("Transfer-Encoding: chunked\r\n", "xyz\r\n"), 400],
    ["a negative chunk size", post("Transfer-Encoding: chunked\r\n", "-1\r\n"), 400],
    ["a huge chunk size", post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"), 400],
    ["a chunk longer than it says", post("Transfer-Encoding: chunked\r\n", "1\r\nabc\r\n0\r\n\r\n"), 400],
    ["LF after a chunk size", post("Transfer-Encoding: chunked\r\n", "3\nabc\r\n0\r\n\r\n"), 400],
    ["an endless chunk line", post("Transfer-Encoding: chunked\r\n", `3;${"a".repeat(5000)}\r\n`), 400],
    ["a folded trailer", post("Transfer-Encoding: chunked\r\n", "0\r\nA: b\r\n c\r\n\r\n"), 400],
  ])("Connection refuses %s and closes", async (_, text, status) => {
    const client = await RawClient.connect(socket);
    // What comes after must never be answered.
    await client.send(text + GET("/smuggled"));
    const response = await client.response();
    expect(response.status).toBe(status);
    expect(response.headers.get("connection")).toBe("close");
    expect(JSON.parse(response.body)).toHaveProperty("message");
    expect(await client.toEnd()).toBe("");
    client.close();
  });

  test("Connection answers 400 when the client half-closes in the middle of a body", async () => {
    const client = await RawClient.connect(socket);
    await client.send(post("Content-Length: 10\r\n", "abc"));
    await (client.conn as Deno.UnixConn).closeWrite();
    const response = await client.response();
    expect([response.status, JSON.parse(response.body)]).toEqual([400, { message: "unexpected EOF" }]);
    expect(logged).toEqual([]);
    client.close();
  });

  test("Connection gives up on a head that does not come", async () => {
    const client = await RawClient.connect(socket);
    await client.send("GET / HTTP/1.1\r\nHost:");
    expect(await client.toEnd()).toBe("");
    client.close();
  });

  test("a client that leaves in the middle of a body is an error to the handler, not to the server", async () => {
    let failure: unknown;
    handler = async (req) => {
      try {
        return reply(await req.text());
      } catch (error) {
        failure = error;
        throw error;
      }
    };
    const client = await RawClient.connect(socket);
    await client.send(post("Content-Length: 10\r\n", "abc"));
    client.close();
    await eventually(() => failure !== undefined, "failure");
    expect(String(failure)).toContain("unexpected EOF");
    handler = routes;
    expect((await request(socket, "GET", "/still")).body).toBe("GET /still");
  });
});

describe("Server.close()", () => {
  test("finishes what is being answered, ends streams and idle connections", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => release = resolve);
    let started = false;
    handler = async (req, exchange) => {
      if (!req.url.endsWith("/slow")) return await routes(req, exchange);
      started = true;
      await held;
      return reply("done");
    };
    const [idle, slow, streaming] = await Promise.all([1, 2, 3].map(() => RawClient.connect(socket)));
    if (!idle || !slow || !streaming) throw new Error("unreachable");
    await idle.send(GET("/a"));
    await idle.response();
    await slow.send(GET("/slow"));
    await streaming.send(GET("/forever"));
    await streaming.head();
    await eventually(() => started, "the slow request's start");
    const closing = server.close({ graceMs: 10_000 });
    expect(await idle.toEnd()).toBe("");
    expect(await streaming.toEnd()).toBe("");
    expect(streams[0]?.aborted).toBe(true);
    release();
    expect((await slow.response()).body).toBe("done");
    await closing;
    await expect(RawClient.connect(socket)).rejects.toThrow();
    for (const client of [idle, slow, streaming]) client.close();
  });

  test("does not wait for a connection that was taken over", async () => {
    let running = false;
    handler = (_req, exchange) =>
      Promise.resolve(exchange.takeOver(
        "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        () => {
          running = true;
          return new Promise<void>(() => {});
        },
      ));
    const client = await RawClient.connect(socket);
    await client.send("POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    await eventually(() => running, "the take-over");
    const never = 3_600_000;
    await server.close({ graceMs: never });
    expect(await client.toEnd()).toContain("101 UPGRADED");
    client.close();
  });

  test("closes by force what does not end in time", async () => {
    let started = false;
    handler = () => {
      started = true;
      return new Promise<Response>(() => {});
    };
    const client = await RawClient.connect(socket);
    await client.send(GET("/never"));
    await eventually(() => started, "the request's start");
    await server.close({ graceMs: 50 });
    expect(await client.toEnd()).toBe("");
    client.close();
  });

  test("leaves nobody without an end who connects at that moment", async () => {
    const clients = await Promise.all(Array.from({ length: 50 }, () => RawClient.connect(socket)));
    await server.close({ graceMs: 0 });
    for (const client of clients) {
      // those that have not been accepted are reset
      expect(await client.toEnd().catch(() => "")).toBe("");
      client.close();
    }
  });
});
