import { createHash, type Hash } from "node:crypto";
import { encodePath } from "../base/path_text.ts";
import { O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, S_IFLNK, S_IFMT, S_IFREG } from "../ffi/constants.ts";
import type { Stat, Syscalls } from "../ffi/syscalls.ts";
import type { SourceNode, SourceVisitor } from "./build_source.ts";
import { ContentXattrs } from "./content_xattrs.ts";
import { entryType } from "./tree_tar.ts";

const BUFFER = 1024 * 1024;

/**
 * Digest of what a build takes: names, types, modes, owners, links' targets, extended attributes, contents; no times. Each
 * record says how long it is, so no two trees come to the same bytes.
 */
export class TreeDigest implements SourceVisitor {
  readonly #sys: Syscalls;
  /** Owners are not kept by whoever copies. */
  readonly #rootOwned: boolean;
  readonly #checkpoint: () => void;
  readonly #xattrs: ContentXattrs;
  readonly #hash: Hash = createHash("sha256").update("berth build files 1\n");
  readonly #buffer = new Uint8Array(BUFFER);

  /** @param checkpoint called now and then; throws when nobody waits any more. */
  constructor(sys: Syscalls, options: { readonly rootOwned: boolean; readonly checkpoint: () => void }) {
    this.#sys = sys;
    this.#rootOwned = options.rootOwned;
    this.#checkpoint = options.checkpoint;
    this.#xattrs = new ContentXattrs(sys);
  }

  begin(base: string, isDirectory: boolean): void {
    // a directory's own name and attributes do not come along
    this.#record(isDirectory ? "contents" : "named", isDirectory ? "" : base);
  }

  enter(node: SourceNode): void {
    this.#node("directory", node);
  }

  leave(_: SourceNode): void {}

  file(node: SourceNode): void {
    const type = entryType(node.stat.mode);
    if (type === undefined || type === "char" || type === "block") return;
    const format = node.stat.mode & S_IFMT;
    if (format === S_IFLNK) this.#node(type, node, this.#sys.readlink(node.name));
    else if (format === S_IFREG) this.#content(node);
    else this.#node(type, node);
  }

  finish(): string {
    return `sha256:${this.#hash.digest("hex")}`;
  }

  #content(node: SourceNode): void {
    const fd = this.#sys.open(node.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    try {
      const { size } = node.stat;
      this.#node("file", node, String(size));
      for (let left = size; left > 0;) {
        this.#checkpoint();
        const space = left < BUFFER ? this.#buffer.subarray(0, left) : this.#buffer;
        const read = this.#sys.read(fd, space);
        // it was cut short since: the record has promised these bytes
        if (read <= 0) space.fill(0);
        const part = read <= 0 ? space : space.subarray(0, read);
        this.#hash.update(part);
        left -= part.length;
      }
    } finally {
      this.#sys.close(fd);
    }
  }

  #node(type: string, { path, name, stat }: SourceNode, detail = ""): void {
    this.#checkpoint();
    this.#record(type, path, attributes(stat, this.#rootOwned), detail);
    for (const [key, value] of this.#xattrs.of(name, stat)) {
      this.#record("xattr", key, String(value.length));
      this.#hash.update(value);
    }
  }

  #record(...fields: string[]): void {
    const bytes = fields.map(encodePath);
    const lengths = bytes.map(({ length }) => length).join(",");
    this.#hash.update(`${lengths}:`);
    for (const field of bytes) this.#hash.update(field);
  }
}

function attributes(stat: Stat, rootOwned: boolean): string {
  const mode = (stat.mode & S_IFMT) === S_IFLNK ? 0o777 : stat.mode & 0o7777;
  return `${mode.toString(8)} ${rootOwned ? "0:0" : `${stat.uid}:${stat.gid}`}`;
}
