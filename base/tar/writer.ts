import { encodePath } from "../path_text.ts";
import { BLOCK, padding, type TarEntryType, type TarTime } from "./entry.ts";
import { formatPax, formatPaxTime, XATTR_PREFIX } from "./pax.ts";
import { concat } from "../concat.ts";

/** What a header needs; everything but the name has a default. */
export interface TarEntryInput {
  readonly name: string;
  readonly type?: TarEntryType;
  readonly linkName?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Bytes of data that follow the header, files only. */
  readonly size?: number;
  readonly mtime?: TarTime;
  readonly deviceMajor?: number;
  readonly deviceMinor?: number;
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
}

const FLAGS: Readonly<Record<TarEntryType, string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/** The two zero blocks that end an archive. */
export const TAR_END: Uint8Array<ArrayBuffer> = new Uint8Array(2 * BLOCK);

const ZEROS = new Uint8Array(BLOCK);

/** The zeros that follow `size` bytes of data. */
export function tarPadding(size: number): Uint8Array<ArrayBuffer> {
  return ZEROS.subarray(0, padding(size));
}

/** Header blocks of one entry: ustar, preceded by a PAX extended header when something does not fit in it. */
export function tarHeader(input: TarEntryInput): Uint8Array<ArrayBuffer> {
  const type = input.type ?? "file";
  const name = type === "directory" && !input.name.endsWith("/") ? `${input.name}/` : input.name;
  const nameBytes = encodePath(name);
  const linkBytes = encodePath(input.linkName ?? "");
  const { mode = type === "directory" ? 0o755 : 0o644, uid = 0, gid = 0, mtime = [0, 0] } = input;
  const size = type === "file" ? input.size ?? 0 : 0;
  const text = (value: string | number) => encodePath(String(value));
  const pax: [string, Uint8Array][] = [];
  if (nameBytes.length > 100 || !isAscii(nameBytes)) pax.push(["path", nameBytes]);
  if (linkBytes.length > 100 || !isAscii(linkBytes)) pax.push(["linkpath", linkBytes]);
  if (size > 0o77777777777) pax.push(["size", text(size)]);
  if (uid > 0o7777777) pax.push(["uid", text(uid)]);
  if (gid > 0o7777777) pax.push(["gid", text(gid)]);
  if (mtime[1] !== 0 || mtime[0] < 0 || mtime[0] > 0o77777777777) {
    pax.push(["mtime", text(formatPaxTime(mtime))]);
  }
  for (const [key, value] of input.xattrs ?? []) pax.push([XATTR_PREFIX + key, value]);
  const block = ustarBlock(FLAGS[type], {
    name: nameBytes,
    link: linkBytes,
    mode,
    uid,
    gid,
    size,
    seconds: mtime[0],
    deviceMajor: input.deviceMajor ?? 0,
    deviceMinor: input.deviceMinor ?? 0,
  });
  if (pax.length === 0) return block;
  const payload = formatPax(pax);
  const head = ustarBlock("x", {
    name: encodePath("PaxHeaders/0"),
    link: new Uint8Array(0),
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: payload.length,
    seconds: 0,
    deviceMajor: 0,
    deviceMinor: 0,
  });
  return concat([head, payload, tarPadding(payload.length), block]);
}

/** A whole archive of small entries in memory. */
export function tarArchive(
  entries: Iterable<TarEntryInput & { data?: Uint8Array }>,
): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (const { data, ...entry } of entries) {
    const size = data?.length ?? 0;
    parts.push(tarHeader({ ...entry, size }));
    if (data) parts.push(data, tarPadding(size));
  }
  return concat([...parts, TAR_END]);
}

interface Fields {
  name: Uint8Array;
  link: Uint8Array;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  seconds: number;
  deviceMajor: number;
  deviceMinor: number;
}

/** What does not fit is cut or written as the largest value: a PAX record says it right. */
function ustarBlock(flag: string, fields: Fields): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  const octal = (value: number, offset: number, length: number) => {
    const digits = length - 1;
    const clipped = Math.min(Math.max(0, value), 8 ** digits - 1);
    block.set(encodePath(clipped.toString(8).padStart(digits, "0")), offset);
  };
  block.set(fields.name.subarray(0, 100), 0);
  octal(fields.mode & 0o7777, 100, 8);
  octal(fields.uid, 108, 8);
  octal(fields.gid, 116, 8);
  octal(fields.size, 124, 12);
  octal(fields.seconds, 136, 12);
  block.fill(0x20, 148, 156);
  block[156] = flag.charCodeAt(0);
  block.set(fields.link.subarray(0, 100), 157);
  block.set(encodePath("ustar\0" + "00"), 257);
  octal(fields.deviceMajor, 329, 8);
  octal(fields.deviceMinor, 337, 8);
  // by index: iterators are slow as long as V8 has not optimized this, and an engine's first image is made before that
  let sum = 0;
  for (let at = 0; at < BLOCK; at++) sum += block[at] as number;
  block.set(encodePath(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
  return block;
}

function isAscii(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if ((bytes[at] as number) >= 128) return false;
  return true;
}
