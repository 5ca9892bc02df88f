/**
 * D-Bus messages as bytes (D-Bus Specification, "Marshaling" and "Message Format"): what talking to systemd needs, little-endian
 * to send, either byte order to read.
 */

/** A value with its own type, D-Bus's "v". */
export class Variant {
  readonly signature: string;
  readonly value: DBusValue;
  constructor(signature: string, value: DBusValue) {
    this.signature = signature;
    this.value = value;
  }
}

/**
 * y n q i u d: number; x t: bigint (a number is taken as well); b: boolean; s o g: string; arrays, structs and dictionary
 * entries: arrays of values; v: {@link Variant}. "ay" may be a Uint8Array.
 */
export type DBusValue =
  | number
  | bigint
  | boolean
  | string
  | Uint8Array
  | Variant
  | readonly DBusValue[];

export const METHOD_CALL = 1;
export const METHOD_RETURN = 2;
export const ERROR = 3;
export const SIGNAL = 4;

export interface Message {
  readonly type: number;
  readonly serial: number;
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly errorName?: string;
  readonly replySerial?: number;
  readonly destination?: string;
  readonly sender?: string;
  readonly signature?: string;
  readonly body: readonly DBusValue[];
}

/** Numbers of the header fields, with their types. */
const FIELDS = {
  path: [1, "o"],
  interface: [2, "s"],
  member: [3, "s"],
  errorName: [4, "s"],
  replySerial: [5, "u"],
  destination: [6, "s"],
  sender: [7, "s"],
  signature: [8, "g"],
} as const satisfies Partial<Record<keyof Message, readonly [number, string]>>;

const PROTOCOL = 1;
const LITTLE_ENDIAN = 0x6c;
/** The specification's limit. */
const MAX_MESSAGE = 128 * 1024 * 1024;
/** Byte order, type, flags, version, body's length, serial, length of the fields. */
const FIXED_HEADER = 16;

const ALIGNMENT: Readonly<Record<string, number>> = {
  y: 1,
  g: 1,
  v: 1,
  n: 2,
  q: 2,
  b: 4,
  i: 4,
  u: 4,
  a: 4,
  s: 4,
  o: 4,
  x: 8,
  t: 8,
  d: 8,
  "(": 8,
  "{": 8,
};

/** The complete types of a signature: "sa{sv}u" is ["s", "a{sv}", "u"]. @throws {TypeError} */
export function splitSignature(signature: string): string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length;) {
    const end = typeEnd(signature, at);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

function typeEnd(signature: string, at: number): number {
  const code = signature[at] ?? "";
  if (!(code in ALIGNMENT)) throw new TypeError(`not a D-Bus signature: ${signature}`);
  if (code === "a") return typeEnd(signature, at + 1);
  const closing = code === "(" ? ")" : code === "{" ? "}" : undefined;
  if (closing === undefined) return at + 1;
  let end = at + 1;
  while (signature[end] !== closing) end = typeEnd(signature, end);
  return end + 1;
}

/** Padding and value of any type of fixed length. */
const LARGEST_FIXED = 16;

class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length);
  }

  align(to: number): void {
    const length = Math.ceil(this.length / to) * to;
    this.#reserve(length - this.length);
    this.length = length;
  }

  setUint32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  write(type: string, value: DBusValue): void {
    const code = type[0] ?? "";
    // The view below is taken before its argument grows the buffer.
    this.#reserve(LARGEST_FIXED);
    this.align(ALIGNMENT[code] ?? 1);
    switch (code) {
      case "y":
        this.#view.setUint8(this.#grow(1), Number(value));
        return;
      case "n":
      case "q":
        this.#view.setUint16(this.#grow(2), Number(value) & 0xffff, true);
        return;
      case "b":
        this.#view.setUint32(this.#grow(4), value ? 1 : 0, true);
        return;
      case "i":
      case "u":
        this.#view.setUint32(this.#grow(4), Number(value) >>> 0, true);
        return;
      case "x":
      case "t":
        this.#view.setBigUint64(this.#grow(8), BigInt.asUintN(64, BigInt(value as number | bigint)), true);
        return;
      case "d":
        this.#view.setFloat64(this.#grow(8), Number(value), true);
        return;
      case "s":
      case "o":
        return this.#string(String(value), 4);
      case "g":
        return this.#string(String(value), 1);
      case "v": {
        const { signature, value: inner } = value as Variant;
        this.#string(signature, 1);
        return this.write(signature, inner);
      }
      case "a":
        return this.#array(type.slice(1), value as Uint8Array | readonly DBusValue[]);
      default: {
        const members = value as readonly DBusValue[];
        for (const [index, member] of splitSignature(type.slice(1, -1)).entries()) {
          this.write(member, members[index] as DBusValue);
        }
      }
    }
  }

  raw(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  #string(text: string, lengthSize: 1 | 4): void {
    const bytes = new TextEncoder().encode(text);
    this.#reserve(LARGEST_FIXED);
    if (lengthSize === 4) this.#view.setUint32(this.#grow(4), bytes.length, true);
    else this.#view.setUint8(this.#grow(1), bytes.length);
    this.raw(bytes);
    this.#grow(1);
  }

  #array(element: string, value: Uint8Array | readonly DBusValue[]): void {
    const lengthAt = this.#grow(4);
    this.align(ALIGNMENT[element[0] ?? ""] ?? 1);
    const start = this.length;
    if (value instanceof Uint8Array) this.raw(value);
    else for (const item of value) this.write(element, item);
    this.setUint32(lengthAt, this.length - start);
  }

  #grow(by: number): number {
    this.#reserve(by);
    const at = this.length;
    this.length += by;
    return at;
  }

  #reserve(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + more));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** A message as it goes over the wire. */
