/** What kind of file an entry makes. */
export type TarEntryType = "file" | "hardlink" | "symlink" | "char" | "block" | "directory" | "fifo";

/** Seconds and nanoseconds since the epoch; nanoseconds are 0…999,999,999 before the epoch as well. */
export type TarTime = readonly [seconds: number, nanoseconds: number];

/** One member of an archive. Names are text as of base/path_text.ts, exactly as the archive spells them: untrusted. */
export interface TarEntry {
  readonly name: string;
  readonly type: TarEntryType;
  /** Target of a link; "" otherwise. */
  readonly linkName: string;
  /** Permission bits with set-id and sticky bits, 0…0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of the file as it is to be, holes included; 0 for everything that is no file. */
  readonly size: number;
  readonly mtime: TarTime;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Extended attributes by name; values are bytes. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** The file has holes: data events come with offsets that jump over them. */
  readonly sparse: boolean;
}

/** What the reader reports, in order: entry, its data, end; for each entry. */
export type TarEvent =
  | { readonly kind: "entry"; readonly entry: TarEntry }
  /** A piece of the entry's data, which belongs at `offset` of the file. Valid until the next chunk is fed. */
  | { readonly kind: "data"; readonly chunk: Uint8Array; readonly offset: number }
  | { readonly kind: "end" };

/** An archive that is no tar archive, is damaged, or uses what berth does not read. */
export class TarError extends Error {
  override readonly name = "TarError";
}

export const BLOCK = 512;

/** Bytes that fill the last block of `size` bytes of data. */
export function padding(size: number): number {
  return (BLOCK - size % BLOCK) % BLOCK;
}
