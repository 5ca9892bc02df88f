import { describe, expect, test } from "vitest";
import { ApiClient, queryString } from "../../cli/api_client.ts";
import { parseHost, requireOwnDirectory } from "../../cli/endpoint.ts";
import { ApiError, ConnectError } from "../../cli/errors.ts";
import { HttpClient, HttpResponse } from "../../cli/http_client.ts";
import { type Handler, scriptedEngine } from "../support/scripted_engine.ts";

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const encode = (text: string) => new TextEncoder().encode(text);

function clientOf(engine: { path: string }): HttpClient {
  return new HttpClient(() => Deno.connect({ transport: "unix", path: engine.path }), "localhost");
}

describe("HttpClient.request()", () => {
  test("keeps one connection for requests one after another", async () => {
    await using engine = scriptedEngine((request, connection) =>
      connection.answer(200, `at ${request.target}`)
    );
    using client = clientOf(engine);
    for (const target of ["/a", "/b", "/c"]) {
      expect(await (await client.request({ method: "GET", target })).text()).toBe(`at ${target}`);
    }
    expect(engine.connections).toBe(1);
  });

  test("opens a second connection while a body is not read", async () => {
    await using engine = scriptedEngine((request, connection) => connection.answer(200, request.target));
    using client = clientOf(engine);
    const first = await client.request({ method: "GET", target: "/a" });
    const second = await client.request({ method: "GET", target: "/b" });
    expect(await second.text()).toBe("/b");
    expect(await first.text()).toBe("/a");
    expect(engine.connections).toBe(2);
  });

  test("reads a chunked body whose chunks arrive in pieces, with trailers", async () => {
    const pieces = [
      "HTTP/1.1 200 OK\r\nTransfer-En",
      "coding: chunked\r\n\r",
      "\n5;ext=1\r\nhel",
      "lo\r\n1\r",
      "\n \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n",
    ];
    await using engine = scriptedEngine(async (_request, connection) => {
      for (const piece of pieces) await connection.send(piece);
    });
    using client = clientOf(engine);
    expect(await (await client.request({ method: "GET", target: "/" })).text()).toBe("hello world");
    expect(await (await client.request({ method: "GET", target: "/" })).text()).toBe("hello world");
    expect(engine.connections).toBe(1);
  });

  test("passes each chunk on before the next one is sent", async () => {
    const sent: string[] = [];
    let next = Promise.withResolvers<void>();
    await using engine = scriptedEngine(async (_request, connection) => {
      await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      for (const text of ["one", "two"]) {
        sent.push(text);
        await connection.send(`3\r\n${text}\r\n`);
        await next.promise;
        next = Promise.withResolvers<void>();
      }
      await connection.send("0\r\n\r\n");
    });
    using client = clientOf(engine);
    const seen: string[] = [];
    for await (const bytes of (await client.request({ method: "GET", target: "/" })).body()) {
      seen.push(decode(bytes));
      expect(seen).toEqual(sent);
      next.resolve();
    }
    expect(seen).toEqual(["one", "two"]);
  });

  test("reads a body without framing up to the end of the connection", async () => {
    await using engine = scriptedEngine(async (_request, connection) => {
      await connection.send("HTTP/1.1 200 OK\r\n\r\nall of it");
      connection.close();
    });
    using client = clientOf(engine);
    expect(await (await client.request({ method: "GET", target: "/" })).text()).toBe("all of it");
  });

  test("throws when the body is shorter than announced", async () => {
    await using engine = scriptedEngine(async (_request, connection) => {
      await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort");
      connection.close();
    });
    using client = clientOf(engine);
    const response = await client.request({ method: "GET", target: "/" });
    await expect(response.text()).rejects.toThrow("unexpected EOF");
  });

  test("throws for an answer that is not HTTP", async () => {
    await using engine = scriptedEngine((_request, connection) => connection.send("220 smtp ready\r\n\r\n"));
    using client = clientOf(engine);
    await expect(client.request({ method: "GET", target: "/" })).rejects.toThrow("malformed HTTP response");
  });

  test("asks again on a new connection when a kept one was closed meanwhile", async () => {
    let served = 0;
    await using engine = scriptedEngine(async (_request, connection) => {
      await connection.answer(200, String(++served));
      connection.close();
    });
    using client = clientOf(engine);
    expect(await (await client.request({ method: "GET", target: "/" })).text()).toBe("1");
    expect(await (await client.request({ method: "GET", target: "/" })).text()).toBe("2");
  });

  test("uploads a stream chunked, without holding it", async () => {
    await using engine = scriptedEngine((request, connection) =>
      connection.answer(200, `${request.headers.get("transfer-encoding")} ${request.body.length}`)
    );
    using client = clientOf(engine);
    async function* stream() {
      for (let i = 0; i < 50; i++) yield await Promise.resolve(new Uint8Array(10_000).fill(i));
    }
    const response = await client.request({ method: "POST", target: "/", body: stream() });
    expect(await response.text()).toBe("chunked 500000");
  });

  test("takes an answer that comes before the upload has ended", async () => {
    await using engine = scriptedEngine(() => Promise.resolve());
    // A server that refuses after the head, and never reads the body.
    const directory = Deno.makeTempDirSync();
    const path = `${directory}/s`;
    using listener = Deno.listen({ transport: "unix", path });
    const refusing = (async () => {
      const conn = await listener.accept();
      await conn.read(new Uint8Array(1024));
      await conn.write(encode("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"));
      return conn;
    })();
    using client = new HttpClient(() => Deno.connect({ transport: "unix", path }), "x");
    async function* endless() {
      for (;;) yield await Promise.resolve(new Uint8Array(65536));
    }
    const response = await client.request({ method: "POST", target: "/", body: endless() });
    expect(response.status).toBe(413);
    expect(await response.text()).toBe("big");
    (await refusing).close();
    Deno.removeSync(directory, { recursive: true });
    expect(engine.connections).toBe(0);
  });

  test("stops at an aborted signal", async () => {
    await using engine = scriptedEngine(() => new Promise(() => {}));
    using client = clientOf(engine);
    const controller = new AbortController();
    const request = client.request({ method: "GET", target: "/", signal: controller.signal });
    controller.abort();
    await expect(request).rejects.toThrow(/abort/i);
  });
});

