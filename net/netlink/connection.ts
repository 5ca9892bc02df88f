import { concat } from "../../base/concat.ts";
import { AF_NETLINK, SOCK_RAW } from "../../ffi/constants.ts";
import { MSG_DONTWAIT } from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { sendInBackground } from "../../ffi/background_calls.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network, type NetworkSyscalls } from "../../ffi/kernel_network.ts";
import {
  NETLINK_CAP_ACK,
  NETLINK_EXT_ACK,
  NETLINK_GET_STRICT_CHK,
  SOL_NETLINK,
} from "../../ffi/network_constants.ts";
import { WOULD_BLOCK } from "../../ffi/syscalls.ts";
import {
  Attributes,
  NetlinkFormatError,
  type NetlinkMessage,
  NLMSG_HEADER,
  readMessages,
  writeMessage,
} from "./codec.ts";
import {
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_MULTI,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  NLMSG_OVERRUN,
  NLMSGERR_ATTR_MSG,
} from "./constants.ts";

/** The kernel refused; `detail` is what it added in words (NLMSGERR_ATTR_MSG), where it did. */
export class NetlinkError extends SysError {
  readonly detail: string | undefined;

  constructor(op: string, errno: number, detail: string | undefined) {
    super(op, errno);
    this.detail = detail;
    if (detail !== undefined) this.message += ` (${detail})`;
  }
}

/** One request of a batch. */
export interface NetlinkRequest {
  readonly type: number;
  /** NLM_F_*, without NLM_F_REQUEST and NLM_F_ACK. */
  readonly flags: number;
  readonly payload: Uint8Array;
  /** What it does, for the error: `add link br0`. */
  readonly what: string;
}

/** What a connection needs of the machine that it was made at. */
export type NetlinkCalls = Pick<
  NetworkSyscalls,
  "socket" | "bind" | "setsockopt" | "getsockname" | "sendto" | "recvMessage"
>;

/** More than the kernel puts into one piece of a dump (NLMSG_GOODSIZE, or 32 KiB when the buffer has room for it). */
const BUFFER = 64 * 1024;

/** A list that changes while it is read is read again, so many times. */
const DUMP_ATTEMPTS = 20;

/**
 * Requests to the kernel and its answers. Everything is synchronous: the kernel handles a request inside of sendto(2), so
 * that the answer is there when that returns.
 *
 * The network namespace is that in which the descriptor was made, whoever uses it.
 */
export class Netlink implements Disposable {
  readonly #fd: number;
  readonly #calls: NetlinkCalls;
  readonly #close: (fd: number) => void;
  readonly #buffer = new Uint8Array(BUFFER);
  readonly #port: number;
  #sequence: number;
  /** Memory that the kernel may still have to read. */
  readonly #posted = new Map<number, Uint8Array>();
  #closed = false;

  /** Takes over `fd`, a netlink socket. @throws {SysError} */
  constructor(
    fd: number,
    calls: NetlinkCalls = network,
    close: (fd: number) => void = (number) => kernel.close(number),
  ) {
    this.#fd = fd;
    this.#calls = calls;
    this.#close = close;
    calls.setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    calls.setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
    try {
      calls.setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    } catch {
      // Linux before 4.20: dumps are filtered here anyway
    }
    calls.bind(fd, { family: "netlink", port: 0, groups: 0 });
    const name = calls.getsockname(fd);
    if (name?.family !== "netlink") throw new SysError("netlink", ERRNO.ENOTSOCK);
    this.#port = name.port;
    this.#sequence = 1;
  }

  /** A connection of the calling thread's network namespace, or of the machine's that `calls` are made at. @throws {SysError} */
  static open(
    protocol: number,
    calls: NetlinkCalls = network,
    close: (fd: number) => void = (number) => kernel.close(number),
  ): Netlink {
    const fd = calls.socket(AF_NETLINK, SOCK_RAW, protocol);
    try {
      return new Netlink(fd, calls, close);
    } catch (error) {
      close(fd);
      throw error;
    }
  }

  get fd(): number {
    return this.#fd;
  }

