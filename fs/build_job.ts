/** Orders of builds to the threads that work on trees of files. */
import type { RootfsSpec } from "../runtime/spec.ts";
import type { ViewMount, ViewSpec } from "./tree_job.ts";

/** Where files are taken from. Untrusted inside: no link and no path leads out of it. */
export type SourceTree =
  /** A context, a repository, what was downloaded. Everything in it counts as root's, as in Docker. */
  | { readonly kind: "directory"; readonly path: string }
  /** The files of a stage or of an image, which keep their owners. */
  | {
    readonly kind: "rootfs";
    /** Existing directory, to mount at in a mount namespace of the thread's own. */
    readonly at: string;
    /** An overlay without an upper directory, or a directory. */
    readonly rootfs: RootfsSpec;
    /** What is mounted in it: directories of this machine. */
    readonly mounts: readonly ViewMount[];
  };

/** Which files of a tree. */
export interface FileSelection {
  readonly tree: SourceTree;
  /** Paths from the tree's root, with the wildcards of Go's filepath.Match; a name without wildcards must exist. `..` stops at the root. */
  readonly patterns: readonly string[];
  /** False: `*`, `?` and `[` are part of the names (mounts). */
  readonly wildcards: boolean;
  /** `--parents`: the directories on the way come along (from `/./` on, if that is in the path); patterns may hold `**`. */
  readonly parents: boolean;
  /** `--exclude`: patterns of `.dockerignore`, from the directory that is copied. */
  readonly exclude: readonly string[];
}

export type CopySource =
  | (FileSelection & {
    readonly kind: "files";
    /** "auto": files that are tar archives, compressed or not, are unpacked. */
    readonly unpack: "never" | "auto";
  })
  /** A heredoc: a file with this content, mode 0644. */
  | { readonly kind: "inline"; readonly name: string; readonly content: string };

export interface CopyOptions {
  /** `--chown`: "user", "uid:gid"…; names are looked up in the destination. undefined: as the source says. */
  readonly chown: string | undefined;
  /** `--chmod`, octal or symbolic. */
  readonly chmod: string | undefined;
  /** Seconds since 1970: nothing that is made is younger. */
  readonly epoch: number | undefined;
  /** Keep going when an owner is outside of the user namespace (a namespace of one id only). */
  readonly ignoreChownErrors?: boolean;
}

/** What was made. */
export interface CopyResult {
  /** Files, directories and links that were made or replaced. */
  readonly entries: number;
  /** Bytes of files. */
  readonly bytes: number;
}

/** A path that a pattern came to. */
export interface OpenedPath {
  /** From the tree's root, without wildcards. */
  readonly path: string;
  /** Descriptor of a file that may be an archive, for whoever ordered it to close; undefined for everything else. */
  readonly fd: number | undefined;
}

export type BuildOrder =
  /** Answers `sha256:…` of everything that a copy would take: names, types, modes, owners, links' targets, attributes, contents. No times. */
  | { readonly op: "digest"; readonly selection: FileSelection }
  /** Sources in the order of the instruction; nothing is unpacked. `dest`: absolute, of a directory when it ends in "/". */
  | {
    readonly op: "copy";
    readonly view: ViewSpec;
    readonly dest: string;
    readonly sources: readonly CopySource[];
    readonly options: CopyOptions;
  }
  /** Makes a directory with those above it where they are missing, mode 0755. `result.entries` says how many. */
  | {
    readonly op: "mkdir";
    readonly view: ViewSpec;
    readonly path: string;
    readonly options: CopyOptions;
  }
  /** What patterns lead to. */
  | { readonly op: "open"; readonly selection: FileSelection };

export interface BuildResults {
  readonly digest: string;
  readonly copy: CopyResult;
  readonly mkdir: CopyResult;
  readonly open: readonly OpenedPath[];
}
