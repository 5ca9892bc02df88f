import { decodePath } from "../path_text.ts";
import { TarError } from "./entry.ts";
import type { RawHeader } from "./header.ts";
import { decimal, parsePaxTime, type PaxRecords, XATTR_PREFIX } from "./pax.ts";
import { paxSparse, type SparseMap } from "./sparse.ts";

const NO_XATTRS: ReadonlyMap<string, Uint8Array> = new Map();

/** What a header and the extended headers before it say together. */
export interface Merged {
  name: string;
  linkName: string;
  size: number;
  uid: number;
  gid: number;
  mtime: readonly [number, number];
  xattrs: ReadonlyMap<string, Uint8Array>;
  sparse: { size: number; map: SparseMap | "in-data" } | undefined;
}

/**
 * Lays PAX records and GNU's long names over an entry's own header.
 *
 * @throws {TarError}
 */
export function mergePax(
  header: RawHeader,
  records: PaxRecords,
  longName: string | undefined,
  longLink: string | undefined,
): Merged {
  const merged: Merged = {
    name: longName ?? header.name,
    linkName: longLink ?? header.linkName,
    size: header.size,
    uid: header.uid,
    gid: header.gid,
    mtime: [header.mtime, 0],
    xattrs: NO_XATTRS,
    sparse: undefined,
  };
  if (records.length === 0) return merged;
  const xattrs = new Map<string, Uint8Array>();
  const sparse: Record<string, string> = {};
  const oldSparseNumbers: number[] = [];
  for (const [key, value] of records) {
    switch (key) {
      case "path":
        merged.name = decodePath(value);
        break;
      case "linkpath":
        merged.linkName = decodePath(value);
        break;
      case "size":
      case "uid":
      case "gid":
        merged[key] = paxNumber(key, value);
        break;
      case "mtime": {
        const time = parsePaxTime(decodePath(value));
        if (time === undefined) throw new TarError("invalid tar header: malformed PAX record");
        merged.mtime = time;
        break;
      }
      case "GNU.sparse.offset":
      case "GNU.sparse.numbytes":
        oldSparseNumbers.push(decimal(value));
        break;
      default:
        if (key.startsWith(XATTR_PREFIX)) xattrs.set(key.slice(XATTR_PREFIX.length), value);
        else if (key.startsWith("GNU.sparse.")) sparse[key.slice(11)] = decodePath(value);
    }
  }
  if (xattrs.size > 0) merged.xattrs = xattrs;
  if (sparse["name"] !== undefined) merged.name = sparse["name"];
  merged.sparse = sparseOf(sparse, oldSparseNumbers);
  return merged;
}

function sparseOf(fields: Record<string, string>, old: readonly number[]): Merged["sparse"] {
  const size = Number(fields["realsize"] ?? fields["size"]);
  if (Object.keys(fields).length === 0) return undefined;
  if (!Number.isSafeInteger(size) || size < 0) throw new TarError("invalid tar header: malformed sparse map");
  if (fields["major"] === "1" && fields["minor"] === "0") return { size, map: "in-data" };
  if (fields["map"] !== undefined) {
    return { size, map: paxSparse(fields["map"] === "" ? [] : fields["map"].split(",").map(Number)) };
  }
  if (fields["major"] !== undefined && fields["major"] !== "0") {
    throw new TarError(`unsupported sparse format ${fields["major"]}.${fields["minor"] ?? ""}`);
  }
  return { size, map: paxSparse(old) };
}

function paxNumber(key: string, value: Uint8Array): number {
  const number = decimal(value);
  if (!Number.isSafeInteger(number)) {
    throw new TarError(`invalid tar header: bad number in PAX record ${key}`);
  }
  return number;
}
