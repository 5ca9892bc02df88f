/**
 * Joins pairs of TCP sockets. Bytes do not come to JavaScript: in bulk they go from socket to pipe to socket by splice(2), which moves
 * pages; small messages are copied, which takes one call less and no pipe.
 *
 * Sockets are watched edge-triggered, once for all: what is known about them stands in the two directions of a connection, and
 * a direction goes on until one end has nothing to give or takes no more. A direction that has moved much gives way to others.
 */
import {
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  SOL_SOCKET,
} from "../../ffi/constants.ts";
import { ERRNO } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import { SO_LINGER } from "../../ffi/network_constants.ts";
import { discard, shutdownWriting, spliceOnce, StreamBuffer } from "../../ffi/stream_calls.ts";
import { type GatheredStream, Gathering } from "./gathering.ts";
import { LARGE_PIPE, type Pipe, PipePool } from "./pipe_pool.ts";
import type { Relay, RelayOptions } from "./relay.ts";

const WATCHED = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

/** A message up to this size is copied. Two pages: a pipe holds that much even when the user's share of pipe memory is used up. */
const SMALL = 8 * 1024;
/** Spliced at a time: less for a receiver that is slow, so that little is held for it. */
const MIN_CHUNK = 64 * 1024;
const MAX_CHUNK = LARGE_PIPE;
/** Bytes that a direction moves before others have their turn. */
const BUDGET = 1024 * 1024;
/** Pipes for bytes whose receiver does not take them. With none left such connections are slower, no more. */
const MAX_PIPES = 512;

/** `struct linger`: on, 0 seconds. Closing sends a reset. */
const RESET_ON_CLOSE = new Uint8Array(new Int32Array([1, 0]).buffer);

/** One way of a connection. */
class Direction implements GatheredStream {
  readonly connection: Connection;
  readonly from: number;
  readonly to: number;
  /** As far as is known: there is something to read, or the end. */
  readable = false;
  /** False as well while the receiver is being connected to. */
  writable = false;
  /** The sender has sent its FIN, or worse: nothing new will be reported, so what is read must be read to the end. */
  ending = false;
  /** The receiver has been told of the end. */
  done = false;
  /** Waits in the relay's list for its next turn. */
  waiting = false;
  /** Spliced, since the sender sends more than {@link SMALL} at a time. */
  bulk = false;
  /** Bytes to splice at a time. */
  chunk = MIN_CHUNK;
  /** Holds `held` bytes that the receiver has not taken. */
  pipe: Pipe | undefined;
  held = 0;
  brought = 0;

  constructor(connection: Connection, from: number, to: number) {
    this.connection = connection;
    this.from = from;
    this.to = to;
  }
}

class Connection {
  readonly there: Direction;
  readonly back: Direction;
  readonly onClose: (() => void) | undefined;
  open = true;

  constructor(a: number, b: number, options: RelayOptions | undefined) {
    this.there = new Direction(this, a, b);
    this.back = new Direction(this, b, a);
    this.onClose = options?.onClose;
  }
}

/** What became of a direction: nothing more now, more to come that shall wait, or an end of the connection that has failed. */
const IDLE = 0, MORE = 1, FAILED = 2;
type Outcome = typeof IDLE | typeof MORE | typeof FAILED;

export class SpliceRelay implements Relay {
  readonly #loop: EventLoop;
  readonly #pipes: PipePool;
  readonly #buffer = new StreamBuffer(SMALL);
  readonly #connections = new Set<Connection>();
  readonly #gathering: Gathering<Direction>;
  #waiting: Direction[] = [];
  readonly #runWaiting = () => this.#onTurn();

