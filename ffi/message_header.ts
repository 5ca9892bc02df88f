import { SIZEOF } from "./layout.ts";
import type { Machine } from "./machine.ts";
import type { Block } from "./memory.ts";

export interface MessageHeader {
  /** Where the data lies for the call. */
  readonly data: number;
  /** The `struct msghdr`. */
  readonly header: Block;
  /** Room for ancillary data. */
  readonly control: Block;
}

/** A `struct msghdr` over one piece of the caller's memory and `controlSize` bytes of ancillary data; without an address. */
export function messageHeader(
  { block, lend }: Machine,
  buffer: Uint8Array,
  controlSize: number,
): MessageHeader {
  const data = lend(buffer);
  const iov = block(SIZEOF.iovec);
  iov.view.setBigUint64(0, BigInt(data), true);
  iov.view.setBigUint64(8, BigInt(buffer.byteLength), true);
  const control = block(controlSize);
  const header = block(SIZEOF.msghdr);
  header.view.setBigUint64(16, BigInt(iov.address), true);
  header.view.setBigUint64(24, 1n, true);
  if (controlSize > 0) {
    header.view.setBigUint64(32, BigInt(control.address), true);
    header.view.setBigUint64(40, BigInt(controlSize), true);
  }
  return { data, header, control };
}

/** The address in a message, or the room for one. */
export function setMessageName({ header }: MessageHeader, address: number, length: number): void {
  header.view.setBigUint64(0, BigInt(address), true);
  header.view.setUint32(8, length, true);
}

/** Bytes of ancillary data that have come. */
export const controlLength = ({ header }: MessageHeader): number =>
  Number(header.view.getBigUint64(40, true));