describe("HttpClient.hijack()", () => {
  const upgrade = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

  test("gives raw bytes both ways, those that came with the head first, and half-closes", async () => {
    const heard: string[] = [];
    const echo: Handler = async (request, connection) => {
      expect(request.headers.get("upgrade")).toBe("tcp");
      await connection.send(`${upgrade}early`);
      for (let bytes = await connection.read(); bytes !== null; bytes = await connection.read()) {
        heard.push(decode(bytes));
      }
      await connection.send("after your end");
      connection.close();
    };
    await using engine = scriptedEngine(echo);
    using client = clientOf(engine);
    const connection = await client.hijack({ method: "POST", target: "/attach" });
    if (connection instanceof HttpResponse) throw new Error("not taken over");
    expect(decode(await connection.read() ?? new Uint8Array())).toBe("early");
    await connection.write(encode("typed"));
    await connection.closeWrite();
    expect(decode(await connection.read() ?? new Uint8Array())).toBe("after your end");
    expect(await connection.read()).toBeNull();
    expect(heard.join("")).toBe("typed");
  });

  test("takes 200 for an old server's yes", async () => {
    await using engine = scriptedEngine(async (_request, connection) => {
      await connection.send("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nraw");
      connection.close();
    });
    using client = clientOf(engine);
    const connection = await client.hijack({ method: "POST", target: "/attach" });
    if (connection instanceof HttpResponse) throw new Error("not taken over");
    expect(decode(await connection.read() ?? new Uint8Array())).toBe("raw");
  });

  test("returns the response of a refusal", async () => {
    await using engine = scriptedEngine((_request, connection) =>
      connection.answer(404, { message: "gone" })
    );
    using client = clientOf(engine);
    const answer = await client.hijack({ method: "POST", target: "/attach" });
    expect(answer).toBeInstanceOf(HttpResponse);
  });
});

