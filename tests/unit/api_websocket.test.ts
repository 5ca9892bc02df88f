import { describe, expect, it } from "vitest";
import { Deframer } from "../../api/deframer.ts";
import {
  acceptKey,
  encodeFrame,
  FrameDecoder,
  WebSocketError,
  WebSocketStream,
} from "../../api/http/websocket.ts";
import { frame } from "../../api/context.ts";
import { type ClientStream } from "../../engine/types.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const text = (bytes: Uint8Array) => decoder.decode(bytes);

interface ClientFrame {
  opcode?: number;
  final?: boolean;
  masked?: boolean;
  reserved?: boolean;
}

/** A frame as a client sends it. */
function clientFrame(payload: string | Uint8Array, options: ClientFrame = {}): Uint8Array {
  const { opcode = 2, final = true, masked = true, reserved = false } = options;
  const data = typeof payload === "string" ? encoder.encode(payload) : payload;
  const plain = encodeFrame(opcode, data);
  const head = plain.slice(0, plain.length - data.length);
  head[0] = (final ? 0x80 : 0) | (reserved ? 0x40 : 0) | opcode;
  if (!masked) return new Uint8Array([...head, ...data]);
  head[1] = (head[1] ?? 0) | 0x80;
  const mask = [1, 2, 3, 250];
  return new Uint8Array([...head, ...mask, ...data.map((byte, i) => byte ^ (mask[i % 4] ?? 0))]);
}

function decode(bytes: Uint8Array, step = bytes.length): { data: string; others: string[] } {
  const frames = new FrameDecoder();
  let data = "";
  const others: string[] = [];
  for (let at = 0; at < bytes.length; at += step) {
    for (const input of frames.push(bytes.subarray(at, at + step))) {
      if (input.kind === "data") data += text(input.data);
      else others.push(input.kind === "close" ? `close ${input.code}` : `ping ${text(input.data)}`);
    }
  }
  return { data, others };
}

const join = (...parts: Uint8Array[]) => new Uint8Array(parts.flatMap((part) => [...part]));

describe("acceptKey()", () => {
  it("answers the key of RFC 6455, 1.3", async () => {
    expect(await acceptKey("dGhlIHNhbXBsZSBub25jZQ==")).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  });
});

describe("encodeFrame()", () => {
  it("has the short, the 16-bit and the 64-bit form of a length", () => {
    expect([...encodeFrame(2, new Uint8Array(125)).subarray(0, 3)]).toEqual([0x82, 125, 0]);
    expect([...encodeFrame(1, new Uint8Array(126)).subarray(0, 4)]).toEqual([0x81, 126, 0, 126]);
    expect([...encodeFrame(2, new Uint8Array(65536)).subarray(0, 10)]).toEqual([
      0x82,
      127,
      0,
      0,
      0,
      0,
      0,
      1,
      0,
      0,
    ]);
  });
});

