import { EngineError } from "../base/errors.ts";
import { ERRNO, SysError } from "../ffi/errno.ts";
import {
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
} from "../ffi/constants.ts";
import type { Stat, Syscalls } from "../ffi/syscalls.ts";
import { EntryAttributes } from "./entry_attributes.ts";
import { cleanEntryPath } from "./entry_path.ts";
import type { WhiteoutFormat } from "./graph_driver.ts";
import type { TarEntry } from "./tar/mod.ts";
import { MAX_REPORTED, type UnpackInto, type UnpackLimits } from "./unpack_job.ts";
import {
  OPAQUE_MARKER,
  OPAQUE_VALUE,
  OPAQUE_XATTRS,
  WHITEOUT_META_PREFIX,
  WHITEOUT_PREFIX,
} from "./whiteouts.ts";

export interface LayerWriterOptions {
  readonly whiteouts: WhiteoutFormat;
  readonly ignoreChownErrors: boolean;
  readonly limits: UnpackLimits;
  /** The archive is copied into an existing tree (`cp`) and is no layer: names like `.wh.x` mean nothing. */
  readonly into?: UnpackInto;
}

/**
 * Makes the files of a layer out of an archive's entries, below the calling thread's root: the thread must have been
 * chroot-ed into the layer, so that whatever an archive says, and whatever symbolic links it has made before, the kernel
 * resolves it inside. Its umask must be 0.
 *
 * As in Docker, a later entry replaces an earlier one of the same name, except that a directory over a directory only
 * takes over the attributes. Whiteouts hide what is in lower layers, never an entry of the same archive.
 */
export class LayerWriter {
  readonly #sys: Syscalls;
  readonly #options: LayerWriterOptions;
  readonly #attributes: EntryAttributes;
  readonly skippedDevices: string[] = [];
  entries = 0;
  size = 0;

  #current: TarEntry | undefined;
  #path = "";
  #fd = -1;
  #sparseFile: Deno.FsFile | undefined;
  #mknodRefused = false;

