/**
 * Memory for one datagram with its sender and the address that it was sent to, used again for each: receiving and sending allocates
 * nothing.
 */
import { MSG_NOSIGNAL } from "./constants.ts";
import { SIZEOF } from "./layout.ts";
import { rawOnce } from "./libc.ts";
import { addressOf } from "./memory.ts";
import { IP_PKTINFO, IPV6_PKTINFO, SOL_IP, SOL_IPV6 } from "./network_constants.ts";
import { NR } from "./syscall_numbers.ts";

/** UDP's largest, and more: nothing is cut. */
const DATA = 64 * 1024;
/** `struct sockaddr_in6`. */
export const PEER_SIZE = 28;
const CONTROL = 128;
const NAME_AT = SIZEOF.msghdr + SIZEOF.iovec;
const CONTROL_AT = NAME_AT + 32;
const DATA_AT = CONTROL_AT + CONTROL;

export class DatagramBuffer {
  readonly #bytes = new Uint8Array(DATA_AT + DATA);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #address = addressOf(this.#bytes);
  /** The other end's `struct sockaddr_in` or `_in6`: who has sent, or who is to get. */
  readonly peer = this.#bytes.subarray(NAME_AT, NAME_AT + PEER_SIZE);
  readonly data = this.#bytes.subarray(DATA_AT);
  /** 4 or 16 bytes in front: our address that the datagram was sent to, when the socket tells (IP_PKTINFO, IPV6_RECVPKTINFO). */
  readonly local = new Uint8Array(16);

  constructor() {
    const view = this.#view;
    view.setBigUint64(0, BigInt(this.#address + NAME_AT), true);
    view.setBigUint64(16, BigInt(this.#address + SIZEOF.msghdr), true);
    view.setBigUint64(24, 1n, true);
    view.setBigUint64(32, BigInt(this.#address + CONTROL_AT), true);
    view.setBigUint64(SIZEOF.msghdr, BigInt(this.#address + DATA_AT), true);
  }

  /** The peer's port. */
  get peerPort(): number {
    return this.#view.getUint16(NAME_AT + 2);
  }

  /** The peer's address, of IPv4 as a number; see {@link peer} for IPv6. */
  get peerAddress4(): number {
    return this.#view.getUint32(NAME_AT + 4);
  }

  /** recv(2) of a connected socket, to {@link data}: the length, or minus errno. */
  receive(fd: number): number {
    return rawOnce(NR.recvfrom, fd, this.#address + DATA_AT, DATA, 0, 0, 0);
  }

  /** send(2) of a connected socket: the length, or minus errno. */
  send(fd: number, length: number): number {
    return rawOnce(NR.sendto, fd, this.#address + DATA_AT, length, MSG_NOSIGNAL, 0, 0);
  }

  /** recvmsg(2): {@link data}, {@link peer} and {@link local} are filled. The length, or minus errno. */
  receiveFrom(fd: number): number {
    const view = this.#view;
    view.setUint32(8, PEER_SIZE, true);
    view.setUint32(SIZEOF.msghdr + 8, DATA, true);
    view.setUint32(40, CONTROL, true);
    const length = rawOnce(NR.recvmsg, fd, this.#address, 0);
    if (length >= 0) this.#readLocal(view.getUint32(40, true));
    return length;
  }

  /**
   * sendmsg(2) to {@link peer} of the first `length` bytes of {@link data}, with `local` (4 or 16 bytes) as the sender. The length, or minus
   * errno.
   */
  sendTo(fd: number, length: number, local: Uint8Array): number {
    const view = this.#view;
    const v4 = local.length === 4;
    view.setUint32(8, v4 ? 16 : PEER_SIZE, true);
    view.setUint32(SIZEOF.msghdr + 8, length, true);
    // struct in_pktinfo: interface, source, destination; in6_pktinfo: source, interface
    const size = SIZEOF.cmsghdr + (v4 ? 12 : 20);
    view.setUint32(40, align8(size), true);
    view.setUint32(CONTROL_AT, size, true);
    view.setUint32(CONTROL_AT + 4, 0, true);
    view.setInt32(CONTROL_AT + 8, v4 ? SOL_IP : SOL_IPV6, true);
    view.setInt32(CONTROL_AT + 12, v4 ? IP_PKTINFO : IPV6_PKTINFO, true);
    const at = CONTROL_AT + SIZEOF.cmsghdr;
    this.#bytes.fill(0, at, at + 24);
    this.#bytes.set(local, v4 ? at + 4 : at);
    return rawOnce(NR.sendmsg, fd, this.#address, MSG_NOSIGNAL);
  }

  #readLocal(end: number): void {
    const view = this.#view;
    for (let offset = 0; offset + SIZEOF.cmsghdr <= end;) {
      const at = CONTROL_AT + offset;
      const size = view.getUint32(at, true);
      if (size < SIZEOF.cmsghdr) return;
      const level = view.getInt32(at + 8, true), type = view.getInt32(at + 12, true);
      const info = at + SIZEOF.cmsghdr;
      // of IPv4 the address that an answer should have, which differs for a broadcast
      if (level === SOL_IP && type === IP_PKTINFO) copy(this.#bytes, info + 4, this.local, 4);
      if (level === SOL_IPV6 && type === IPV6_PKTINFO) copy(this.#bytes, info, this.local, 16);
      offset += (size + 7) & ~7;
    }
  }
}

const align8 = (size: number): number => (size + 7) & ~7;

function copy(from: Uint8Array, start: number, to: Uint8Array, length: number): void {
  for (let index = 0; index < length; index++) to[index] = from[start + index] ?? 0;
}
