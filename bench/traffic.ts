/**
 * The two ends of a measured connection, each run in a network namespace of the benchmark's.
 *
 *     deno run -A bench/traffic.ts serve <port> <count>   serves until it is ended; what has arrived is in the file `count`
 *     deno run -A bench/traffic.ts measure                reads measurements from standard input, one JSON a line, and answers each with one line
 *
 * iperf3 measures throughput only, in a process of its own for each try. This one also counts round trips and connections, and is
 * started once. Bytes are moved as programs do it, by read and write of 128 KiB as in iperf3: what the ends cost is the same for all who are measured.
 * Calls are made by FFI: Deno's own sockets hand each piece to another thread, and would be the slowest part.
 */
import {
  AF_INET,
  EPOLLIN,
  EPOLLOUT,
  SO_REUSEADDR,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import { EventLoop } from "../ffi/event_loop.ts";
import { kernel } from "../ffi/kernel.ts";
import { network } from "../ffi/kernel_network.ts";
import { IPPROTO_TCP, TCP_NODELAY } from "../ffi/network_constants.ts";
import type { InetAddress } from "../ffi/socket_address.ts";
import { WOULD_BLOCK } from "../ffi/syscalls.ts";

/** From here to the other end, from there to here, round trips of one byte, connections that carry one byte each way. */
export type Kind = "up" | "down" | "latency" | "connections";

export interface Measurement {
  /** 0 to 255. */
  readonly number: number;
  readonly kind: Kind;
  /** IPv4. */
  readonly host: string;
  readonly port: number;
  /** Where the server counts what has arrived. Not sent back on the connection: slirp4netns holds that up while it has to send. */
  readonly count: string;
  /** Connections at a time. */
  readonly streams: number;
  /** How long is measured, after a tenth of it that is not. */
  readonly seconds: number;
}

/** `value`: bytes per second, microseconds of a round trip, connections per second. */
export type Result = { readonly value: number } | { readonly error: string };

const PIECE = 128 * 1024;
/** Pieces of one connection before others have their turn. */
const PIECES = 8;
/** How often the server writes down what has arrived. */
const COUNT_MS = 5;
/** A connection that does not come by then does not come. */
const CONNECT_MS = 3_000;
const SO_RCVTIMEO = 20;

const SINK = "s".charCodeAt(0);
const SOURCE = "g".charCodeAt(0);
const ECHO = "e".charCodeAt(0);
const ONCE = "c".charCodeAt(0);

const piece = new Uint8Array(PIECE).fill(0x62);
const received = new Uint8Array(PIECE);
const one = new Uint8Array(1);

function address(host: string, port: number): InetAddress {
  return { family: "inet", address: Uint8Array.from(host.split("."), Number), port };
}

function noDelay(fd: number): void {
  network.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/** Sends until the kernel takes no more, or others are to have their turn. */
function sendPieces(fd: number): void {
  for (let i = 0; i < PIECES; i++) if (network.sendto(fd, piece) < PIECE) return;
}

/**
 * How many bytes have arrived at a server, shared by a file: number of the measurement, bytes, milliseconds since 1970. What is still on its way
 * from an earlier measurement is not counted.
 */
class Count {
  readonly #file: Deno.FsFile;
  readonly #numbers = new Float64Array(3);
  readonly #bytes = new Uint8Array(this.#numbers.buffer);
  #written = 0;

  constructor(path: string, write: boolean) {
    this.#file = Deno.openSync(path, write ? { write: true, create: true } : { read: true });
  }

  /** The server's side. */
  begin(measurement: number): void {
    if (this.#numbers[0] === measurement) return;
    this.#numbers[0] = measurement;
    this.#numbers[1] = 0;
  }

  add(measurement: number, bytes: number): void {
    if (this.#numbers[0] !== measurement) return;
    this.#numbers[1] = (this.#numbers[1] ?? 0) + bytes;
    const now = performance.now();
    if (now - this.#written < COUNT_MS) return;
    this.#written = now;
    this.#numbers[2] = performance.timeOrigin + now;
    this.#file.seekSync(0, Deno.SeekMode.Start);
    this.#file.writeSync(this.#bytes);
  }

  /** The client's side. */
  read(measurement: number): { total: number; at: number } {
    this.#file.seekSync(0, Deno.SeekMode.Start);
    this.#file.readSync(this.#bytes);
    const [number, total = 0, at = 0] = this.#numbers;
    return number === measurement
      ? { total, at }
      : { total: 0, at: performance.timeOrigin + performance.now() };
  }

  close(): void {
    this.#file.close();
  }
}

/** What each connection wants is its first byte; the second is the number of the measurement. */
function serve(port: number, path: string): void {
  const count = new Count(path, true);
  using loop = new EventLoop(kernel);
  const listener = network.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  network.setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  network.bind(listener, address("0.0.0.0", port));
  network.listen(listener, 1024);
  loop.add(listener, EPOLLIN, () => {
    for (;;) {
      const accepted = network.acceptFrom(listener);
      if (accepted === undefined) return;
      serveConnection(loop, accepted.fd, count);
    }
  });
  console.log("ready");
  loop.run();
}

function serveConnection(loop: EventLoop, fd: number, count: Count): void {
  noDelay(fd);
  const end = () => {
    loop.remove(fd);
    kernel.close(fd);
  };
  let what = 0;
  let number = -1;
  loop.add(fd, EPOLLIN, () => {
    try {
      if (number < 0) {
        const n = kernel.read(fd, one);
        if (n === WOULD_BLOCK) return;
        if (n === 0) return end();
        if (what === 0) {
          what = one[0] ?? 0;
          // the number of the measurement may come with it, or later
          if (what === SINK) return;
        }
        number = one[0] ?? 0;
        if (what === SINK) count.begin(number);
        if (what === SOURCE) loop.change(fd, EPOLLOUT);
        if (what === ONCE) {
          network.sendto(fd, one);
          end();
        }
      } else if (what === SOURCE) sendPieces(fd);
      else if (what === ECHO) {
        const n = kernel.read(fd, one);
        if (n === 0) return end();
        if (n > 0) network.sendto(fd, one);
      } else {
        for (let i = 0; i < PIECES; i++) {
          const n = kernel.read(fd, received);
          if (n === WOULD_BLOCK) break;
          if (n === 0) return end();
          count.add(number, n);
          if (n < PIECE) break;
        }
      }
    } catch (error) {
      // A client ends its transfer by going away.
      if (!(error instanceof SysError)) throw error;
      end();
    }
  });
}

/** Connects nonblocking; calls `made` when the connection is there. */
function connect(
  loop: EventLoop,
  { host, port }: Measurement,
  made: (fd: number) => void,
  failed: (why: unknown) => void,
): void {
  const fd = network.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  noDelay(fd);
  loop.add(fd, EPOLLOUT, () => {
    const errno = network.socketError(fd);
    if (errno !== 0) {
      loop.remove(fd);
      kernel.close(fd);
      return failed(new SysError("connect", errno, `${host}:${port}`));
    }
    loop.remove(fd);
    made(fd);
  });
  try {
    network.connect(fd, address(host, port));
  } catch (error) {
    loop.remove(fd);
    kernel.close(fd);
    failed(error);
  }
}

/** Turns of the loop until `until`, or until something has failed. */
function runUntil(loop: EventLoop, until: number, failure: () => unknown): void {
  for (;;) {
    const left = until - performance.now();
    if (failure() !== undefined) throw failure();
    if (left <= 0) return;
    loop.turn(Math.ceil(left));
  }
}

/** Makes the connections of a measurement, which begin with `head`. */
function connectAll(loop: EventLoop, measurement: Measurement, head: readonly number[]): number[] {
  const bytes = Uint8Array.from(head);
  const fds: number[] = [];
  let failure: unknown;
  for (let i = 0; i < measurement.streams; i++) {
    connect(loop, measurement, (fd) => {
      network.sendto(fd, bytes);
      fds.push(fd);
    }, (why) => failure ??= why);
  }
  const deadline = performance.now() + CONNECT_MS;
  while (fds.length < measurement.streams) {
    if (failure !== undefined) throw failure;
    if (performance.now() > deadline) throw new Error("connections are not made");
    loop.turn(100);
  }
  return fds;
}

/** Bytes per second, counted at the receiving end. */
function throughput(measurement: Measurement): number {
  using loop = new EventLoop(kernel);
  const { kind, seconds, number } = measurement;
  const up = kind === "up";
  const fds = connectAll(loop, measurement, up ? [SINK, number] : [SOURCE]);
  let total = 0;
  let at = performance.now();
  let failure: unknown;
  const receivePieces = (fd: number) => {
    for (let i = 0; i < PIECES; i++) {
      const n = kernel.read(fd, received);
      if (n === WOULD_BLOCK) break;
      if (n === 0) throw new Error("the other end has closed the connection");
      total += n;
      if (n < PIECE) break;
    }
    at = performance.now();
  };
  for (const fd of fds) {
    loop.add(fd, up ? EPOLLOUT : EPOLLIN, () => {
      try {
        if (up) sendPieces(fd);
        else receivePieces(fd);
      } catch (error) {
        failure ??= error;
        loop.remove(fd);
        kernel.close(fd);
      }
    });
  }
  const count = up ? new Count(measurement.count, false) : undefined;
  try {
    const arrived = () => count?.read(number) ?? { total, at };
    const start = performance.now();
    runUntil(loop, start + seconds * 100, () => failure);
    const before = arrived();
    runUntil(loop, start + seconds * 1100, () => failure);
    const after = arrived();
    if (after.total === before.total) throw new Error("nothing arrives");
    return (after.total - before.total) / (after.at - before.at) * 1000;
  } finally {
    count?.close();
  }
}

/** Microseconds of a round trip of one byte: the mean, on one connection. */
function latency(measurement: Measurement): number {
  using loop = new EventLoop(kernel);
  const [fd = -1] = connectAll(loop, { ...measurement, streams: 1 }, [ECHO]);
  try {
    kernel.setNonblocking(fd, false);
    const timeout = new Uint8Array(16);
    new DataView(timeout.buffer).setBigInt64(0, BigInt(Math.ceil(CONNECT_MS / 1000)), true);
    network.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout);
    const trips = (ms: number): number => {
      const start = performance.now();
      let count = 0;
      let now = start;
      for (; now - start < ms; now = performance.now()) {
        network.sendto(fd, one);
        if (kernel.read(fd, one) !== 1) throw new Error("no byte comes back");
        count += 1;
      }
      return (now - start) / count * 1000;
    };
    trips(measurement.seconds * 100);
    return trips(measurement.seconds * 1000);
  } finally {
    kernel.close(fd);
  }
}

/** Connections per second: each is made, carries a byte there and back, and is closed by the server, as with HTTP/1.0. */
function connections(measurement: Measurement): number {
  using loop = new EventLoop(kernel);
  let failure: unknown;
  let count = 0;
  let stopped = false;
  let open = 0;
  const next = (): void => {
    if (stopped) return;
    open += 1;
    connect(loop, measurement, (fd) => {
      one[0] = ONCE;
      network.sendto(fd, one);
      let got = 0;
      loop.add(fd, EPOLLIN, () => {
        try {
          for (;;) {
            const n = kernel.read(fd, received);
            if (n === WOULD_BLOCK) return;
            if (n === 0) break;
            got += n;
          }
          if (got !== 1) throw new Error(`${got} bytes came back instead of 1`);
          count += 1;
        } catch (error) {
          failure ??= error;
        }
        loop.remove(fd);
        kernel.close(fd);
        open -= 1;
        next();
      });
    }, (why) => {
      failure ??= why;
      open -= 1;
    });
  };
  for (let i = 0; i < measurement.streams; i++) next();
  const start = performance.now();
  runUntil(loop, start + measurement.seconds * 100, () => failure);
  const before = { count, at: performance.now() };
  runUntil(loop, start + measurement.seconds * 1100, () => failure);
  const rate = (count - before.count) / (performance.now() - before.at) * 1000;
  stopped = true;
  const deadline = performance.now() + CONNECT_MS;
  while (open > 0 && performance.now() < deadline) loop.turn(50);
  if (rate === 0) throw new Error("no connection comes to its end");
  return rate;
}

const MEASURES: Record<Kind, (measurement: Measurement) => number> = {
  up: throughput,
  down: throughput,
  latency,
  connections,
};

async function answerMeasurements(): Promise<void> {
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  let rest = "";
  for await (const text of lines) {
    rest += text;
    for (let end = rest.indexOf("\n"); end !== -1; end = rest.indexOf("\n")) {
      const measurement = JSON.parse(rest.slice(0, end)) as Measurement;
      rest = rest.slice(end + 1);
      let result: Result;
      try {
        result = { value: MEASURES[measurement.kind](measurement) };
      } catch (error) {
        result = { error: error instanceof Error ? error.message : String(error) };
      }
      console.log(JSON.stringify(result));
    }
  }
}

if (import.meta.main) {
  const [role, port, count = ""] = Deno.args;
  if (role === "serve") serve(Number(port), count);
  else await answerMeasurements();
}