  /** Makes a request that is answered with an acknowledgement, and messages before it perhaps. @throws {NetlinkError} */
  request(request: NetlinkRequest): NetlinkMessage[] {
    const sequence = this.#send([{ ...request, flags: request.flags | NLM_F_ACK }]);
    const answers: NetlinkMessage[] = [];
    for (const message of this.#answers(request.what, sequence, sequence)) {
      if (message.type === NLMSG_ERROR) {
        throwIfError(message, request.what);
        return answers;
      }
      answers.push(message);
    }
    throw noAnswer(request.what);
  }

  /**
   * Has another thread make a request that takes the kernel long; answers its number. {@link outcomes} tells what has become of it. A connection
   * on which this is done does nothing else.
   */
  post(request: NetlinkRequest): number {
    if (this.#closed) throw new TypeError("Netlink connection is closed");
    if (this.#sequence > 0x7fff_ffff) this.#sequence = 1;
    const number = this.#sequence++;
    const { type, flags, payload } = request;
    const data = writeMessage(type, flags | NLM_F_REQUEST | NLM_F_ACK, number, payload);
    this.#posted.set(number, data);
    sendInBackground(this.#fd, data);
    return number;
  }

  /** Requests of {@link post} that the kernel has answered since the last time: by number, 0 or errno. */
  outcomes(): Map<number, number> {
    const outcomes = new Map<number, number>();
    for (let messages; (messages = this.#receive()) !== undefined;) {
      for (const message of messages) {
        if (message.type !== NLMSG_ERROR || !this.#posted.delete(message.sequence)) continue;
        outcomes.set(message.sequence, errnoOf(message));
      }
    }
    return outcomes;
  }

  /**
   * Reads a list: the messages of one moment. A list that changed while it was read is read again.
   *
   * @throws {NetlinkError} EAGAIN when it goes on changing.
   */
  dump(request: NetlinkRequest): NetlinkMessage[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const sequence = this.#send([{ ...request, flags: request.flags | NLM_F_DUMP }]);
      const answers = this.#dumped(request.what, sequence);
      if (answers !== undefined) return answers;
    }
    throw new NetlinkError(request.what, ERRNO.EAGAIN, "it changes faster than it can be read");
  }

  /**
   * Sends all requests as one piece, between `begin` and `end` (nf_tables: all of them or none). It has to fit into the socket's
   * buffer, which is about 200 kB.
   *
   * @throws {NetlinkError} the first one's, in their order. Then nothing has been done.
   */
  batch(begin: NetlinkRequest, requests: readonly NetlinkRequest[], end: NetlinkRequest): void {
    // failures are always told; one success is enough, and hundreds of them would not fit into the socket's buffer
    const acknowledged = requests.map((request, index) =>
      index === requests.length - 1 ? { ...request, flags: request.flags | NLM_F_ACK } : request
    );
    if (acknowledged.length === 0) return;
    const all = [begin, ...acknowledged, end];
    const first = this.#send(all);
    let done = false;
    let failed: NetlinkMessage | undefined;
    for (const message of this.#answers(begin.what, first, first + all.length - 1)) {
      if (message.type !== NLMSG_ERROR) continue;
      if (errnoOf(message) === 0) done ||= message.sequence === first + requests.length;
      else if (failed === undefined || message.sequence < failed.sequence) failed = message;
    }
    if (failed !== undefined) throwIfError(failed, all[failed.sequence - first]?.what ?? begin.what);
    if (!done) throw noAnswer(begin.what);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#close(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Answers the sequence number of the first; the others follow it. */
  #send(requests: readonly NetlinkRequest[]): number {
    if (this.#closed) throw new TypeError("Netlink connection is closed");
    this.#drain();
    if (this.#sequence > 0x7fff_ffff - requests.length) this.#sequence = 1;
    const first = this.#sequence;
    const parts = requests.map(({ type, flags, payload }) =>
      writeMessage(type, flags | NLM_F_REQUEST, this.#sequence++, payload)
    );
    const data = concat(parts);
    const sent = this.#calls.sendto(this.#fd, data, { family: "netlink", port: 0, groups: 0 });
    if (sent !== data.length) {
      throw new NetlinkError(requests[0]?.what ?? "netlink", ERRNO.ENOBUFS, undefined);
    }
    return first;
  }

  /** Takes away what a request that failed in the middle has left, whatever it is. */
  #drain(): void {
    for (;;) {
      try {
        if (this.#calls.recvMessage(this.#fd, this.#buffer, MSG_DONTWAIT).length === WOULD_BLOCK) return;
      } catch (error) {
        // messages were lost for want of room, and this is told once
        if (!(error instanceof SysError && error.is("ENOBUFS"))) throw error;
      }
    }
  }

  /** Undefined: nothing is there. Nothing that does not come from the kernel is looked at. */
  #receive(): NetlinkMessage[] | undefined {
    const received = this.#calls.recvMessage(this.#fd, this.#buffer, MSG_DONTWAIT);
    if (received.length === WOULD_BLOCK) return undefined;
    if (received.from?.family !== "netlink" || received.from.port !== 0) return [];
    if (received.truncated) throw new NetlinkFormatError(`Answer is longer than ${BUFFER} bytes`);
    // a copy: the next piece of a dump comes to the same buffer
    return readMessages(this.#buffer.slice(0, received.length));
  }

  /** All messages that answer the requests from `first` to `last`. */
  *#answers(what: string, first: number, last: number): Generator<NetlinkMessage> {
    for (let messages; (messages = this.#receive()) !== undefined;) {
      for (const message of messages) {
        if (message.port !== this.#port || message.sequence < first || message.sequence > last) continue;
        if (message.type === NLMSG_NOOP) continue;
        if (message.type === NLMSG_OVERRUN) throw new NetlinkError(what, ERRNO.ENOBUFS, undefined);
        yield message;
      }
    }
  }

  #dumped(what: string, sequence: number): NetlinkMessage[] | undefined {
    const answers: NetlinkMessage[] = [];
    let interrupted = false;
    for (const message of this.#answers(what, sequence, sequence)) {
      if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
      if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
        throwIfError(message, what);
        return interrupted ? undefined : answers;
      }
      if ((message.flags & NLM_F_MULTI) === 0) {
        throw new NetlinkFormatError("Piece of a list without its flag");
      }
      answers.push(message);
    }
    throw noAnswer(what);
  }
}

function noAnswer(what: string): NetlinkError {
  return new NetlinkError(what, ERRNO.EPROTO, "no answer from the kernel");
}

/** errno of NLMSG_ERROR and NLMSG_DONE; 0 for success. */
function errnoOf({ payload, type }: NetlinkMessage): number {
  if (payload.length < 4) {
    if (type === NLMSG_DONE) return 0;
    throw new NetlinkFormatError("Error message is cut");
  }
  const result = new DataView(payload.buffer, payload.byteOffset).getInt32(0, true);
  return result < 0 ? -result : 0;
}

function throwIfError(message: NetlinkMessage, what: string): void {
  const errno = errnoOf(message);
  if (errno === 0) return;
  throw new NetlinkError(what, errno, detailOf(message));
}

/** The text behind the error and, in NLMSG_ERROR, behind the request that it repeats (its header only, when NLM_F_CAPPED is set). */
function detailOf({ type, flags, payload }: NetlinkMessage): string | undefined {
  if ((flags & NLM_F_ACK_TLVS) === 0) return undefined;
  let at = 4;
  if (type === NLMSG_ERROR) {
    if (payload.length < 4 + NLMSG_HEADER) throw new NetlinkFormatError("Error message is cut");
    const length = new DataView(payload.buffer, payload.byteOffset).getUint32(4, true);
    at += (flags & NLM_F_CAPPED) !== 0 ? NLMSG_HEADER : (length + 3) & ~3;
  }
  if (at > payload.length) throw new NetlinkFormatError("Error message is cut");
  return new Attributes(payload.subarray(at)).string(NLMSGERR_ATTR_MSG);
}
