/** What the front end makes of a Dockerfile: instructions as they are written, and operations as they are to be done. */
import type { ContainerDefaults } from "../types.ts";

/** Where something stands in a Dockerfile. Lines count from 1. */
export interface SourceRange {
  readonly startLine: number;
  readonly endLine: number;
}

export interface Heredoc {
  /** The word after `<<`, without quotes. */
  readonly name: string;
  /** As it stands in the file, with tabs that `<<-` is to take away. */
  readonly content: string;
  /** False when the word was quoted. */
  readonly expand: boolean;
  /** `<<-`: tabs at the beginning of lines do not count. */
  readonly stripTabs: boolean;
  /** For what it is written to: 0 unless `N<<EOF`. */
  readonly fileDescriptor: number;
}

export interface Flag {
  readonly name: string;
  /** undefined: `--link` without a value. */
  readonly value: string | undefined;
}

/** One instruction, nothing in it expanded yet. */
export interface Instruction {
  /** Upper case: "RUN". */
  readonly keyword: string;
  /** As it was written: "run". */
  readonly written: string;
  /** As it was written, continued lines joined with the spaces that they begin with: what progress shows. */
  readonly original: string;
  readonly flags: readonly Flag[];
  /** All after keyword and flags, continued lines joined, without comments. */
  readonly rest: string;
  /** `rest` as words; of an instruction in JSON form the strings of its list. */
  readonly words: readonly string[];
  readonly json: boolean;
  readonly heredocs: readonly Heredoc[];
  /** The comment lines right above, without `#`. */
  readonly comments: readonly string[];
  readonly range: SourceRange;
}

export interface Stage {
  readonly index: number;
  /** Lower case; undefined: has no name. */
  readonly name: string | undefined;
  /** As written after FROM, before expansion: an image, a stage's name, or "scratch". */
  readonly base: string;
  readonly platform: string | undefined;
  readonly from: Instruction;
  readonly instructions: readonly Instruction[];
}

/** Docker's build checks: rule and text as it words them. */
export interface LintWarning {
  /** "StageNameCasing", "FromAsCasing", … */
  readonly rule: string;
  readonly description: string;
  readonly url: string;
  readonly message: string;
  readonly range: SourceRange;
}

export interface Dockerfile {
  /** Name for messages. */
  readonly name: string;
  readonly text: string;
  /** `# syntax=`, `# escape=`, `# check=`; lower case names. */
  readonly directives: Readonly<Record<string, string>>;
  readonly escape: "\\" | "`";
  /** ARG before the first FROM. */
  readonly globalArgs: readonly Instruction[];
  readonly stages: readonly Stage[];
  /** Where instructions end that have empty lines in the middle, which Docker warns of. */
  readonly emptyContinuations: readonly SourceRange[];
}

// --- operations

export type RunMount =
  | {
    readonly type: "bind";
    readonly target: string;
    readonly source: string;
    /** Stage, image or named context; undefined: the build context. */
    readonly from: string | undefined;
    readonly readWrite: boolean;
  }
  | {
    readonly type: "cache";
    readonly id: string;
    readonly target: string;
    readonly source: string;
    readonly from: string | undefined;
    readonly readOnly: boolean;
    readonly sharing: "shared" | "private" | "locked";
    readonly mode: number;
    readonly uid: number;
    readonly gid: number;
  }
  | { readonly type: "tmpfs"; readonly target: string; readonly size: number | undefined }
  | {
    readonly type: "secret";
    readonly id: string;
    /** Path of the file; undefined: only the environment variable. */
    readonly target: string | undefined;
    readonly env: string | undefined;
    readonly required: boolean;
    readonly mode: number;
    readonly uid: number;
    readonly gid: number;
  }
  | {
    readonly type: "ssh";
    readonly id: string;
    readonly target: string | undefined;
    readonly required: boolean;
    readonly mode: number;
    readonly uid: number;
    readonly gid: number;
  };

/** Where COPY, ADD and mounts take files from. */
export type SourceRef =
  | { readonly kind: "context" }
  /** Index of a stage that stands before. */
  | { readonly kind: "stage"; readonly index: number }
  /** `--build-context name=…` */
  | { readonly kind: "named"; readonly name: string }
  | { readonly kind: "image"; readonly reference: string };

export type CopyItem =
  /** A path, maybe with wildcards (Go's filepath.Match), in the source. */
  | { readonly kind: "path"; readonly pattern: string }
  /** A heredoc. */
  | { readonly kind: "inline"; readonly name: string; readonly content: string }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "git"; readonly url: string };

interface OpBase {
  /** What history says in created_by, in BuildKit's words: "RUN /bin/sh -c make # buildkit". "": no entry (ONBUILD). */
  readonly createdBy: string;
  /** What progress shows: "RUN make". */
  readonly title: string;
  readonly range: SourceRange;
}

export interface RunOp extends OpBase {
  readonly kind: "run";
  /** Whole argument list, shell included. */
  readonly args: readonly string[];
  /** The process's environment: ENV and build arguments in scope. "NAME=value". */
  readonly env: readonly string[];
  /** HTTP_PROXY and its like, of build arguments that the Dockerfile does not declare: in the environment too, unless `env` has them, and no
   * part of the cache's key. "NAME=value", upper and lower case. */
  readonly proxyEnv: readonly string[];
  readonly user: string;
  readonly cwd: string;
  readonly mounts: readonly RunMount[];
  readonly network: "default" | "none" | "host";
  readonly security: "sandbox" | "insecure";
  /** Files that are there for the command only: heredocs that begin with "#!" (BuildKit has them in /dev/pipes). */
  readonly scripts: readonly { readonly path: string; readonly content: string }[];
}

export interface CopyOp extends OpBase {
  readonly kind: "copy";
  readonly add: boolean;
  readonly from: SourceRef;
  readonly items: readonly CopyItem[];
  /** Absolute; ends in "/" when it must be a directory. */
  readonly dest: string;
  readonly chown: string | undefined;
  /** Octal ("755") or symbolic ("u=rwX,go=rX"). */
  readonly chmod: string | undefined;
  readonly link: boolean;
  readonly parents: boolean;
  readonly exclude: readonly string[];
  /** ADD of a local archive. `--unpack` may say otherwise. */
  readonly unpack: boolean | undefined;
  /** "sha256:…" of a remote file. */
  readonly checksum: string | undefined;
  readonly keepGitDir: boolean;
}

/** Makes the directory when it is missing, as the stage's user. */
export interface WorkdirOp extends OpBase {
  readonly kind: "workdir";
  readonly path: string;
  readonly user: string;
}

/** Changes the configuration only. */
export interface ConfigOp extends OpBase {
  readonly kind: "config";
}

export type BuildOp = RunOp | CopyOp | WorkdirOp | ConfigOp;

/** What a stage has come to: the configuration of an image to be, and what only counts while building. */
export interface StageState {
  readonly config: ContainerDefaults;
  readonly author: string;
  /** Build arguments that are in scope, with values; they are in the environment of RUN. */
  readonly args: ReadonlyMap<string, string>;
  /** All variables of the process that RUN starts, "NAME=value": ENV's and build arguments. */
  readonly env: readonly string[];
}