export function encodeMessage(message: Message): Uint8Array<ArrayBuffer> {
  const body = new Writer();
  for (const [index, type] of splitSignature(message.signature ?? "").entries()) {
    body.write(type, message.body[index] as DBusValue);
  }
  const out = new Writer();
  for (const byte of [LITTLE_ENDIAN, message.type, 0, PROTOCOL]) out.write("y", byte);
  out.write("u", body.length);
  out.write("u", message.serial);
  const fields = Object.entries(FIELDS).flatMap(([name, [code, type]]) => {
    const value = message[name as keyof typeof FIELDS];
    return value === undefined ? [] : [[code, new Variant(type, value)]];
  });
  out.write("a(yv)", fields);
  out.align(8);
  out.raw(body.bytes());
  return out.bytes();
}

class Reader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #little: boolean;
  at: number;

  constructor(bytes: Uint8Array, little: boolean, at: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#little = little;
    this.at = at;
  }

  align(to: number): void {
    this.at = Math.ceil(this.at / to) * to;
  }

  read(type: string): DBusValue {
    const code = type[0] ?? "";
    this.align(ALIGNMENT[code] ?? 1);
    switch (code) {
      case "y":
        return this.#view.getUint8(this.#skip(1));
      case "n":
        return this.#view.getInt16(this.#skip(2), this.#little);
      case "q":
        return this.#view.getUint16(this.#skip(2), this.#little);
      case "b":
        return this.#view.getUint32(this.#skip(4), this.#little) !== 0;
      case "i":
        return this.#view.getInt32(this.#skip(4), this.#little);
      case "u":
        return this.#view.getUint32(this.#skip(4), this.#little);
      case "x":
        return this.#view.getBigInt64(this.#skip(8), this.#little);
      case "t":
        return this.#view.getBigUint64(this.#skip(8), this.#little);
      case "d":
        return this.#view.getFloat64(this.#skip(8), this.#little);
      case "s":
      case "o":
        return this.#string(this.#view.getUint32(this.#skip(4), this.#little));
      case "g":
        return this.#string(this.#view.getUint8(this.#skip(1)));
      case "v": {
        const signature = this.#string(this.#view.getUint8(this.#skip(1)));
        return new Variant(signature, this.read(signature));
      }
      case "a": {
        const length = this.#view.getUint32(this.#skip(4), this.#little);
        const element = type.slice(1);
        this.align(ALIGNMENT[element[0] ?? ""] ?? 1);
        const end = this.at + length;
        if (end > this.#bytes.length) throw new RangeError("D-Bus array is longer than its message");
        const items: DBusValue[] = [];
        while (this.at < end) items.push(this.read(element));
        return items;
      }
      default:
        return splitSignature(type.slice(1, -1)).map((member) => this.read(member));
    }
  }

  #string(length: number): string {
    const start = this.#skip(length + 1);
    return new TextDecoder().decode(this.#bytes.subarray(start, start + length));
  }

  #skip(count: number): number {
    const at = this.at;
    this.at += count;
    if (this.at > this.#bytes.length) throw new RangeError("D-Bus message is cut short");
    return at;
  }
}

/**
 * Length in bytes of the message that `bytes` begin with; undefined while too little of it is there.
 *
 * @throws {RangeError} not a D-Bus message, or one that nobody may send.
 */
export function messageLength(bytes: Uint8Array): number | undefined {
  if (bytes.length < FIXED_HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = view.getUint8(0) === LITTLE_ENDIAN;
  const length = Math.ceil((FIXED_HEADER + view.getUint32(12, little)) / 8) * 8 + view.getUint32(4, little);
  if (view.getUint8(3) !== PROTOCOL || length > MAX_MESSAGE) throw new RangeError("not a D-Bus message");
  return length;
}

/** The message that exactly `bytes` are. @throws {RangeError | TypeError} when they are none. */
export function decodeMessage(bytes: Uint8Array): Message {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = view.getUint8(0) === LITTLE_ENDIAN;
  const reader = new Reader(bytes, little, 12);
  const fields: Record<string, DBusValue> = {};
  for (const field of reader.read("a(yv)") as readonly (readonly [number, Variant])[]) {
    const name = Object.entries(FIELDS).find(([, [code]]) => code === field[0])?.[0];
    if (name !== undefined) fields[name] = field[1].value;
  }
  reader.align(8);
  const signature = typeof fields["signature"] === "string" ? fields["signature"] : "";
  const body = splitSignature(signature).map((type) => reader.read(type));
  return { ...fields, type: view.getUint8(1), serial: view.getUint32(8, little), body };
}