  constructor(sys: Syscalls, options: LayerWriterOptions) {
    this.#sys = sys;
    this.#options = options;
    this.#attributes = new EntryAttributes(sys, {
      ignoreChownErrors: options.ignoreChownErrors,
      emptyTree: options.into?.empty ?? true,
    });
  }

  /** Extended attributes that could not be set, or belong to a graph driver. */
  get skippedXattrs(): number {
    return this.#attributes.skippedXattrs;
  }

  /** Begins an entry. @throws {EngineError | SysError} */
  entry(given: TarEntry): void {
    const { limits, into } = this.#options;
    const entry = into?.owner === undefined ? given : { ...given, ...into.owner };
    if (++this.entries > limits.maxEntries) {
      throw new EngineError("invalid", `archive holds more than ${limits.maxEntries} files`);
    }
    this.size += entry.size;
    if (this.size > limits.maxBytes) {
      throw new EngineError("invalid", `archive unpacks to more than ${limits.maxBytes} bytes`);
    }
    this.#current = undefined;
    const clean = cleanEntryPath(entry.name);
    if (into !== undefined && clean === "/" && !into.wholeDirectory) return;
    const path = into === undefined ? clean : into.path + clean;
    const slash = path.lastIndexOf("/");
    const base = path.slice(slash + 1);
    if (into?.noOverwriteDirNonDir) this.#checkKind(path, into.path, entry.type === "directory");
    if (into === undefined && path.includes("/.wh.")) {
      this.#whiteout(path, path.slice(0, slash), base);
      return;
    }
    this.#path = path;
    if (path === "/") {
      if (entry.type === "directory") this.#attributes.set(path, entry);
      return;
    }
    switch (entry.type) {
      case "file":
        this.#current = entry;
        this.#openFile(path, entry);
        return;
      case "directory":
        this.#directory(path, entry);
        return;
      case "symlink":
        this.#place(path, () => this.#sys.symlink(entry.linkName, path));
        this.#attributes.setOfLink(path, entry);
        return;
      case "hardlink": {
        const target = (into?.path ?? "") + cleanEntryPath(entry.linkName);
        // a link to itself would have its target removed to make place
        if (target !== path) this.#place(path, () => this.#sys.link(target, path));
        return;
      }
      case "fifo":
        this.#place(path, () => this.#sys.mknod(path, S_IFIFO | (entry.mode & 0o777), 0n));
        this.#attributes.set(path, entry);
        return;
      case "char":
      case "block":
        if (this.skippedDevices.length < MAX_REPORTED) this.skippedDevices.push(path);
        return;
    }
  }

  /** In the words of go-archive's Unpack. */
  #checkKind(path: string, into: string, isDirectory: boolean): void {
    const existing = this.#existsHere(path);
    if (existing === undefined) return;
    const wasDirectory = (existing.mode & S_IFMT) === S_IFDIR;
    if (wasDirectory === isDirectory) return;
    const [old, wanted] = wasDirectory ? ["directory", "non-directory"] : ["non-directory", "directory"];
    throw new EngineError(
      "invalid",
      `cannot overwrite ${old} ${JSON.stringify(path)} with ${wanted} ${JSON.stringify(into || "/")}`,
    );
  }

  /** Takes a piece of the entry's data. */
  data(chunk: Uint8Array, offset: number): void {
    if (this.#sparseFile) {
      this.#sparseFile.seekSync(offset, Deno.SeekMode.Start);
      for (let at = 0; at < chunk.length;) at += this.#sparseFile.writeSync(chunk.subarray(at));
      return;
    }
    if (this.#fd < 0) return;
    try {
      for (let at = 0; at < chunk.length;) {
        at += this.#sys.write(this.#fd, at === 0 ? chunk : chunk.subarray(at));
      }
    } catch (error) {
      throw error instanceof SysError ? new SysError("write", error.errno, this.#path) : error;
    }
  }

  /** Ends the entry. */
  end(): void {
    const entry = this.#current;
    if (entry === undefined) return;
    this.#current = undefined;
    if (this.#sparseFile) {
      this.#sparseFile.truncateSync(entry.size);
      this.#sparseFile.close();
      this.#sparseFile = undefined;
    } else {
      this.#sys.close(this.#fd);
      this.#fd = -1;
    }
    this.#attributes.set(this.#path, entry);
  }

  /** Ends the layer: times of directories. */
  finish(): void {
    this.#attributes.finish();
  }

  /** Closes what is open after a failure. */
  abandon(): void {
    if (this.#fd >= 0) this.#sys.close(this.#fd);
    this.#fd = -1;
    this.#sparseFile?.close();
    this.#sparseFile = undefined;
  }

  #openFile(path: string, entry: TarEntry): void {
    const mode = entry.mode & 0o777;
    this.#place(path, () => {
      if (entry.sparse) {
        // only Deno's files can seek
        this.#sys.close(this.#sys.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
        this.#sparseFile = Deno.openSync(path, { write: true });
      } else {
        this.#fd = this.#sys.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
      }
    });
  }

  #directory(path: string, entry: TarEntry): void {
    let hidesLower = false;
    for (let attempt = 0;; attempt++) {
      try {
        this.#sys.mkdir(path, entry.mode & 0o1777);
        break;
      } catch (error) {
        if (!(error instanceof SysError) || attempt >= 3) throw error;
        if (error.is("ENOENT", "ENOTDIR")) this.#makeParents(path);
        else if (error.is("EEXIST")) {
          const existing = this.#sys.stat(path, false);
          if ((existing.mode & S_IFMT) === S_IFDIR) break;
          hidesLower ||= isWhiteout(existing);
          this.#sys.unlink(path);
        } else throw error;
      }
    }
    // the whiteout hid a directory of a lower layer, which must not shine through the new one
    hidesLower = this.#removeWhiteoutFile(path) || hidesLower;
    if (hidesLower) this.#setOpaque(path);
    this.#attributes.set(path, entry);
  }

  /** Runs `make` for a new name, clearing what is in the way and making directories that the archive left out. */
  #place(path: string, make: () => void): void {
    for (let attempt = 0;; attempt++) {
      try {
        make();
        this.#removeWhiteoutFile(path);
        return;
      } catch (error) {
        if (!(error instanceof SysError) || attempt >= 3) throw error;
        if (error.is("EEXIST")) this.#clear(path);
        else if (error.is("ENOENT", "ENOTDIR") && this.#makeParents(path)) continue;
        else throw error;
      }
    }
  }

  #clear(path: string): void {
    this.#attributes.forget(path);
    const existing = this.#sys.stat(path, false);
    if ((existing.mode & S_IFMT) !== S_IFDIR) this.#sys.unlink(path);
    // Deno.removeSync does not follow symbolic links
    else Deno.removeSync(path, { recursive: true });
  }

  /** Makes the missing directories above `path`; false when nothing was missing. */
  #makeParents(path: string): boolean {
    let made = false;
    for (let slash = path.indexOf("/", 1); slash > 0; slash = path.indexOf("/", slash + 1)) {
      const parent = path.slice(0, slash);
      const existing = this.#find(parent);
      if (existing !== undefined && !isWhiteout(existing)) continue;
      if (existing !== undefined) this.#sys.unlink(parent);
      this.#sys.mkdir(parent, 0o755);
      if (existing !== undefined || this.#removeWhiteoutFile(parent)) this.#setOpaque(parent);
      made = true;
    }
    return made;
  }

  #find(path: string): Stat | undefined {
    try {
      return this.#sys.stat(path, false);
    } catch (error) {
      if (error instanceof SysError && error.is("ENOENT")) return undefined;
      throw error;
    }
  }

  #whiteout(path: string, parent: string, base: string): void {
    // whatever stands in AUFS's own directories is none of ours
    if (path.includes(`/${WHITEOUT_META_PREFIX}`) && base !== OPAQUE_MARKER) return;
    const hidden = base.slice(WHITEOUT_PREFIX.length);
    const valid = base.startsWith(WHITEOUT_PREFIX) && !parent.includes("/.wh.") && hidden !== "" &&
      hidden !== "." &&
      hidden !== "..";
    if (!valid) throw new EngineError("invalid", `invalid whiteout ${JSON.stringify(path.slice(1))}`);
    if (base === OPAQUE_MARKER) {
      const directory = parent === "" ? "/" : parent;
      if (this.#find(directory) === undefined) {
        this.#makeParents(path);
      }
      this.#setOpaque(directory);
    } else {
      this.#hide(`${parent}/${hidden}`, path);
    }
  }

  /** Hides `path` in the layers below. An entry of this archive stays, but nothing below it may be merged into it. */
  #hide(path: string, marker: string): void {
    const { whiteouts } = this.#options;
    if (whiteouts === "apply") {
      if (this.#existsHere(path)) this.#clear(path);
      return;
    }
    if (whiteouts === "files") {
      this.#emptyFile(marker);
      return;
    }
    const existing = this.#existsHere(path);
    if (existing !== undefined) {
      if ((existing.mode & S_IFMT) === S_IFDIR) this.#setOpaque(path);
      return;
    }
    if (!this.#mknodRefused) {
      try {
        this.#place(path, () => this.#sys.mknod(path, S_IFCHR, 0n));
        return;
      } catch (error) {
        if (whiteouts !== "fuse-overlayfs" || !(error instanceof SysError) || !error.is("EPERM")) throw error;
        this.#mknodRefused = true;
      }
    }
    this.#emptyFile(marker);
  }

  #existsHere(path: string): Stat | undefined {
    try {
      return this.#find(path);
    } catch (error) {
      if (error instanceof SysError && error.is("ENOTDIR")) return undefined;
      throw error;
    }
  }

  #emptyFile(path: string): void {
    try {
      this.#place(path, () => {
        const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        this.#sys.close(this.#sys.open(path, flags, 0o644));
      });
    } catch (error) {
      if (!(error instanceof SysError) || !error.is("EEXIST")) throw error;
    }
  }

  /** Where whiteouts are files, one of a name that comes back has to go. True when there was one. */
  #removeWhiteoutFile(path: string): boolean {
    if (!this.#mknodRefused) return false;
    const slash = path.lastIndexOf("/");
    try {
      this.#sys.unlink(`${path.slice(0, slash + 1)}${WHITEOUT_PREFIX}${path.slice(slash + 1)}`);
      return true;
    } catch (error) {
      if (error instanceof SysError && error.errno === ERRNO.ENOENT) return false;
      throw error;
    }
  }

  #setOpaque(directory: string): void {
    const { whiteouts } = this.#options;
    if (whiteouts === "apply") return;
    if (whiteouts !== "files") {
      for (const name of OPAQUE_XATTRS[whiteouts]) this.#sys.lsetxattr(directory, name, OPAQUE_VALUE);
    }
    if (whiteouts === "fuse-overlayfs" || whiteouts === "files") {
      this.#emptyFile(`${directory === "/" ? "" : directory}/${OPAQUE_MARKER}`);
    }
  }
}

/** A character device 0:0 is a whiteout; devices of archives are never made, so nothing else can be one here. */
function isWhiteout(stat: Stat): boolean {
  return (stat.mode & S_IFMT) === S_IFCHR && stat.rdev === 0n;
}
