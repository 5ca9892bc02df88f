import { MAX_RATIO } from "./compression/growth.ts";
import type { WhiteoutFormat } from "./graph_driver.ts";

/** Bounds of one archive. */
export interface UnpackLimits {
  readonly maxEntries: number;
  /** Bytes of all files together, holes included. */
  readonly maxBytes: number;
  /** Times that a compressed archive may grow, once it has grown beyond 1 GiB. */
  readonly maxRatio: number;
}

export const DEFAULT_LIMITS: UnpackLimits = {
  maxEntries: 5_000_000,
  maxBytes: 1024 ** 4,
  maxRatio: MAX_RATIO,
};

/** An archive that is no layer, and goes into a tree. */
export interface UnpackInto {
  /** Absolute path that the archive's names are below; "" for the root. */
  readonly path: string;
  /** A directory never takes the place of something else, nor the other way round. */
  readonly noOverwriteDirNonDir: boolean;
  /** Whose everything is; undefined: as the archive says. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** The directory itself gets the attributes that the archive has for it; otherwise it stays as it is. */
  readonly wholeDirectory: boolean;
  /** Nothing is there yet: what is made belongs to 0:0 without being given to it. */
  readonly empty: boolean;
  /** Absolute paths that go first, with what is below them. What is not there is passed over. */
  readonly remove?: readonly string[];
  /** The answer tells what was made, entry by entry. */
  readonly report?: boolean;
}

/** An entry of an archive that was unpacked. */
export interface MadeEntry {
  /** Absolute, in the tree. */
  readonly path: string;
  /** Type, mode, and digest or link target: equal for equal entries, whatever their times. Begins with the type of the archive's entry. */
  readonly content: string;
  /** Bytes of a file. */
  readonly size: number;
}

/** What an unpacked archive was. */
export interface UnpackResult {
  /** `sha256:…` of the archive as it came (compressed, if it was); "" for a growing file, which its writer verifies. */
  readonly digest: string;
  /** `sha256:…` of the uncompressed archive; "" when nobody has asked. */
  readonly diffId: string;
  /** Bytes of the archive as it came. */
  readonly archiveBytes: number;
  /** Bytes of the files in it. */
  readonly size: number;
  readonly entries: number;
  /** Device nodes that were left out: mknod is refused in a user namespace. At most {@link MAX_REPORTED}. */
  readonly skippedDevices: readonly string[];
  /** Extended attributes that the kernel or the file system refused. */
  readonly skippedXattrs: number;
  /** Where {@link UnpackInto.report} asks for it; of a name that came twice, what it is in the end. */
  readonly made?: readonly MadeEntry[];
}

export const MAX_REPORTED = 100;

/** Tells the thread to close what it has open, and to end: ended from outside it would leave that behind. */
export const END = "end";

/** An order to the worker. The archive is a part of a file, the read end of a pipe, or a file that is being written. */
export interface WorkerJob {
  readonly kind: "unpack";
  readonly id: number;
  readonly source:
    | { readonly kind: "file"; readonly path: string; readonly offset: number; readonly length: number }
    | { readonly kind: "pipe"; readonly fd: number }
    | { readonly kind: "growing"; readonly fd: number; readonly growth: SharedArrayBuffer };
  /** Existing directory that becomes the worker's root. */
  readonly dir: string;
  readonly whiteouts: WhiteoutFormat;
  readonly ignoreChownErrors: boolean;
  readonly allowMissingEnd: boolean;
  /** False: digests are not asked for, and "". */
  readonly digests: boolean;
  /** undefined: a layer. */
  readonly into?: UnpackInto;
  readonly limits: UnpackLimits;
  /** One Int32: not 0 = give up. */
  readonly abort: SharedArrayBuffer;
}

export type WorkerAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "done"; readonly id: number; readonly result: UnpackResult }
  | { readonly kind: "failed"; readonly id: number; readonly fault: WorkerFault };

/** An exception in a form that crosses threads. */
export interface WorkerFault {
  readonly message: string;
  /** The archive is bad (`invalid`), or the machine failed (`system`). */
  readonly errorKind: "invalid" | "system" | "aborted";
  readonly hint: string | undefined;
}
