import type { OverlaySpec, RootfsSpec } from "../runtime/spec.ts";
import type { BuildOrder, BuildResults } from "./build_job.ts";
import type { DiffEntry, DiffSource } from "./diff.ts";

/** A mount that belongs into the view of a container that does not run. */
export interface ViewMount {
  /** Inside the container: untrusted. */
  readonly target: string;
  /** Host path for a bind, or layers. */
  readonly source: string | OverlaySpec;
  readonly readOnly: boolean;
}

/**
 * A container's files as `cp` and `export` see them: its root and the mounts that were asked for, but nothing of the
 * kernel's (/proc, /sys, /dev), whose magic links lead out of any root.
 */
export type ViewSpec =
  & {
    /** Existing directory that the root is mounted at, in a mount namespace of the thread's own. */
    readonly at: string;
  }
  & (
    | {
      readonly kind: "process";
      /** A process of the running container, in its mount namespace. */
      readonly pid: number;
      readonly startTime: string;
      /** Mount points to take over with the root, parents first. */
      readonly targets: readonly string[];
    }
    | {
      readonly kind: "rootfs";
      readonly rootfs: RootfsSpec;
      readonly mounts: readonly ViewMount[];
      /** False: mount points that are missing are not made. */
      readonly writable: boolean;
    }
  );

/** What a path in a container is, as `X-Docker-Container-Path-Stat` tells. */
export interface PathStat {
  readonly name: string;
  readonly size: number;
  /** As of stat(2). */
  readonly mode: number;
  readonly mtime: readonly [seconds: number, nanoseconds: number];
  /** Where a symbolic link leads in the end, as a path in the container; "" for anything else. */
  readonly linkTarget: string;
}

export interface ExtractOptions {
  /** Refuse to put a directory in the place of something else, or the other way round. */
  readonly noOverwriteDirNonDir: boolean;
  /** Everything belongs to this user of the container: "name", "uid", "uid:gid"…; undefined: as the archive says. */
  readonly owner: string | undefined;
  readonly readOnlyRoot: boolean;
  /** The archive says as well whose the directory is, and its mode. */
  readonly wholeDirectory?: boolean;
  /** Mounts of the container. */
  readonly volumes: readonly { readonly target: string; readonly readOnly: boolean }[];
}

/** What the thread is to do. */
export type TreeOrder =
  | { readonly op: "stat"; readonly view: ViewSpec; readonly path: string }
  /** Answers the stat first, then chunks of a tar archive. */
  | { readonly op: "archive"; readonly view: ViewSpec; readonly path: string }
  | { readonly op: "export"; readonly view: ViewSpec }
  /** Takes chunks of a tar archive. */
  | {
    readonly op: "extract";
    readonly view: ViewSpec;
    readonly path: string;
    readonly options: ExtractOptions;
  }
  | { readonly op: "changes"; readonly source: DiffSource }
  /** Writes the difference as a layer's tar archive to a new file. */
  | {
    readonly op: "layer";
    readonly source: DiffSource;
    readonly file: string;
    /** No file is dated later: seconds since 1970. */
    readonly latest?: number | undefined;
  }
  /** Mounts an overlay at a directory in the engine's own mount namespace, from a thread whose working directory is its own. */
  | { readonly op: "mount"; readonly overlay: OverlaySpec; readonly target: string }
  /** Makes a writable directory fit to be a layer itself, see `sealLayer`. `latest`: no file is dated later, seconds since 1970. */
  | {
    readonly op: "seal";
    readonly source: Extract<DiffSource, { kind: "union" }>;
    readonly latest: number | undefined;
  }
  /** See `linkLayer`. */
  | { readonly op: "link"; readonly from: string; readonly to: string }
  | BuildOrder;

export interface LayerFile {
  /** `sha256:…` of the archive. */
  readonly diffId: string;
  /** Bytes of the archive. */
  readonly length: number;
  /** Bytes of the files in it. */
  readonly size: number;
  readonly entries: number;
}

export type Change = Pick<DiffEntry, "path" | "kind">;

/** What an order answers in the end. */
export interface TreeResults extends BuildResults {
  readonly stat: PathStat;
  readonly archive: null;
  readonly export: null;
  readonly extract: null;
  readonly changes: readonly Change[];
  readonly layer: LayerFile;
  readonly seal: LayerFile;
  readonly mount: null;
  readonly link: null;
}

export type ToTreeWorker =
  /** `flow`: two Int32: chunks that may still be sent, and whether to give up. */
  | { readonly kind: "order"; readonly order: TreeOrder; readonly flow: SharedArrayBuffer }
  | { readonly kind: "chunk"; readonly chunk: Uint8Array<ArrayBuffer> }
  | { readonly kind: "eof" }
  | { readonly kind: "abort" }
  /** Nothing more will come. */
  | { readonly kind: "end" };

export type FromTreeWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "stat"; readonly stat: PathStat }
  | { readonly kind: "chunk"; readonly chunk: Uint8Array }
  /** An input chunk has been worked off; its memory comes back. */
  | { readonly kind: "taken"; readonly buffer: ArrayBuffer }
  | { readonly kind: "done"; readonly result: TreeResults[keyof TreeResults] }
  | { readonly kind: "failed"; readonly fault: TreeFault };

export interface TreeFault {
  readonly message: string;
  readonly errorKind: "invalid" | "not-found" | "system" | "aborted";
}

/** Places in `flow`. */
export const CREDIT = 0;
export const GIVE_UP = 1;
/** Chunks under way in either direction. */
export const WINDOW = 4;