describe("ApiClient", () => {
  /** Docker's engine with this version as its newest; like it, it refuses a newer one before anything else. */
  const speaking =
    (newest: string, refusal: (asked: string) => string): Handler => async (request, connection) => {
      const asked = /^\/v1\.(\d+)\//.exec(request.target)?.[1];
      const tooNew = asked !== undefined && Number(asked) > Number(newest.slice(2));
      if (tooNew && request.method === "HEAD") {
        return await connection.send("HTTP/1.1 400 Bad Request\r\n\r\n");
      }
      if (tooNew) return await connection.answer(400, { message: refusal(`1.${asked}`) });
      if (request.target.endsWith("/attach")) {
        return await connection.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
      }
      await connection.answer(200, "OK", { "Api-Version": newest });
    };
  const docker = (asked: string) =>
    `client version ${asked} is too new. Maximum supported API version is 1.47`;
  const earlyDocker = (asked: string) =>
    `client is newer than server (client API version: ${asked}, server API version: 1.24)`;
  const REFUSALS = [["Docker's", "1.47", docker], ["an early Docker's", "1.24", earlyDocker]] as const;

  test.each(REFUSALS)(
    "repeats a small request in the version that %s refusal names",
    async (_, newest, refusal) => {
      await using engine = scriptedEngine(speaking(newest, refusal));
      using client = new ApiClient(parseHost(engine.host));
      await client.send("POST", "/containers/create", { json: { Image: "x" } });
      (await client.hijack("/containers/x/attach")).close();
      expect(engine.log).toEqual([
        "POST /v1.51/containers/create",
        `POST /v${newest}/containers/create`,
        `POST /v${newest}/containers/x/attach`,
      ]);
      expect(engine.requests.slice(0, 2).map(({ body }) => decode(body))).toEqual(
        Array(2).fill('{"Image":"x"}'),
      );
      expect(await client.version()).toBe(newest);
      expect(engine.log.length).toBe(3);
    },
  );

  test.each(REFUSALS)(
    "takes a connection over in the version that %s refusal names",
    async (_, newest, refusal) => {
      await using engine = scriptedEngine(speaking(newest, refusal));
      using client = new ApiClient(parseHost(engine.host));
      (await client.hijack("/exec/x/attach")).close();
      expect(engine.log).toEqual(["POST /v1.51/exec/x/attach", `POST /v${newest}/exec/x/attach`]);
    },
  );

  async function* data() {
    yield await Promise.resolve(encode("data"));
  }

  test("asks for the version before it sends a stream or HEAD", async () => {
    for (const method of ["PUT", "HEAD"]) {
      await using engine = scriptedEngine(speaking("1.47", docker));
      using client = new ApiClient(parseHost(engine.host));
      await client.send(method, "/containers/x/archive", method === "PUT" ? { stream: data() } : {});
      expect(engine.log).toEqual(["GET /_ping", `${method} /v1.47/containers/x/archive`]);
    }
  });

  test.each([
    "client version 1.51 is too old. Minimum supported API version is 1.60, please upgrade your client to a newer version",
    "client version 1.51 is too new. Maximum supported API version is 1.51",
    "invalid: client version 1.51 is too new. Maximum supported API version is 1.47",
  ])("does not repeat a request that was refused with %j", async (message) => {
    await using engine = scriptedEngine((_, connection) => connection.answer(400, { message }));
    using client = new ApiClient(parseHost(engine.host));
    await expect(client.send("GET", "/info")).rejects.toThrow(new ApiError(400, message));
    expect(engine.log).toEqual(["GET /v1.51/info"]);
  });

  const ping = (version: string): Handler => async (request, connection) => {
    if (request.target === "/_ping") return await connection.answer(200, "OK", { "Api-Version": version });
    if (request.target.endsWith("/missing")) {
      return await connection.answer(404, { message: "No such thing" });
    }
    if (request.target.endsWith("/proxy")) return await connection.answer(502, "bad gateway");
    await connection.answer(200, { target: request.target });
  };

  test("uses the older of both API versions and asks once", async () => {
    await using engine = scriptedEngine(ping("1.41"));
    using client = new ApiClient(parseHost(engine.host));
    expect(await client.version()).toBe("1.41");
    await client.send("GET", "/info");
    await client.send("GET", "/version");
    expect(engine.log).toEqual(["GET /_ping", "GET /v1.41/info", "GET /v1.41/version"]);
  });

  test("does not go beyond its own API version", async () => {
    await using engine = scriptedEngine(ping("1.99"));
    using client = new ApiClient(parseHost(engine.host));
    await client.version();
    await client.send("GET", "/info");
    expect(engine.log).toEqual(["GET /_ping", "GET /v1.51/info"]);
  });

  test("throws ApiError with the engine's message", async () => {
    await using engine = scriptedEngine(ping("1.51"));
    using client = new ApiClient(parseHost(engine.host));
    await expect(client.json("GET", "/missing")).rejects.toThrow(new ApiError(404, "No such thing"));
    await expect(client.json("GET", "/proxy")).rejects.toThrow(new ApiError(502, "bad gateway"));
  });

  test("says which host does not answer", async () => {
    using client = new ApiClient(parseHost("unix:///nonexistent/s"));
    await expect(client.send("GET", "/info")).rejects.toThrow(
      new ConnectError(
        "Cannot connect to the Docker daemon at unix:///nonexistent/s. Is the docker daemon running?",
      ),
    );
  });
});

