import { decodePath } from "../path_text.ts";
import { BLOCK, padding, type TarEntry, type TarEntryType, TarError, type TarEvent } from "./entry.ts";
import { isZeroBlock, parseHeader, type RawHeader } from "./header.ts";
import { mergePax } from "./merge_pax.ts";
import { parsePax, type PaxRecords } from "./pax.ts";
import {
  checkSparse,
  MAX_STRETCHES,
  oldSparse,
  oldSparseExtension,
  type SparseMap,
  SparseMapReader,
} from "./sparse.ts";

/** An extended header or long name above this is refused: it is held in memory. */
const MAX_META = 8 * 1024 * 1024;
/** Records that hold for all entries are looked at for each: there are a handful in real archives. */
const MAX_GLOBAL = 64 * 1024;

const TYPES: Readonly<Record<string, TarEntryType>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  S: "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

export interface TarReaderOptions {
  /**
   * Accept an archive that ends between two entries without the two zero blocks. Only for archives whose digest is
   * checked: otherwise one cut short in that place looks whole.
   */
  readonly allowMissingEnd?: boolean;
}

type State = "header" | "meta" | "old-sparse" | "sparse-map" | "data" | "skip" | "done";

/**
 * Reads a tar archive fed to it in chunks of any size: ustar, GNU and PAX headers, sparse files. Synchronous and
 * without copying file data; nothing larger than one extended header is held.
 */
export class TarReader {
  readonly #allowMissingEnd: boolean;
  #state: State = "header";
  /** A block that came in pieces. */
  readonly #block = new Uint8Array(BLOCK);
  #held = 0;
  #zeroBlocks = 0;

  #meta = new Uint8Array(0);
  #metaHeld = 0;
  #metaType = "";
  #global: PaxRecords = [];
  #pax: PaxRecords = [];
  #longName: string | undefined;
  #longLink: string | undefined;

  #entry: TarEntry | undefined;
  #raw: RawHeader | undefined;
  #oldMap: [number, number][] = [];
  #sparseReader: SparseMapReader | undefined;
  /** What is left of the map while a sparse file's data comes; undefined for an ordinary file. */
  #stretches: [number, number][] | undefined;
  /** The stretch that comes next. */
  #stretch = 0;
  #remaining = 0;
  #offset = 0;
  #skip = 0;

  constructor(options: TarReaderOptions = {}) {
    this.#allowMissingEnd = options.allowMissingEnd ?? false;
  }

