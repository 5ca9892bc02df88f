/**
 * Netlink messages and attributes as bytes (linux/netlink.h): a header of 16 bytes, a struct of the protocol, then
 * attributes (length, type, value), everything aligned to 4. Numbers are in the machine's order, which is little-endian on all
 * machines that berth runs on; where the kernel wants network order, the method says `be`.
 */
import { NLA_F_NESTED } from "./constants.ts";

export const NLMSG_HEADER = 16;
const NLA_HEADER = 4;
/** Of an attribute's type, without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NLA_TYPE_MASK = 0x3fff;

const align4 = (size: number): number => (size + 3) & ~3;

/** The other side sent what is no message. */
export class NetlinkFormatError extends Error {
  override readonly name = "NetlinkFormatError";
}

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Of the socket that it is for. */
  readonly port: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** Cuts what one recvmsg has brought into its messages; the payloads are views. @throws {NetlinkFormatError} */
export function readMessages(data: Uint8Array<ArrayBuffer>): NetlinkMessage[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at < data.length;) {
    if (data.length - at < NLMSG_HEADER) throw new NetlinkFormatError("Message header is cut");
    const length = view.getUint32(at, true);
    if (length < NLMSG_HEADER || length > data.length - at) {
      throw new NetlinkFormatError(`Message of ${length} bytes where ${data.length - at} are left`);
    }
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      port: view.getUint32(at + 12, true),
      payload: data.subarray(at + NLMSG_HEADER, at + length),
    });
    at += align4(length);
  }
  return messages;
}

