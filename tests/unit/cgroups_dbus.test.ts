import { describe, expect, it } from "vitest";
import { DBusConnection, DBusError } from "../../cgroups/dbus/connection.ts";
import {
  decodeMessage,
  encodeMessage,
  type Message,
  messageLength,
  METHOD_CALL,
  METHOD_RETURN,
  SIGNAL,
  splitSignature,
  Variant,
} from "../../cgroups/dbus/message.ts";

describe("splitSignature()", () => {
  it("finds the complete types", () => {
    expect(splitSignature("ssa(sv)a(sa(sv))")).toEqual(["s", "s", "a(sv)", "a(sa(sv))"]);
    expect(splitSignature("a{sv}ay(i(us))v")).toEqual(["a{sv}", "ay", "(i(us))", "v"]);
    expect(splitSignature("")).toEqual([]);
  });

  it("throws for what is none", () => {
    expect(() => splitSignature("sz")).toThrow(TypeError);
    expect(() => splitSignature("(s")).toThrow(TypeError);
  });
});

describe("encodeMessage()", () => {
  it("gives what decodeMessage() reads, at every alignment", () => {
    for (let padding = 0; padding < 9; padding++) {
      const body = [
        "x".repeat(padding),
        [["PIDs", new Variant("au", [1, 4_000_000_000])], ["Mask", new Variant("ay", [1, 2, 3])]],
        2n ** 64n - 1n,
        -5n,
        true,
        -7,
        1.5,
        "/a/b",
        [["k", new Variant("s", "ä")]],
      ] as const;
      const signature = "sa(sv)txbidoa{sv}";
      const message: Message = {
        type: METHOD_CALL,
        serial: 7,
        path: "/o",
        interface: "a.b",
        member: "M",
        destination: "a.b",
        signature,
        body,
      };
      const bytes = encodeMessage(message);
      expect(messageLength(bytes)).toBe(bytes.length);
      expect(decodeMessage(bytes)).toEqual(message);
    }
  });

  it("grows for long texts", () => {
    const body = ["y".repeat(100_000), "z"];
    const bytes = encodeMessage({ type: SIGNAL, serial: 1, signature: "ss", body });
    expect(decodeMessage(bytes).body).toEqual(body);
  });

  it("aligns the body to 8 and lays out the header as the specification says", () => {
    const bytes = encodeMessage({
      type: METHOD_RETURN,
      serial: 2,
      replySerial: 9,
      signature: "y",
      body: [5],
    });
    // l, type, flags, version, length of the body, serial, length of the fields
    expect([...bytes.subarray(0, 4)]).toEqual([0x6c, 2, 0, 1]);
    expect([...bytes.subarray(4, 12)]).toEqual([1, 0, 0, 0, 2, 0, 0, 0]);
    expect((bytes.length - 1) % 8).toBe(0);
    expect(bytes.at(-1)).toBe(5);
  });
});

describe("messageLength()", () => {
  it("waits for the header, and refuses what is none", () => {
    expect(messageLength(new Uint8Array(15))).toBeUndefined();
    expect(() => messageLength(new Uint8Array(16))).toThrow(RangeError);
  });
});

/** A peer that answers with what `reply` makes of each message, in pieces of `chunk` bytes. */
async function withPeer(
  reply: (message: Message) => Uint8Array[],
  use: (path: string) => Promise<void>,
  chunk = 1 << 20,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/s`;
  const listener = Deno.listen({ transport: "unix", path });
  const serving = (async () => {
    const connection = await listener.accept();
    try {
      const buffer = new Uint8Array(65_536);
      const greeting = await connection.read(buffer);
      expect(new TextDecoder().decode(buffer.subarray(0, greeting ?? 0))).toBe(
        "\0AUTH EXTERNAL 31303030\r\n",
      );
      await connection.write(new TextEncoder().encode("OK 1234\r\n"));
      let rest = new Uint8Array(0);
      let begun = false;
      for (;;) {
        const count = await connection.read(buffer);
        if (count === null) break;
        rest = new Uint8Array([...rest, ...buffer.subarray(0, count)]);
        if (!begun) {
          rest = rest.slice("BEGIN\r\n".length);
          begun = true;
        }
        for (
          let length = messageLength(rest);
          length !== undefined && length <= rest.length;
          length = messageLength(rest)
        ) {
          for (const answer of reply(decodeMessage(rest.slice(0, length)))) {
            for (let at = 0; at < answer.length; at += chunk) {
              await connection.write(answer.subarray(at, at + chunk));
            }
          }
          rest = rest.slice(length);
        }
      }
    } finally {
      connection.close();
    }
  })();
  try {
    await use(path);
  } finally {
    listener.close();
    await serving.catch(() => {});
    await Deno.remove(dir, { recursive: true });
  }
}

const method = { destination: "a.b", path: "/o", interface: "a.b", member: "Add", signature: "uu" };

describe("DBusConnection", () => {
  it("gets answers and signals that come in single bytes", async () => {
    const reply = (m: Message) => [
      encodeMessage({ type: SIGNAL, serial: 1, member: "S", signature: "s", body: ["now"] }),
      encodeMessage({
        type: METHOD_RETURN,
        serial: 2,
        replySerial: m.serial,
        signature: "u",
        body: [Number(m.body[0]) + Number(m.body[1])],
      }),
    ];
    await withPeer(reply, async (path) => {
      using connection = await DBusConnection.connect({ path, bus: false }, 1000, 5000);
      const signals: unknown[] = [];
      connection.onSignal((signal) => signals.push(...signal.body));
      expect(await connection.call({ ...method, body: [1, 2] }, 5000)).toEqual([3]);
      const both = await Promise.all([5, 6].map((n) => connection.call({ ...method, body: [n, n] }, 5000)));
      expect(both).toEqual([[10], [12]]);
      expect(signals).toEqual(["now", "now", "now"]);
    }, 1);
  });

  it("throws the peer's error by its name", async () => {
    const reply = (m: Message) => [
      encodeMessage({
        type: 3,
        serial: 2,
        replySerial: m.serial,
        errorName: "a.b.Nope",
        signature: "s",
        body: ["not today"],
      }),
    ];
    await withPeer(reply, async (path) => {
      using connection = await DBusConnection.connect({ path, bus: false }, 1000, 5000);
      const call = connection.call({ ...method, body: [1, 2] }, 5000);
      await expect(call).rejects.toThrow(DBusError);
      await expect(call).rejects.toMatchObject({ errorName: "a.b.Nope", message: "not today" });
    });
  });

  it("gives up on a peer that is silent", async () => {
    await withPeer(() => [], async (path) => {
      using connection = await DBusConnection.connect({ path, bus: false }, 1000, 5000);
      await expect(connection.call({ ...method, body: [1, 2] }, 50)).rejects.toThrow(/no answer within/);
    });
  });

  it("fails what waits when the peer goes away or sends nonsense", async () => {
    await withPeer(() => [new Uint8Array(64)], async (path) => {
      using connection = await DBusConnection.connect({ path, bus: false }, 1000, 5000);
      await expect(connection.call({ ...method, body: [1, 2] }, 5000)).rejects.toThrow(/not a D-Bus message/);
      expect(connection.closed).toBe(true);
      await expect(connection.call({ ...method, body: [1, 2] }, 5000)).rejects.toThrow();
    });
  });

  it("says when nobody is there", async () => {
    await expect(DBusConnection.connect({ path: "/nowhere/at/all", bus: false }, 1000, 5000)).rejects
      .toThrow();
  });
});