  constructor(loop: EventLoop, options: { maxPipes?: number } = {}) {
    this.#loop = loop;
    this.#pipes = new PipePool(kernel, options.maxPipes ?? MAX_PIPES);
    this.#gathering = new Gathering(loop, (direction) => this.#collect(direction));
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Pipes that exist, for those who watch descriptors. */
  get pipes(): number {
    return this.#pipes.size;
  }

  /** Streams that tell of what has come only when there is much of it. */
  get gathering(): number {
    return this.#gathering.size;
  }

  join(a: number, b: number, options?: RelayOptions): void {
    const connection = new Connection(a, b, options);
    const { there, back } = connection;
    this.#connections.add(connection);
    try {
      // the first event comes at once and says how they are
      this.#loop.add(a, WATCHED, (events) => this.#onEvents(connection, there, back, events));
      this.#loop.add(b, WATCHED, (events) => this.#onEvents(connection, back, there, events));
    } catch (error) {
      this.#close(connection, true);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections) this.#close(connection, true);
    this.#waiting = [];
    this.#pipes[Symbol.dispose]();
  }

  /** Events of a socket: `out` reads from it, `into` writes to it. */
  #onEvents(connection: Connection, out: Direction, into: Direction, events: number): void {
    if (!connection.open) return;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) out.readable = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) out.ending = true;
    if ((events & EPOLLOUT) !== 0) into.writable = true;
    if ((events & EPOLLERR) !== 0) {
      // What came before the reset is still there to read.
      while (this.#move(connection, out) === MORE);
      this.#close(connection, true);
      return;
    }
    if (out.readable) this.#go(connection, out);
    if (connection.open && into.writable && (into.readable || into.held > 0)) this.#go(connection, into);
  }

