/** The log drivers fluentd and splunk, against servers of the test's own; what a Docker 28.5 sent is the measure. */
import { createServer as createHttpServer, type IncomingHttpHeaders } from "node:http";
import { createServer, type Socket } from "node:net";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { ContainerRecord } from "../../engine/container_record.ts";
import type { LogLine, RemoteLogDriver } from "../../engine/log_drivers/driver.ts";
import { fluentdDriver } from "../../engine/log_drivers/fluentd.ts";
import { pack, readTextMap } from "../../engine/log_drivers/message_pack.ts";
import { PartialLines } from "../../engine/log_drivers/partial_lines.ts";
import { splunkDriver } from "../../engine/log_drivers/splunk.ts";
import { waitFor } from "../support/processes.ts";

const encoder = new TextEncoder();
const ID = "868e353ed8fe8e8c1a4e580380f6e60ca9eac03516bc31a679339adbd305cd12";
const record = {
  id: ID,
  name: "awesome_haslett",
  imageId: `sha256:${"1".repeat(64)}`,
  imageRef: "busybox",
  config: { Labels: { team: "a" }, Env: ["WORD=y"] },
} as unknown as ContainerRecord;

const line = (text: string, rest: Partial<LogLine> = {}): LogLine => ({
  stream: "stdout",
  text: encoder.encode(text),
  time: "2026-11-22T12:52:48.123456789Z",
  partial: false,
  ...rest,
});