  /**
   * Takes the next bytes of the archive. The events must be read to the end before the next call; their data is a
   * view of `chunk`.
   *
   * @throws {TarError}
   */
  *feed(chunk: Uint8Array): Generator<TarEvent, void, undefined> {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case "done":
          return;
        case "skip": {
          const step = Math.min(this.#skip, chunk.length - at);
          at += step;
          this.#skip -= step;
          if (this.#skip === 0) this.#state = "header";
          break;
        }
        case "data": {
          const step = Math.min(this.#remaining, chunk.length - at);
          yield* this.#data(chunk.subarray(at, at + step));
          at += step;
          this.#remaining -= step;
          if (this.#remaining === 0) yield* this.#endOfEntry();
          break;
        }
        case "meta": {
          const step = Math.min(this.#meta.length - this.#metaHeld, chunk.length - at);
          this.#meta.set(chunk.subarray(at, at + step), this.#metaHeld);
          at += step;
          this.#metaHeld += step;
          if (this.#metaHeld === this.#meta.length) this.#endOfMeta();
          break;
        }
        default: {
          const block = this.#nextBlock(chunk, at);
          at += block.taken;
          if (block.bytes) yield* this.#blockArrived(block.bytes);
        }
      }
    }
  }

  /**
   * Says that the archive is over.
   *
   * @throws {TarError} when it was cut short.
   */
  finish(): void {
    if (this.#state === "done") return;
    if (this.#state === "header" && this.#held === 0 && !this.#pending()) {
      if (this.#zeroBlocks > 0 || this.#allowMissingEnd) return;
    }
    const name = this.#entry?.name ?? this.#raw?.name;
    throw new TarError(
      name === undefined || this.#state === "header"
        ? "truncated tar archive: unexpected EOF"
        : `truncated tar archive: unexpected EOF in ${JSON.stringify(name)}`,
    );
  }

  /** An extended header was read whose entry has not come. */
  #pending(): boolean {
    return this.#pax.length > 0 || this.#longName !== undefined || this.#longLink !== undefined;
  }

  #nextBlock(chunk: Uint8Array, at: number): { taken: number; bytes: Uint8Array | undefined } {
    if (this.#held === 0 && chunk.length - at >= BLOCK) {
      return { taken: BLOCK, bytes: chunk.subarray(at, at + BLOCK) };
    }
    const taken = Math.min(BLOCK - this.#held, chunk.length - at);
    this.#block.set(chunk.subarray(at, at + taken), this.#held);
    this.#held += taken;
    if (this.#held < BLOCK) return { taken, bytes: undefined };
    this.#held = 0;
    return { taken, bytes: this.#block };
  }

  *#blockArrived(block: Uint8Array): Generator<TarEvent, void, undefined> {
    if (this.#state === "header") {
      yield* this.#header(block);
    } else if (this.#state === "old-sparse") {
      const { map, extended } = oldSparseExtension(block);
      this.#oldMap.push(...map);
      if (this.#oldMap.length > MAX_STRETCHES) throw new TarError("invalid tar header: sparse map too long");
      if (!extended) yield* this.#startSparse(this.#oldMap);
    } else {
      this.#remaining -= BLOCK;
      if (this.#remaining < 0) throw new TarError("invalid tar header: sparse map longer than the data");
      const map = this.#sparseReader?.block(block);
      if (map) yield* this.#startSparse(map);
    }
  }

  *#header(block: Uint8Array): Generator<TarEvent, void, undefined> {
    if (block[0] === 0 && isZeroBlock(block)) {
      if (++this.#zeroBlocks === 2) this.#state = "done";
      return;
    }
    if (this.#zeroBlocks > 0) throw new TarError("invalid tar header: data after a zero block");
    const header = parseHeader(block);
    if (header.size < 0) throw new TarError("invalid tar header: negative size");
    switch (header.type) {
      case "x":
      case "g":
      case "L":
      case "K":
        if (header.size > MAX_META) {
          throw new TarError("invalid tar header: extended header too large");
        }
        this.#metaType = header.type;
        this.#meta = new Uint8Array(header.size);
        this.#metaHeld = 0;
        this.#state = "meta";
        if (header.size === 0) this.#endOfMeta();
        return;
      case "V": // a volume's name
        this.#skipData(header.size);
        return;
    }
    const type = TYPES[header.type];
    if (type === undefined) {
      throw new TarError(
        `unhandled tar header type ${JSON.stringify(header.type)} of ${JSON.stringify(header.name)}`,
      );
    }
    yield* this.#startEntry(header, type, block);
  }

  #endOfMeta(): void {
    const payload = this.#meta;
    this.#meta = new Uint8Array(0);
    this.#skipData(0, payload.length);
    switch (this.#metaType) {
      case "x":
        this.#pax = parsePax(payload);
        break;
      case "g": {
        const records = parsePax(payload);
        const keys = new Set(records.map(([key]) => key));
        this.#global = [...this.#global.filter(([key]) => !keys.has(key)), ...records];
        const size = this.#global.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
        if (size > MAX_GLOBAL) throw new TarError("invalid tar header: global extended header too large");
        break;
      }
      default: {
        const end = payload.indexOf(0);
        const name = decodePath(end < 0 ? payload : payload.subarray(0, end));
        if (this.#metaType === "L") this.#longName = name;
        else this.#longLink = name;
      }
    }
  }

  /** Goes to the next header, over `size` bytes and the padding of what was read. */
  #skipData(size: number, read = 0): void {
    this.#skip = size + padding(size + read);
    this.#state = this.#skip === 0 ? "header" : "skip";
  }

  *#startEntry(
    header: RawHeader,
    flagged: TarEntryType,
    block: Uint8Array,
  ): Generator<TarEvent, void, undefined> {
    const merged = mergePax(header, [...this.#global, ...this.#pax], this.#longName, this.#longLink);
    this.#pax = [];
    this.#longName = this.#longLink = undefined;
    const { name, sparse } = merged;
    // V7 has no type for directories, only the slash
    const type = flagged === "file" && name.endsWith("/") && sparse === undefined ? "directory" : flagged;
    const dataSize = type === "file" ? merged.size : 0;
    const entry = {
      name,
      type,
      linkName: type === "hardlink" || type === "symlink" ? merged.linkName : "",
      mode: header.mode,
      uid: merged.uid,
      gid: merged.gid,
      size: dataSize,
      mtime: merged.mtime,
      deviceMajor: header.deviceMajor,
      deviceMinor: header.deviceMinor,
      xattrs: merged.xattrs,
      sparse: false,
    };
    this.#raw = header;
    this.#remaining = dataSize;
    this.#offset = 0;
    this.#stretches = undefined;
    this.#skip = padding(dataSize);
    if (header.type === "S") {
      const old = oldSparse(block);
      this.#entry = { ...entry, sparse: true, size: old.size };
      this.#oldMap = old.map;
      if (old.extended) this.#state = "old-sparse";
      else yield* this.#startSparse(old.map);
    } else if (sparse !== undefined && type === "file") {
      this.#entry = { ...entry, sparse: true, size: sparse.size };
      if (sparse.map === "in-data") {
        this.#sparseReader = new SparseMapReader();
        this.#state = "sparse-map";
      } else yield* this.#startSparse(sparse.map);
    } else {
      this.#entry = entry;
      yield { kind: "entry", entry };
      this.#state = "data";
      if (dataSize === 0) yield* this.#endOfEntry();
    }
  }

  *#startSparse(map: SparseMap): Generator<TarEvent, void, undefined> {
    const entry = this.#entry;
    if (entry === undefined) throw new TarError("invalid tar header: sparse map without a file");
    const stretches = checkSparse(map, entry.size, this.#remaining);
    this.#stretches = stretches.map(([offset, length]) => [offset, length]);
    this.#stretch = 0;
    yield { kind: "entry", entry };
    this.#state = "data";
    if (this.#remaining === 0) yield* this.#endOfEntry();
  }

  *#data(chunk: Uint8Array): Generator<TarEvent, void, undefined> {
    if (this.#stretches === undefined) {
      if (chunk.length > 0) yield { kind: "data", chunk, offset: this.#offset };
      this.#offset += chunk.length;
      return;
    }
    for (let at = 0; at < chunk.length;) {
      const stretch = this.#stretches[this.#stretch];
      if (stretch === undefined) throw new TarError("invalid tar header: sparse map does not match the data");
      const step = Math.min(stretch[1], chunk.length - at);
      yield { kind: "data", chunk: chunk.subarray(at, at + step), offset: stretch[0] };
      at += step;
      stretch[0] += step;
      stretch[1] -= step;
      if (stretch[1] === 0) this.#stretch++;
    }
  }

  *#endOfEntry(): Generator<TarEvent, void, undefined> {
    this.#entry = this.#raw = undefined;
    this.#state = this.#skip === 0 ? "header" : "skip";
    yield { kind: "end" };
  }
}