  /** Looks for what has come without being told. False: the receiver takes no more. */
  #collect(direction: Direction): boolean {
    if (direction.waiting) return true;
    if (direction.writable) {
      direction.readable = true;
      this.#go(direction.connection, direction);
    }
    return direction.writable;
  }

  /** Moves what can be moved, and does what is to be done then. */
  #go(connection: Connection, direction: Direction): void {
    if (direction.done || direction.waiting) return;
    const outcome = this.#move(connection, direction);
    if (outcome === MORE) {
      direction.waiting = true;
      if (this.#waiting.length === 0) this.#loop.soon(this.#runWaiting);
      this.#waiting.push(direction);
    } else if (outcome === FAILED) {
      this.#fail(connection, direction);
    } else if (connection.there.done && connection.back.done) {
      this.#close(connection, false);
    }
  }

  #onTurn(): void {
    const turns = this.#waiting;
    this.#waiting = [];
    for (const direction of turns) {
      direction.waiting = false;
      if (direction.connection.open) this.#go(direction.connection, direction);
    }
  }

  /** One end is gone. What it has sent before is brought to the other, as far as that takes it at once. */
  #fail(connection: Connection, direction: Direction): void {
    const other = direction === connection.there ? connection.back : connection.there;
    if (!other.done) {
      other.readable = true;
      other.ending = true;
      while (this.#move(connection, other) === MORE);
    }
    this.#close(connection, true);
  }

  #close(connection: Connection, reset: boolean): void {
    if (!connection.open) return;
    connection.open = false;
    this.#connections.delete(connection);
    const { there, back, onClose } = connection;
    this.#gathering.forget(there);
    for (const direction of [there, back]) {
      if (direction.pipe !== undefined) {
        if (direction.held > 0) this.#pipes.drop(direction.pipe);
        else this.#pipes.give(direction.pipe);
        direction.pipe = undefined;
      }
    }
    for (const fd of [there.from, there.to]) {
      try {
        if (reset) network.setsockopt(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
      } finally {
        this.#loop.close(fd);
      }
    }
    onClose?.();
  }

  #move(connection: Connection, direction: Direction): Outcome {
    let budget = BUDGET;
    while (!direction.done) {
      if (direction.held > 0) {
        // more has come from the sender meanwhile, as it does with each of its segments: that makes no room here
        if (!direction.writable) return IDLE;
        if (this.#drain(direction) < 0) return FAILED;
        if (direction.held > 0) return IDLE;
      }
      if (!direction.readable || !direction.writable) return IDLE;
      if (budget <= 0) return MORE;
      const moved = direction.bulk
        ? this.#splice(direction)
        : this.#pipes.ready()
        ? this.#copy(direction)
        : this.#copyWhatFits(direction);
      if (moved > 0) budget -= moved;
      else if (moved === 0) {
        direction.done = true;
        // the second end: both sockets are closed at once, which tells as much
        if (connection.there.done && connection.back.done) return IDLE;
        // fails when the receiver has been reset
        return shutdownWriting(direction.to) === 0 ? IDLE : FAILED;
      } else if (moved === -ERRNO.EAGAIN) direction.readable = false;
      else return FAILED;
    }
    return IDLE;
  }

  // These three answer the number of bytes that were taken from the sender, 0 at its end, or minus errno. What the receiver has
  // not taken of them is held in a pipe.

  #splice(direction: Direction): number {
    const { chunk } = direction;
    const pipe = this.#pipes.take(chunk > MIN_CHUNK);
    if (pipe === undefined) return this.#copyWhatFits(direction);
    const moved = spliceOnce(direction.from, pipe.write, chunk);
    if (moved <= 0) {
      this.#pipes.give(pipe);
      return moved;
    }
    if (moved < SMALL) direction.bulk = false;
    // what containers send comes without pauses
    if (direction === direction.connection.there) this.#gathering.note(direction, moved);
    direction.pipe = pipe;
    direction.held = moved;
    const failed = this.#drain(direction);
    if (failed < 0) return failed;
    if (direction.held > 0) direction.chunk = Math.max(MIN_CHUNK, chunk / 2);
    else if (moved >= MIN_CHUNK && chunk < MAX_CHUNK) direction.chunk = chunk * 2;
    return moved;
  }

  /** For a small message; needs a pipe to be ready. */
  #copy(direction: Direction): number {
    const buffer = this.#buffer;
    const length = buffer.receive(direction.from);
    if (length <= 0) return length;
    if (length === SMALL) direction.bulk = true;
    else if (!direction.ending) direction.readable = false;
    let sent = buffer.send(direction.to, 0, length);
    if (sent === length) return length;
    if (sent < 0) {
      if (sent !== -ERRNO.EAGAIN) return sent;
      sent = 0;
    }
    direction.writable = false;
    direction.bulk = true;
    const pipe = this.#pipes.take(false);
    if (pipe === undefined) return -ERRNO.ENOBUFS;
    direction.pipe = pipe;
    direction.held = length - sent;
    const written = buffer.write(pipe.write, sent, length - sent);
    return written === length - sent ? length : -ERRNO.ENOBUFS;
  }

  /** Leaves with the sender what the receiver does not take: no pipe is needed. */
  #copyWhatFits(direction: Direction): number {
    const buffer = this.#buffer;
    const length = buffer.peek(direction.from);
    if (length <= 0) return length;
    const sent = buffer.send(direction.to, 0, length);
    if (sent < 0 && sent !== -ERRNO.EAGAIN) return sent;
    if (sent < length) direction.writable = false;
    else if (length < SMALL && !direction.ending) direction.readable = false;
    // the loop goes on to see that the receiver takes no more
    return sent > 0 ? discard(direction.from, sent) : 1;
  }

  /** Brings to the receiver what is held, as far as it takes it. Minus errno when it is gone. */
  #drain(direction: Direction): number {
    const { pipe } = direction;
    if (pipe === undefined) return 0;
    while (direction.held > 0) {
      const moved = spliceOnce(pipe.read, direction.to, direction.held);
      if (moved === -ERRNO.EAGAIN) {
        direction.writable = false;
        return 0;
      }
      if (moved < 0) return moved;
      direction.held -= moved;
    }
    direction.pipe = undefined;
    this.#pipes.give(pipe);
    return 0;
  }
}