/** A server that keeps what it receives, and may answer. */
async function tcpServer(
  answer?: (bytes: Uint8Array, socket: Socket) => void,
): Promise<{ port: number; received: () => Uint8Array; drop: () => void } & AsyncDisposable> {
  let bytes = new Uint8Array(0);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (data: Uint8Array) => {
      const joined = new Uint8Array(bytes.length + data.length);
      joined.set(bytes);
      joined.set(data, bytes.length);
      bytes = joined;
      answer?.(data, socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as { port: number }).port,
    received: () => bytes,
    drop,
    [Symbol.asyncDispose]: async () => {
      drop();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

describe("pack()", () => {
  it("writes what Docker's own encoder writes", () => {
    // as captured from dockerd: [tag, seconds, {…}, {}]
    const fields = new Map([["container_id", ID], ["container_name", "/awesome_haslett"], [
      "source",
      "stdout",
    ], [
      "log",
      "hi",
    ]]);
    expect(pack(["868e353ed8fe", 0x6b02e520, fields, new Map<string, string>()]).toHex()).toBe(
      "94ac383638653335336564386665d26b02e52084ac636f6e7461696e65725f6964d940" + encoder.encode(ID).toHex() +
        "ae636f6e7461696e65725f6e616d65b02f617765736f6d655f6861736c657474a6736f75726365a67374646f7574a36c6f67a2686980",
    );
    expect(pack({ seconds: 0x6b02e528, nanoseconds: 0x16ac679b }).toHex()).toBe("d7006b02e52816ac679b");
  });

  it.each([
    ["a".repeat(31), "bf"],
    ["a".repeat(32), "d920"],
    ["a".repeat(255), "d9ff"],
    ["a".repeat(256), "da0100"],
    ["a".repeat(70_000), "db00011170"],
  ])("a string of %#", (text, head) => {
    expect(pack(text).toHex()).toBe(head + encoder.encode(text).toHex());
  });

  it("takes moments after 2038, and as many fields as a container has labels", () => {
    expect(pack(2 ** 31).toHex()).toBe("d30000000080000000");
    const many = new Map(Array.from({ length: 16 }, (_, i) => [`k${i}`, "v"]));
    expect(pack(many).toHex().slice(0, 6)).toBe("de0010");
  });
});

describe("readTextMap()", () => {
  const bytes = pack(new Map([["ack", "x".repeat(40)]]));

  it("waits for all of a map, and takes no byte too many", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(readTextMap(bytes.subarray(0, length))).toBeUndefined();
    }
    const twice = new Uint8Array([...bytes, ...bytes]);
    expect(readTextMap(twice)).toEqual({ map: new Map([["ack", "x".repeat(40)]]), length: bytes.length });
  });

  it("refuses what is no map of strings", () => {
    expect(() => readTextMap(encoder.encode("HTTP/1.1 400"))).toThrow("no map of MessagePack");
    expect(() => readTextMap(Uint8Array.of(0x81, 0xc0))).toThrow("no string of MessagePack");
  });
});

describe("PartialLines", () => {
  it("numbers the pieces of a long line, and leaves whole ones alone", () => {
    const partials = new PartialLines();
    const piece = line("a".repeat(16_384), { partial: true });
    expect(partials.next(line("whole"))).toBeUndefined();
    const first = partials.next(piece);
    expect(first).toMatchObject({ ordinal: 1, last: false, id: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(partials.next(line("other", { stream: "stderr" }))).toBeUndefined();
    expect(partials.next(piece)).toEqual({ ...first, ordinal: 2 });
    expect(partials.next(line("end"))).toEqual({ ...first, ordinal: 3, last: true });
    // the end of a stream that has no newline
    expect(partials.next(line("prompt> ", { partial: true }))).toMatchObject({ ordinal: 1, last: false });
  });
});

describe("fluentdDriver", () => {
  const options = (port: number, rest: Record<string, string> = {}) => ({
    "fluentd-address": `127.0.0.1:${port}`,
    ...rest,
  });

  it("sends one message for each line, with the tag and the attributes that are asked for", async () => {
    await using server = await tcpServer();
    const sink = await fluentdDriver.open(
      record,
      options(server.port, { tag: "t/{{.Name}}", labels: "team", env: "WORD" }),
    );
    await sink.send([line("hi"), line("oh", { stream: "stderr" })]);
    const message = (log: string, source: string) =>
      pack([
        "t/awesome_haslett",
        1795351968,
        new Map([
          ["container_id", ID],
          ["container_name", "/awesome_haslett"],
          ["source", source],
          ["log", log],
          ["team", "a"],
          ["WORD", "y"],
        ]),
        new Map<string, string>(),
      ]).toHex();
    const expected = message("hi", "stdout") + message("oh", "stderr");
    await waitFor(() => server.received().length * 2 >= expected.length, 10_000, () => "nothing has come");
    expect(server.received().toHex()).toBe(expected);
    sink.close();
  });

  it("with acknowledgements sends the next line when the last is confirmed", async () => {
    const chunks: string[] = [];
    await using server = await tcpServer((bytes, socket) => {
      const text = new TextDecoder("latin1").decode(bytes);
      const chunk = /chunk\xb8(.{24})$/.exec(text)?.[1] ?? "";
      chunks.push(chunk);
      socket.write(pack(new Map([["ack", chunks.length < 3 ? chunk : "somebody else's"]])));
    });
    const sink = await fluentdDriver.open(record, options(server.port, { "fluentd-request-ack": "true" }));
    await sink.send([line("one"), line("two")]);
    expect(new Set(chunks).size).toBe(2);
    expect(chunks.every((chunk) => chunk.length === 24)).toBe(true);
    await expect(sink.send([line("three")])).rejects.toThrow(
      "the log server has acknowledged something else",
    );
    sink.close();
  });

  it("gives up an acknowledgement that does not come", async () => {
    await using server = await tcpServer();
    const given = { "fluentd-request-ack": "true", "fluentd-read-timeout": "50ms" };
    const sink = await fluentdDriver.open(record, options(server.port, given));
    await expect(sink.send([line("one")])).rejects.toThrow("no acknowledgement from the log server");
    sink.close();
  });

  it("needs a server when a container starts, but not with fluentd-async", async () => {
    const server = await tcpServer();
    await server[Symbol.asyncDispose]();
    await expect(fluentdDriver.open(record, options(server.port))).rejects.toThrow(
      `dial tcp 127.0.0.1:${server.port}: connect: connection refused`,
    );
    const sink = await fluentdDriver.open(record, options(server.port, { "fluentd-async": "true" }));
    await expect(sink.send([line("one")])).rejects.toThrow("connection refused");
    sink.close();
  });

  it.each([
    ["fluentd-address", "ftp://h", "invalid fluentd-address (ftp://h): unsupported scheme: 'ftp'"],
    [
      "fluentd-address",
      "tcp://h/path",
      "invalid fluentd-address (tcp://h/path): should not contain a path element",
    ],
    ["fluentd-address", "unix://", "invalid fluentd-address (unix://): path is empty"],
    ["fluentd-buffer-limit", "much", "invalid size: 'much'"],
    ["fluentd-retry-wait", "1", 'time: invalid duration "1"'],
    ["fluentd-max-retries", "-1", 'strconv.ParseUint: parsing "-1": invalid syntax'],
    ["fluentd-max-retries", "4294967296", 'strconv.ParseUint: parsing "4294967296": value out of range'],
    ["fluentd-async", "maybe", 'strconv.ParseBool: parsing "maybe": invalid syntax'],
    [
      "fluentd-async-reconnect-interval",
      "50ms",
      'invalid value for fluentd-async-reconnect-interval: value ("50ms") must be between 100ms and 10s',
    ],
    [
      "fluentd-write-timeout",
      "-1s",
      "invalid value for fluentd-write-timeout: value must be a duration that is non-negative",
    ],
  ])("refuses %s=%s", (name, value, message) => {
    expect(() => fluentdDriver.check({ [name]: value })).toThrow(message);
  });
});

interface Posted {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
}

/** A collector: answers what it is told to, and keeps what is asked. */
async function collector(): Promise<
  { url: string; posted: Posted[]; answer: { status: number } } & AsyncDisposable
> {
  const posted: Posted[] = [];
  const answer = { status: 200 };
  const server = createHttpServer(async (request, response) => {
    const parts: number[] = [];
    for await (const chunk of request) parts.push(...(chunk as Uint8Array));
    const { method = "", url = "", headers } = request;
    posted.push({ method, url, headers, body: Uint8Array.from(parts) });
    response.writeHead(answer.status).end(
      answer.status === 200 ? '{"text":"Success","code":0}' : "Invalid token",
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    posted,
    answer,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

describe("splunkDriver", () => {
  const send = async (driver: RemoteLogDriver, options: Record<string, string>, lines: LogLine[]) => {
    const sink = await driver.open(record, options);
    await sink.send(lines);
    sink.close();
  };
  const common = (url: string) => ({ "splunk-url": url, "splunk-token": "T" });

  it("asks whether the collector is there, then posts events", async () => {
    await using server = await collector();
    await send(splunkDriver, {
      ...common(server.url),
      "splunk-source": "s",
      "splunk-index": "i",
      labels: "team",
    }, [
      line("hi"),
      line("oh", { stream: "stderr" }),
    ]);
    expect(server.posted.map(({ method, url }) => `${method} ${url}`)).toEqual([
      "OPTIONS /services/collector/event/1.0",
      "POST /services/collector/event/1.0",
    ]);
    const { headers, body } = server.posted[1] ?? { headers: {}, body: new Uint8Array(0) };
    expect(headers.authorization).toBe("Splunk T");
    const event = (text: string, source: string) =>
      JSON.stringify({
        event: { line: text, source, tag: ID.slice(0, 12), attrs: { team: "a" } },
        time: "1795351968.123456",
        host: Deno.hostname(),
        source: "s",
        index: "i",
      });
    expect(new TextDecoder().decode(body)).toBe(event("hi", "stdout") + event("oh", "stderr"));
  });

  it.each([
    ["json", {}, '{"a":1}', { line: { a: 1 }, source: "stdout", tag: ID.slice(0, 12) }],
    ["json", { tag: "" }, "{a", { line: "{a", source: "stdout" }],
    ["raw", { env: "WORD" }, "text", `${ID.slice(0, 12)} WORD=y text`],
  ])("format %s with %o", async (format, more, text, event) => {
    await using server = await collector();
    const options = {
      ...common(server.url),
      "splunk-format": format,
      "splunk-verify-connection": "false",
      ...more,
    };
    await send(splunkDriver, options, [line(text), ...(format === "raw" ? [line("  ")] : [])]);
    expect(server.posted).toHaveLength(1);
    expect(JSON.parse(new TextDecoder().decode(server.posted[0]?.body)).event).toEqual(event);
  });

  it("compresses, and names a channel for acknowledgements of the index", async () => {
    await using server = await collector();
    const more = { "splunk-gzip": "true", "splunk-gzip-level": "9", "splunk-index-acknowledgment": "true" };
    await send(splunkDriver, { ...common(server.url), ...more }, [line("hi")]);
    const { headers = {}, body = new Uint8Array(0) } = server.posted[1] ?? {};
    expect(headers["content-encoding"]).toBe("gzip");
    expect(headers["x-splunk-request-channel"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(JSON.parse(new TextDecoder().decode(gunzipSync(body))).event.line).toBe("hi");
  });

  it("tells what the collector says, at the start and later", async () => {
    await using server = await collector();
    const sink = await splunkDriver.open(record, common(server.url));
    server.answer.status = 403;
    await expect(sink.send([line("hi")])).rejects.toThrow(
      "splunk: failed to send event - 403 Forbidden - Invalid token",
    );
    await expect(splunkDriver.open(record, common(server.url))).rejects.toThrow(
      "splunk: failed to verify connection - 403 Forbidden - Invalid token",
    );
    sink.close();
  });

  it.each([
    [{}, "splunk: splunk-url is expected"],
    [{ "splunk-url": "http://h:1" }, "splunk: splunk-token is expected"],
    [
      { "splunk-url": "http://h:1/x", "splunk-token": "T" },
      "splunk: expected format scheme://dns_name_or_ip:port for splunk-url",
    ],
    [{ ...common("http://h:1"), "splunk-capath": "/none" }, "open /none: no such file or directory"],
    [
      { ...common("http://h:1"), "splunk-gzip-level": "10" },
      "not supported level '10' for splunk-gzip-level",
    ],
    [{ ...common("http://h:1"), "splunk-format": "xml" }, "unknown format specified xml"],
  ])("says at the start what is wrong with %o", async (options, message) => {
    await expect(splunkDriver.open(record, options)).rejects.toThrow(message);
  });
});
