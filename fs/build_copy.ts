/** COPY, ADD and WORKDIR on trees of files, by the threads of {@link TreeThreads}. */
import { closeAll, isArchive, type OpenFile, readFrom } from "./build_archive.ts";
import type { CopyOptions, CopyResult, CopySource, FileSelection } from "./build_job.ts";
import { decompress, GrowthGuard, sniff } from "./compression/mod.ts";
import type { ViewSpec } from "./tree_job.ts";
import type { TreeThreads } from "./tree_threads.ts";

export type { CopyOptions, CopyResult, CopySource, FileSelection, SourceTree } from "./build_job.ts";

/**
 * Digest of what a copy of these files would take, `sha256:…`: what a cache key is made of. Times are no part of it.
 *
 * @throws {EngineError} not-found: `"/nope": not found`
 */
export async function digestFiles(
  threads: TreeThreads,
  selection: FileSelection,
  signal?: AbortSignal,
): Promise<string> {
  return await threads.run({ op: "digest", selection }, signal);
}

/**
 * Copies into a writable view, in BuildKit's way: contents of directories, links in the destination resolved inside its root,
 * missing directories made. Archives among the sources are unpacked where that is asked for; their owners and modes are the
 * archives' own.
 *
 * @param dest absolute; ends in "/" when it must be a directory.
 * @throws {EngineError} not-found: `"/nope": not found`; invalid: `cannot copy to non-directory: /x`
 */
export async function copyFiles(
  threads: TreeThreads,
  view: ViewSpec,
  dest: string,
  sources: readonly CopySource[],
  options: CopyOptions,
  signal?: AbortSignal,
): Promise<CopyResult> {
  const work = new CopyWork(threads, view, dest, options, signal);
  for (const source of sources) {
    if (source.kind === "files" && source.unpack === "auto" && !source.parents) {
      await work.unpackOrCopy(source);
    } else work.pending.push(source);
  }
  await work.flush();
  return work.result;
}

/** WORKDIR: makes a directory where it is missing; `entries` of the answer is 0 when it was there. */
export async function makeDirectory(
  threads: TreeThreads,
  view: ViewSpec,
  path: string,
  options: CopyOptions,
  signal?: AbortSignal,
): Promise<CopyResult> {
  return await threads.run({ op: "mkdir", view, path, options }, signal);
}

/** The sources of one instruction, in their order. */
class CopyWork {
  readonly #threads: TreeThreads;
  readonly #view: ViewSpec;
  readonly #dest: string;
  readonly #options: CopyOptions;
  readonly #signal: AbortSignal | undefined;
  /** What is copied by one order. */
  readonly pending: CopySource[] = [];
  result: CopyResult = { entries: 0, bytes: 0 };

  constructor(
    threads: TreeThreads,
    view: ViewSpec,
    dest: string,
    options: CopyOptions,
    signal: AbortSignal | undefined,
  ) {
    this.#threads = threads;
    this.#view = view;
    this.#dest = dest;
    this.#options = options;
    this.#signal = signal;
  }

  async flush(): Promise<void> {
    if (this.pending.length === 0) return;
    const sources = this.pending.splice(0);
    const order = {
      op: "copy",
      view: this.#view,
      dest: this.#dest,
      sources,
      options: this.#options,
    } as const;
    this.#add(await this.#threads.run(order, this.#signal));
  }

  async unpackOrCopy(source: Extract<CopySource, { kind: "files" }>): Promise<void> {
    const { kind: _, unpack: __, ...selection } = source;
    const opened = [...await this.#threads.run({ op: "open", selection }, this.#signal)];
    // one selection for paths that follow each other, for each has its tree opened
    let patterns: string[] = [];
    const copyAlong = () => {
      if (patterns.length > 0) this.pending.push({ ...source, patterns, wildcards: false, unpack: "never" });
      patterns = [];
    };
    try {
      for (let one = opened.shift(); one !== undefined; one = opened.shift()) {
        using file = one.fd === undefined ? undefined : readFrom(one.fd);
        if (file === undefined || !await isArchive(file.chunks(this.#signal))) patterns.push(one.path);
        else {
          copyAlong();
          await this.#unpack(file);
        }
      }
      copyAlong();
    } finally {
      closeAll(opened);
    }
  }

  async #unpack(file: OpenFile): Promise<void> {
    await this.flush();
    const view = this.#view;
    this.#add(await makeDirectory(this.#threads, view, this.#dest, this.#options, this.#signal));
    const { compression, chunks } = await sniff(file.chunks(this.#signal));
    const guard = new GrowthGuard();
    const options = {
      noOverwriteDirNonDir: false,
      owner: undefined,
      readOnlyRoot: false,
      wholeDirectory: true,
      volumes: [],
    };
    await this.#threads.extract(
      { op: "extract", view, path: this.#dest, options },
      guard.output(decompress(compression, guard.input(chunks))),
      this.#signal,
    );
    this.#add({ entries: 1, bytes: 0 });
  }

  #add({ entries, bytes }: CopyResult): void {
    this.result = { entries: this.result.entries + entries, bytes: this.result.bytes + bytes };
  }
}