describe("FrameDecoder", () => {
  const long = "x".repeat(70_000);
  const conversation = join(
    clientFrame("one "),
    clientFrame("tw", { opcode: 1, final: false }),
    clientFrame("are you there", { opcode: 9 }),
    clientFrame("o ", { opcode: 0 }),
    clientFrame("", { opcode: 10 }),
    clientFrame(long),
    clientFrame(""),
    clientFrame(new Uint8Array([0x03, 0xe8]), { opcode: 8 }),
  );

  it.each([1, 3, 7, 4096, 100_000])("reads frames that arrive %i bytes at a time", (step) => {
    const { data, others } = decode(conversation, step);
    expect(data).toBe(`one two ${long}`);
    expect(others).toEqual(["ping are you there", "close 1000"]);
  });

  it("passes the beginning of a frame on before its end is there", () => {
    const [input] = new FrameDecoder().push(clientFrame(long).subarray(0, 1000));
    expect(input?.kind === "data" && input.data.length).toBeGreaterThan(900);
  });

  it("takes a character that two frames share, and refuses what is not UTF-8 in text only", () => {
    const [first, second] = [encoder.encode("ä").subarray(0, 1), encoder.encode("ä").subarray(1)];
    expect(() =>
      decode(join(clientFrame(first, { opcode: 1, final: false }), clientFrame(second, { opcode: 0 })))
    ).not.toThrow();
    expect(() => decode(clientFrame(first, { opcode: 1 }))).toThrow(WebSocketError);
    expect(() => decode(clientFrame(first))).not.toThrow();
  });

  it.each<[string, Uint8Array]>([
    ["a frame without a mask", clientFrame("x", { masked: false })],
    ["reserved bits", clientFrame("x", { reserved: true })],
    ["an unknown opcode", clientFrame("x", { opcode: 3 })],
    ["an unknown control opcode", clientFrame("x", { opcode: 11 })],
    ["a control frame in pieces", clientFrame("x", { opcode: 9, final: false })],
    ["a long control frame", clientFrame("x".repeat(126), { opcode: 9 })],
    ["a continuation of nothing", clientFrame("x", { opcode: 0 })],
    ["a message within a message", join(clientFrame("x", { final: false }), clientFrame("y"))],
    ["half a status code", clientFrame("x", { opcode: 8 })],
    ["a status code that is never sent", clientFrame(new Uint8Array([0x03, 0xed]), { opcode: 8 })],
    ["a length beyond 2^53", new Uint8Array([0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
  ])("refuses %s", (_, bytes) => {
    expect(() => decode(bytes)).toThrow(WebSocketError);
  });
});

describe("WebSocketStream", () => {
  /** A connection that has sent `bytes` and then is silent, or ends. */
  function connection(bytes: Uint8Array, ends = false) {
    const written: Uint8Array[] = [];
    let close = () => {};
    const closed = new Promise<void>((resolve) => close = resolve);
    const raw: ClientStream = {
      input: (async function* () {
        yield bytes;
        if (!ends) await closed;
      })(),
      write: (data) => Promise.resolve(void written.push(data)),
      closeWrite: () => Promise.resolve(),
      close,
    };
    return { raw, written, closed };
  }

  async function read(stream: ClientStream): Promise<string> {
    let all = "";
    for await (const bytes of stream.input) all += text(bytes);
    return all;
  }

  it("ends the input at the client's Close, and still writes; its own Close repeats the code", async () => {
    const { raw, written } = connection(
      join(clientFrame("in"), clientFrame(new Uint8Array([0x0b, 0xb8]), { opcode: 8 })),
    );
    const stream = new WebSocketStream(raw, true);
    expect(await read(stream)).toBe("in");
    await stream.write(encoder.encode("out"));
    await stream.closeWrite();
    await stream.closeWrite();
    expect(written.map((one) => [...one])).toEqual([[0x82, 3, ...encoder.encode("out")], [
      0x88,
      2,
      0x0b,
      0xb8,
    ]]);
    await expect(stream.write(encoder.encode("late"))).rejects.toThrow();
  });

  it("ends the input with the connection", async () => {
    const { raw } = connection(clientFrame("in"), true);
    expect(await read(new WebSocketStream(raw, true))).toBe("in");
  });

  it("answers a ping that comes when nobody reads", async () => {
    const { raw, written, closed } = connection(clientFrame("?", { opcode: 9 }));
    const stream = new WebSocketStream(raw, true);
    await expect.poll(() => written.map((one) => [...one])).toEqual([[0x8a, 1, 63]]);
    stream.close();
    await closed;
  });

  it("closes with 1002 when the client breaks the protocol", async () => {
    const { raw, written, closed } = connection(clientFrame("x", { masked: false }));
    expect(await read(new WebSocketStream(raw, true))).toBe("");
    await closed;
    expect(written.map((one) => [...one])).toEqual([[0x88, 2, 0x03, 0xea]]);
  });

  it("cuts text between characters", async () => {
    const { raw, written } = connection(new Uint8Array(0));
    const stream = new WebSocketStream(raw, false);
    for (const byte of encoder.encode("aä")) await stream.write(new Uint8Array([byte]));
    expect(written.map((one) => [...one])).toEqual([[0x81, 1, 97], [0x81, 2, 0xc3, 0xa4]]);
  });
});

describe("Deframer", () => {
  it.each([1, 5, 8, 1000])("finds the data of frames that arrive %i bytes at a time", (step) => {
    const all = join(
      frame("stdout", encoder.encode("out")),
      frame("stderr", encoder.encode("")),
      frame("stderr", encoder.encode("error")),
    );
    const deframer = new Deframer();
    let data = "";
    for (let at = 0; at < all.length; at += step) {
      for (const part of deframer.push(all.subarray(at, at + step))) data += text(part);
    }
    expect(data).toBe("outerror");
  });
});
