/** Peers of the DNS server: fake upstreams that behave as they are told, and a loop that turns between the test's own promises. */
import { createSocket, type RemoteInfo } from "node:dgram";
import { createServer } from "node:net";
import { AF_INET, AF_INET6, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM } from "../../ffi/constants.ts";
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import type { Transport } from "../../net/dns/forwarder.ts";
import type { Upstream } from "../../net/dns/resolver.ts";
import type { SandboxSockets } from "../../net/dns/server.ts";

/** Sockets as netd makes them in a sandbox; port 0 chooses one for both transports. */
export function sandboxSockets(address: readonly number[], port = 0): SandboxSockets & { port: number } {
  const at = (chosen: number): Upstream => ({
    family: "inet",
    address: new Uint8Array(address),
    port: chosen,
  });
  for (;;) {
    const udp = network.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK);
    const tcp = network.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    try {
      network.bind(udp, at(port));
      const name = network.getsockname(udp);
      const chosen = name?.family === "inet" ? name.port : port;
      network.bind(tcp, at(chosen));
      network.listen(tcp, 16);
      return { udp, tcp, port: chosen };
    } catch (error) {
      kernel.close(udp);
      kernel.close(tcp);
      if (port !== 0) throw error;
    }
  }
}

export function upstreamSocket(family: Upstream["family"], transport: Transport): number {
  return network.socket(
    family === "inet" ? AF_INET : AF_INET6,
    (transport === "udp" ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK,
  );
}

/** Turns the loop until the promise is settled. */
export async function drive<T>(loop: EventLoop, promise: Promise<T>): Promise<T> {
  let settled = false;
  const done = () => void (settled = true);
  promise.then(done, done);
  while (!settled) {
    loop.turn(1);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return promise;
}

export interface FakeUpstream {
  readonly at: Upstream;
  /** Messages that came, with the transport. */
  readonly asked: { transport: Transport; message: Uint8Array; port: number }[];
  close(): Promise<void>;
}

/** Answers that a fake upstream sends, any number; by TCP each gets its length. */
export type Behaviour = (
  message: Uint8Array,
  transport: Transport,
) => readonly Uint8Array[] | Promise<readonly Uint8Array[]>;

/** A server on 127.0.0.1 with both transports on one port. */
export async function fakeUpstream(behaviour: Behaviour): Promise<FakeUpstream> {
  const asked: FakeUpstream["asked"] = [];
  const tcp = createServer((socket) => {
    let bytes: Uint8Array = new Uint8Array();
    socket.on("error", () => socket.destroy());
    socket.on("data", async (chunk: Uint8Array) => {
      bytes = new Uint8Array([...bytes, ...chunk]);
      for (let size; bytes.length >= 2 && bytes.length >= 2 + (size = bytes[0]! * 256 + bytes[1]!);) { // two are there
        const message = bytes.slice(2, 2 + size);
        bytes = bytes.slice(2 + size);
        asked.push({ transport: "tcp", message, port: socket.remotePort ?? 0 });
        for (const answer of await behaviour(message, "tcp")) {
          socket.write(new Uint8Array([answer.length >> 8, answer.length & 0xff, ...answer]));
        }
      }
    });
  });
  await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
  const address = tcp.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const udp = createSocket("udp4");
  udp.on("message", async (message: Uint8Array, from: RemoteInfo) => {
    asked.push({ transport: "udp", message: new Uint8Array(message), port: from.port });
    for (const answer of await behaviour(new Uint8Array(message), "udp")) {
      udp.send(answer, from.port, from.address);
    }
  });
  await new Promise<void>((resolve) => udp.bind(port, "127.0.0.1", () => resolve()));
  return {
    at: { family: "inet", address: new Uint8Array([127, 0, 0, 1]), port },
    asked,
    close: async () => {
      await new Promise<void>((resolve) => udp.close(() => resolve()));
      await new Promise<void>((resolve) => tcp.close(() => resolve()));
    },
  };
}

/** A query with one question. */
export function dnsQuery(name: string, type: number, id = 0x1234, edns?: number): Uint8Array {
  const labels = name === "" ? [] : name.split(".");
  return new Uint8Array([
    id >> 8,
    id & 0xff,
    1,
    0,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    edns === undefined ? 0 : 1,
    ...labels.flatMap((label) => [label.length, ...new TextEncoder().encode(label)]),
    0,
    type >> 8,
    type & 0xff,
    0,
    1,
    ...(edns === undefined ? [] : [0, 0, 41, edns >> 8, edns & 0xff, 0, 0, 0, 0, 0, 0]),
  ]);
}

/** An answer to `query`, with `count` A records. */
export function dnsReply(
  query: Uint8Array,
  { flags = 0x8180, count = 1, from = 1 }: { flags?: number; count?: number; from?: number } = {},
): Uint8Array {
  const end = query.indexOf(0, 12) + 5;
  return new Uint8Array([
    ...query.subarray(0, 2),
    flags >> 8,
    flags & 0xff,
    0,
    1,
    count >> 8,
    count & 0xff,
    0,
    0,
    0,
    0,
    ...query.subarray(12, end),
    ...Array.from(
      { length: count },
      (
        _,
        index,
      ) => [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, (index + from) >> 8, (index + from) & 0xff],
    ).flat(),
  ]);
}
