/** The DNS server on real sockets, with real clients before it and upstreams of every kind behind it. */
import { connect, type Socket } from "node:net";
import { createSocket } from "node:dgram";
import { Buffer } from "node:buffer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import { RCODE, TYPE } from "../../net/dns/message.ts";
import type { Upstream, View } from "../../net/dns/resolver.ts";
import { DnsServer, type DnsServerOptions } from "../../net/dns/server.ts";
import { Zone } from "../../net/dns/zone.ts";
import { Random } from "../fuzz/random.ts";
import {
  type Behaviour,
  dnsQuery,
  dnsReply,
  drive,
  type FakeUpstream,
  fakeUpstream,
  sandboxSockets,
  upstreamSocket,
} from "../support/dns.ts";
import { describeWith, program } from "../support/needs.ts";

let loop: EventLoop;
let server: DnsServer;
let port: number;
let zone: Zone;
const upstreams: FakeUpstream[] = [];

beforeEach(() => {
  loop = new EventLoop(kernel);
  zone = new Zone("x1");
  zone.set({ id: "e1", names: ["c1", "web"], addresses: [new Uint8Array([172, 18, 0, 2])] });
});

afterEach(async () => {
  server[Symbol.dispose]();
  loop[Symbol.dispose]();
  for (const upstream of upstreams.splice(0)) await upstream.close();
});

function serve(asked: readonly Upstream[], options: DnsServerOptions = {}, more: Partial<View> = {}): void {
  server = new DnsServer(loop, { kernel, network }, upstreamSocket, options);
  const sockets = sandboxSockets([127, 0, 0, 1]);
  port = sockets.port;
  server.open("s1", sockets, { networks: [{ zone }], upstreams: asked, ...more });
}

async function upstream(behaviour: Behaviour): Promise<FakeUpstream> {
  const fake = await fakeUpstream(behaviour);
  upstreams.push(fake);
  return fake;
}

/** Sends datagrams from one socket, and answers with what has come back when `until` is content. */
async function exchange(messages: readonly Uint8Array[], answers = messages.length): Promise<Uint8Array[]> {
  const socket = createSocket("udp4");
  const got: Uint8Array[] = [];
  try {
    return await drive(
      loop,
      new Promise<Uint8Array[]>((resolve, reject) => {
        const deadline = setTimeout(() => reject(new Error(`${got.length} of ${answers} answers`)), 20_000);
        socket.on("message", (message: Uint8Array) => {
          got.push(new Uint8Array(message));
          if (got.length < answers) return;
          clearTimeout(deadline);
          resolve(got);
        });
        for (const message of messages) socket.send(message, port, "127.0.0.1");
      }),
    );
  } finally {
    socket.close();
  }
}

const first = async (message: Uint8Array): Promise<Uint8Array> =>
  (await exchange([message]))[0] ?? new Uint8Array();
const rcode = (message: Uint8Array): number => (message[3] ?? 0) & 0xf;
const truncated = (message: Uint8Array): boolean => ((message[2] ?? 0) & 2) !== 0;
const count = (message: Uint8Array): number => ((message[6] ?? 0) << 8) | (message[7] ?? 0);
const id = (message: Uint8Array): number => ((message[0] ?? 0) << 8) | (message[1] ?? 0);

/** A connection that gathers what comes, and says when it has ended. */
function client(): { socket: Socket; messages: Uint8Array[]; ended: Promise<void> } {
  const socket = connect(port, "127.0.0.1");
  const messages: Uint8Array[] = [];
  let rest: Uint8Array = new Uint8Array();
  socket.on("data", (chunk: Uint8Array) => {
    rest = new Uint8Array([...rest, ...chunk]);
    for (;;) {
      const size = ((rest[0] ?? 0) << 8) | (rest[1] ?? 0);
      if (rest.length < 2 || rest.length < 2 + size) return;
      messages.push(rest.slice(2, 2 + size));
      rest = rest.slice(2 + size);
    }
  });
  const ended = new Promise<void>((resolve) => {
    socket.on("error", () => {});
    socket.on("close", () => resolve());
  });
  return { socket, messages, ended };
}