/** One message with its header, padded. */
export function writeMessage(
  type: number,
  flags: number,
  sequence: number,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const length = NLMSG_HEADER + payload.length;
  const message = new Uint8Array(align4(length));
  const view = new DataView(message.buffer);
  view.setUint32(0, length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  message.set(payload, NLMSG_HEADER);
  return message;
}

/** Builds a payload: the protocol's struct, then attributes in the order of the calls. */
export class Payload {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView<ArrayBuffer>;
  #length: number;

  /** `header` is the protocol's struct; empty for what stands inside of an attribute. */
  constructor(header: Uint8Array = new Uint8Array()) {
    this.#bytes = new Uint8Array(Math.max(256, 2 * header.length));
    this.#view = new DataView(this.#bytes.buffer);
    this.#bytes.set(header);
    this.#length = align4(header.length);
  }

  /** What has been written so far, as a view. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  attribute(type: number, value: Uint8Array): this {
    const at = this.#begin(type, value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** An attribute that says all by being there. */
  flag(type: number): this {
    this.#begin(type, 0);
    return this;
  }

  u8(type: number, value: number): this {
    this.#view.setUint8(this.#begin(type, 1), value);
    return this;
  }

  u16(type: number, value: number): this {
    this.#view.setUint16(this.#begin(type, 2), value, true);
    return this;
  }

  u16be(type: number, value: number): this {
    this.#view.setUint16(this.#begin(type, 2), value);
    return this;
  }

  u32(type: number, value: number): this {
    this.#view.setUint32(this.#begin(type, 4), value, true);
    return this;
  }

  u32be(type: number, value: number): this {
    this.#view.setUint32(this.#begin(type, 4), value);
    return this;
  }

  u64be(type: number, value: bigint): this {
    this.#view.setBigUint64(this.#begin(type, 8), value);
    return this;
  }

  /** Text that ends with NUL. @throws {TypeError} when it holds one. */
  string(type: number, text: string): this {
    if (text.includes("\0")) throw new TypeError(`String holds a NUL: ${JSON.stringify(text)}`);
    return this.attribute(type, new TextEncoder().encode(text + "\0"));
  }

  /** An attribute that consists of the attributes that `write` writes. */
  nested(type: number, write: (inner: Payload) => void): this {
    const inner = new Payload();
    write(inner);
    return this.attribute(type | NLA_F_NESTED, inner.bytes);
  }

  /** Attributes that have been written elsewhere. */
  raw(bytes: Uint8Array): this {
    this.#reserve(this.#length + align4(bytes.length));
    this.#bytes.set(bytes, this.#length);
    this.#length += align4(bytes.length);
    return this;
  }

  /** Room for a value of `length` bytes behind the attribute's header; answers where. */
  #begin(type: number, length: number): number {
    const size = NLA_HEADER + length;
    if (size > 0xffff) throw new RangeError(`Attribute of ${length} bytes is too long`);
    const at = this.#length;
    const end = at + align4(size);
    this.#reserve(end);
    this.#view.setUint16(at, size, true);
    this.#view.setUint16(at + 2, type, true);
    this.#length = end;
    return at + NLA_HEADER;
  }

  #reserve(end: number): void {
    if (end <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(end, 2 * this.#bytes.length));
    grown.set(this.bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Attributes that were received, by type. Of several of one type the last one counts, as in the kernel. */
export class Attributes {
  readonly #values = new Map<number, Uint8Array<ArrayBuffer>>();

  /** @throws {NetlinkFormatError} when an attribute is cut. */
  constructor(data: Uint8Array<ArrayBuffer>) {
    for (const [type, value] of readAttributes(data)) this.#values.set(type, value);
  }

  /** Those of a payload that begins with a struct of `size` bytes. @throws {NetlinkFormatError} also when the struct is cut. */
  static behind(
    payload: Uint8Array<ArrayBuffer>,
    size: number,
  ): { header: DataView; attributes: Attributes } {
    if (payload.length < size) {
      throw new NetlinkFormatError(`Payload of ${payload.length} bytes where ${size} are needed`);
    }
    return {
      header: new DataView(payload.buffer, payload.byteOffset, size),
      attributes: new Attributes(payload.subarray(Math.min(align4(size), payload.length))),
    };
  }

  has(type: number): boolean {
    return this.#values.has(type);
  }

  bytes(type: number): Uint8Array<ArrayBuffer> | undefined {
    return this.#values.get(type);
  }

  u8(type: number): number | undefined {
    return this.#number(type, 1)?.getUint8(0);
  }

  u16(type: number): number | undefined {
    return this.#number(type, 2)?.getUint16(0, true);
  }

  u32(type: number): number | undefined {
    return this.#number(type, 4)?.getUint32(0, true);
  }

  i32(type: number): number | undefined {
    return this.#number(type, 4)?.getInt32(0, true);
  }

  u32be(type: number): number | undefined {
    return this.#number(type, 4)?.getUint32(0);
  }

  /** Up to the first NUL. */
  string(type: number): string | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    const end = value.indexOf(0);
    return new TextDecoder().decode(end < 0 ? value : value.subarray(0, end));
  }

  nested(type: number): Attributes | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : new Attributes(value);
  }

  #number(type: number, size: number): DataView | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    if (value.length < size) throw new NetlinkFormatError(`Attribute ${type} has ${value.length} bytes`);
    return new DataView(value.buffer, value.byteOffset, value.length);
  }
}

/** Attributes in their order, for lists in which a type comes again. The values are views. @throws {NetlinkFormatError} */
export function readAttributes(
  data: Uint8Array<ArrayBuffer>,
): [type: number, value: Uint8Array<ArrayBuffer>][] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const attributes: [number, Uint8Array<ArrayBuffer>][] = [];
  for (let at = 0; at < data.length;) {
    if (data.length - at < NLA_HEADER) throw new NetlinkFormatError("Attribute header is cut");
    const length = view.getUint16(at, true);
    if (length < NLA_HEADER || length > data.length - at) {
      throw new NetlinkFormatError(`Attribute of ${length} bytes where ${data.length - at} are left`);
    }
    attributes.push([
      view.getUint16(at + 2, true) & NLA_TYPE_MASK,
      data.subarray(at + NLA_HEADER, at + length),
    ]);
    at += align4(length);
  }
  return attributes;
}