test("queryString() encodes values, repeats lists and leaves out what is undefined", () => {
  expect(queryString({ a: "x y&z", b: true, c: false, d: undefined, e: ["1", "2"], f: 0 })).toBe(
    "?a=x%20y%26z&b=1&c=0&e=1&e=2&f=0",
  );
  expect(queryString({})).toBe("");
});

describe("parseHost()", () => {
  test.each([
    ["unix:///run/x.sock", "unix:///run/x.sock", "localhost"],
    ["/run/x.sock", "unix:///run/x.sock", "localhost"],
    ["tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375", "127.0.0.1:2375"],
    ["tcp://[::1]:99", "tcp://[::1]:99", "[::1]:99"],
    ["bogus", "tcp://bogus:2375", "bogus:2375"],
    [":99", "tcp://localhost:99", "localhost:99"],
    ["tcp://user@127.0.0.1", "tcp://127.0.0.1:2375", "127.0.0.1:2375"],
  ])("takes %s", (host, url, httpHost) => {
    const endpoint = parseHost(host);
    expect([endpoint.url, endpoint.httpHost, endpoint.isDefault]).toEqual([url, httpHost, false]);
  });

  test.each(["ftp://x", "bogus://x", "tcp://a:b:c", "npipe://x"])("refuses %s", (host) => {
    expect(() => parseHost(host)).toThrow();
  });
});

test("requireOwnDirectory() takes a directory of the user's alone", () => {
  const uid = Deno.uid() ?? 0;
  const dir = Deno.makeTempDirSync();
  try {
    const own = `${dir}/own`, link = `${dir}/link`;
    Deno.mkdirSync(own, { mode: 0o700 });
    Deno.symlinkSync(own, link);
    requireOwnDirectory(own, uid);
    expect(() => requireOwnDirectory(own, uid + 1)).toThrow(`it belongs to user ${uid}, not to you`);
    expect(() => requireOwnDirectory(link, uid)).toThrow(/it is no directory[^]*XDG_RUNTIME_DIR/);
    expect(() => requireOwnDirectory(`${dir}/none`, uid)).toThrow(Deno.errors.NotFound);
    Deno.chmodSync(own, 0o720);
    expect(() => requireOwnDirectory(own, uid)).toThrow("others may write to it");
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

test("a port that there cannot be is told as such", async () => {
  await expect(parseHost("tcp://localhost:99999").dial()).rejects.toThrow(
    "dial tcp: address 99999: invalid port",
  );
});