const framed = (message: Uint8Array): Buffer =>
  Buffer.from([message.length >> 8, message.length & 0xff, ...message]);

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  await drive(
    loop,
    (async () => {
      while (!condition()) {
        if (performance.now() > deadline) throw new Error(`${what}: not within 20 s`);
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    })(),
  );
}

const DEAD: Behaviour = () => [];

/** For servers that do answer: they are of this very process, which a busy machine may leave waiting for some hundred milliseconds. */
const PATIENCE_MS = 1_500;

describeWith(program("dig", "bind9-dnsutils"))("dig", () => {
  const dig = async (...args: string[]): Promise<string> => {
    const { stdout } = await drive(
      loop,
      new Deno.Command("dig", {
        args: ["@127.0.0.1", "-p", `${port}`, "+tries=1", ...args],
        stdin: "null",
        stderr: "null",
      }).output(),
    );
    return new TextDecoder().decode(stdout);
  };

  it("reads local answers, by UDP and TCP, with and without EDNS", async () => {
    serve([]);
    for (const way of [["+notcp"], ["+tcp"], ["+noedns"], ["+bufsize=4096"]]) {
      const text = await dig(...way, "WEB");
      expect(text).toContain("status: NOERROR");
      expect(text).toContain("flags: qr rd ra;");
      expect(text).toMatch(/^WEB\.\s+600\s+IN\s+A\s+172\.18\.0\.2$/m);
      expect(text).not.toMatch(/warning|malformed|mismatch/i);
    }
    expect(await dig("+short", "-x", "172.18.0.2")).toBe("c1.x1.\n");
    expect(await dig("web", "AAAA")).toMatch(/status: NOERROR[^]*ANSWER: 0/);
    expect(await dig("elsewhere.example")).toContain("status: SERVFAIL");
    expect(await dig("+edns=1", "+noednsnegotiation", "web")).toContain("status: BADVERS");
    expect(await dig("+opcode=2", "web")).toContain("status: NOTIMP");
  });

  it("comes back by TCP for an alias that a hundred containers share", async () => {
    for (let n = 0; n < 100; n++) {
      zone.set({ id: `s${n}`, names: [`n${n}`, "many"], addresses: [new Uint8Array([172, 18, 1, n])] });
    }
    serve([]);
    expect(await dig("+noedns", "+ignore", "many")).toContain("flags: qr tc rd ra;");
    expect((await dig("+noedns", "+short", "many")).split("\n")).toHaveLength(101);
    expect((await dig("+bufsize=4096", "+notcp", "+short", "many")).split("\n")).toHaveLength(101);
  });
});

describe("forwarding", () => {
  it("passes on what is not known, under another id and from a new port each time", async () => {
    const fake = await upstream((message) => [dnsReply(message, { count: 2 })]);
    serve([fake.at]);
    const queries = Array.from({ length: 20 }, (_, n) => dnsQuery(`h${n}.example`, 1, 100 + n));
    const answers = await exchange(queries);
    expect(answers.map(id).sort()).toEqual(queries.map(id).sort());
    expect(answers.every((answer) => count(answer) === 2 && rcode(answer) === 0)).toBe(true);
    expect(new Set(fake.asked.map(({ message }) => id(message))).size).toBeGreaterThan(15);
    expect(new Set(fake.asked.map(({ port }) => port)).size).toBe(20);
  });

  it("passes NXDOMAIN and unknown types through as they are", async () => {
    const fake = await upstream((message) => [dnsReply(message, { flags: 0x8183, count: 0 })]);
    serve([fake.at]);
    expect(rcode(await first(dnsQuery("no.example", 65280)))).toBe(RCODE.NXDOMAIN);
    expect(fake.asked).toHaveLength(1);
  });

  it("never asks upstream for a name of the network, whatever the type", async () => {
    const fake = await upstream((message) => [dnsReply(message)]);
    serve([fake.at]);
    for (const type of [TYPE.A, TYPE.AAAA, TYPE.TXT, 65, 255]) {
      expect(rcode(await first(dnsQuery("web", type)))).toBe(0);
    }
    expect(fake.asked).toHaveLength(0);
  });

  it("goes on to the next server after silence, refusal, failure, and to no more than three", async () => {
    const silent = await upstream(DEAD);
    const failing = await upstream((message) => [dnsReply(message, { flags: 0x8182, count: 0 })]);
    const good = await upstream((message) => [dnsReply(message)]);
    const closed = await fakeUpstream(DEAD);
    await closed.close();
    serve([silent.at, failing.at, good.at], { timeoutMs: PATIENCE_MS });
    expect(count(await first(dnsQuery("a.example", 1)))).toBe(1);
    expect(silent.asked).toHaveLength(1);
    server.change("s1", { networks: [], upstreams: [closed.at, good.at] });
    expect(count(await first(dnsQuery("a.example", 1)))).toBe(1);
    server.change("s1", { networks: [], upstreams: [closed.at, silent.at, failing.at, good.at] });
    const before = good.asked.length;
    expect(rcode(await first(dnsQuery("a.example", 1)))).toBe(RCODE.SERVFAIL);
    expect(good.asked).toHaveLength(before);
  });

  it("says SERVFAIL when all are dead, and leaves nothing behind", async () => {
    const silent = await upstream(DEAD);
    serve([silent.at, silent.at], { timeoutMs: 50 });
    const before = descriptors();
    const answer = await first(dnsQuery("a.example", 1, 9));
    expect([id(answer), rcode(answer)]).toEqual([9, RCODE.SERVFAIL]);
    expect(silent.asked).toHaveLength(2);
    await until(() => descriptors() <= before, "end of its sockets");
  });

  it("takes no answer with another id, question, or none of a message, but waits for the right one", async () => {
    const liar = await upstream((message) => {
      const otherId = dnsReply(message, { from: 900 });
      otherId[0] = (otherId[0] ?? 0) ^ 0xff;
      const otherName = dnsReply(dnsQuery("b.example", 1, id(message)), { from: 901 });
      const otherType = dnsReply(dnsQuery("a.example", 28, id(message)), { from: 902 });
      const loops = new Uint8Array([...dnsReply(message, { count: 0, from: 903 }), 0xc0, 19]);
      loops[7] = 1;
      return [
        otherId,
        otherName,
        otherType,
        message,
        loops,
        new Uint8Array(3),
        dnsReply(message, { from: 1 }),
      ];
    });
    serve([liar.at]);
    const answer = await first(dnsQuery("a.example", 1));
    expect([...answer.slice(-4)]).toEqual([192, 0, 0, 1]);
  });

  it("fetches a truncated answer by TCP, and cuts it for a client that takes less", async () => {
    const fake = await upstream((message, transport) =>
      transport === "udp"
        ? [dnsReply(message, { flags: 0x8380, count: 1 })]
        : [dnsReply(message, { count: 150 })]
    );
    serve([fake.at]);
    const whole = await first(dnsQuery("big.example", 1, 5, 4096));
    expect([count(whole), truncated(whole)]).toEqual([150, false]);
    const cut = await first(dnsQuery("big.example", 1, 6));
    expect(cut.length).toBeLessThanOrEqual(512);
    expect([count(cut), truncated(cut)]).toEqual([Math.floor((512 - 29) / 16), true]);
    const { socket, messages } = client();
    socket.write(framed(dnsQuery("big.example", 1, 7)));
    await until(() => messages.length === 1, "answer by TCP");
    expect(count(messages[0] ?? new Uint8Array())).toBe(150);
    socket.destroy();
  });

  it("gives the truncated answer when TCP does not work", async () => {
    const fake = await upstream((message, transport) =>
      transport === "udp" ? [dnsReply(message, { flags: 0x8380, count: 3 })] : []
    );
    serve([fake.at], { timeoutMs: PATIENCE_MS });
    const answer = await first(dnsQuery("big.example", 1, 5));
    expect([count(answer), truncated(answer), rcode(answer)]).toEqual([3, true, 0]);
  });

  it("serves names of the network while an upstream is silent, and refuses more than its limit at once", async () => {
    const silent = await upstream(DEAD);
    serve([silent.at], { timeoutMs: 60_000, maxPerSandbox: 50 });
    const queries = Array.from({ length: 60 }, (_, n) => dnsQuery(`h${n}.example`, 1, n));
    const refused = await exchange(queries, 10);
    expect(refused.map(rcode)).toEqual(new Array(10).fill(RCODE.SERVFAIL));
    expect(count(await first(dnsQuery("web", 1)))).toBe(1);
    const open = descriptors();
    server.close("s1");
    expect(descriptors()).toBe(open - 52);
  });
});

describe("TCP clients", () => {
  it("get answers to many queries on one connection, also in pieces of a byte, and after their own end", async () => {
    serve([]);
    const { socket, messages, ended } = client();
    const all = Buffer.concat(Array.from({ length: 40 }, (_, n) => framed(dnsQuery("web", 1, n))));
    socket.setNoDelay(true);
    for (const byte of all.subarray(0, 100)) socket.write(Buffer.from([byte]));
    socket.end(all.subarray(100));
    await drive(loop, ended);
    expect(messages.map(id).sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n));
  });

  it("are ended when they send nothing, something else, or too much", async () => {
    serve([], { idleMs: 200 });
    const idle = client();
    const slow = client();
    slow.socket.write(Buffer.from([0, 30, 1]));
    const http = client();
    http.socket.write("GET / HTTP/1.1\r\n\r\n");
    const answer = client();
    answer.socket.write(framed(dnsReply(dnsQuery("web", 1))));
    await drive(loop, Promise.all([idle.ended, slow.ended, http.ended, answer.ended]));
  });

  it("that do not read are not read from any more, and ended; others are served meanwhile", async () => {
    for (let n = 0; n < 200; n++) {
      zone.set({ id: `s${n}`, names: ["many"], addresses: [new Uint8Array([172, 18, 1, n])] });
    }
    serve([], { idleMs: PATIENCE_MS });
    const before = descriptors();
    const greedy = client();
    greedy.socket.pause();
    const queries = Buffer.concat(Array.from({ length: 5000 }, (_, n) => framed(dnsQuery("many", 1, n))));
    greedy.socket.write(queries);
    const other = client();
    other.socket.write(framed(dnsQuery("web", 1)));
    await until(() => other.messages.length === 1, "another client's answer");
    other.socket.destroy();
    // its own end may stay; the server's goes
    await until(() => descriptors() <= before + 1, "end of the greedy client");
    greedy.socket.destroy();
  });

  it("are so many and no more", async () => {
    serve([], { maxClients: 3 });
    const clients = Array.from({ length: 6 }, client);
    for (const { socket } of clients) socket.write(framed(dnsQuery("web", 1)));
    await until(() => clients.filter(({ messages }) => messages.length === 1).length === 3, "three answers");
    await until(() => clients.filter(({ socket }) => socket.destroyed).length === 3, "three refusals");
    for (const { socket } of clients) socket.destroy();
  });
});

describe("hostile packets", () => {
  it("from clients and servers leave it serving", async () => {
    const random = new Random(4);
    const damage = (message: Uint8Array, keep: number): Uint8Array => {
      const bytes = new Uint8Array(message);
      for (let left = 1 + random.below(5); left > 0; left--) {
        bytes[keep + random.below(bytes.length - keep)] = random.pick([
          0,
          0xc0,
          0x0c,
          0xff,
          random.below(256),
        ]);
      }
      return random.chance(6) ? bytes.slice(0, random.below(bytes.length)) : bytes;
    };
    const fake = await upstream((message) => [
      damage(dnsReply(message, { count: 5 }), 2),
      ...(random.chance(2) ? [dnsReply(message)] : []),
    ]);
    serve([fake.at], { timeoutMs: 30 });
    const before = descriptors();
    const enough = performance.now() + 4000;
    for (let rounds = 0; rounds < 12 || performance.now() < enough; rounds++) {
      const messages = Array.from({ length: 20 }, (_, n) => damage(dnsQuery("h.example.org", 1, n, 1232), 0));
      const whole = dnsQuery("web", 1, 0x7777);
      const answers = await exchange([...messages, whole], 1);
      expect(answers.length).toBeGreaterThan(0);
      const { socket } = client();
      socket.write(framed(damage(dnsQuery("h.example.org", 1), 0)));
      socket.end();
      await until(() => socket.destroyed || socket.readyState !== "opening", "a connection");
      socket.destroy();
    }
    await until(() => descriptors() <= before, "end of everything under way");
    expect(count(await first(dnsQuery("web", 1)))).toBe(1);
  }, 90_000);
});

function descriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}
