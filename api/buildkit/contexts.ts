import { MOST_LISTED_FILES } from "../../base/build_session.ts";
import { readDockerignore } from "../../base/dockerignore.ts";
import { EngineError } from "../../base/errors.ts";
import type { Builder, ContextUpdate, DirectoryContext, NamedContext } from "../../engine/build/types.ts";
import { stateOf, type TreeReceiver } from "./diff_copy.ts";
import type { ContextSource, FrontendOptions } from "./frontend_options.ts";
import { CODE, GrpcError } from "./grpc.ts";
import type { Progress } from "./progress.ts";
import type { Stat } from "./protocol.ts";
import type { FileSelection, Session } from "./session.ts";

/** Who has the files. */
export type FileSource = Pick<Session, "files" | "upload" | "sharedKey">;

/** Directories that a build's files are put into. */
export class Contexts {
  readonly #builder: Builder;
  readonly #files: FileSource;
  readonly #progress: Progress;
  readonly #signal: AbortSignal;
  readonly #held = new DisposableStack();

  constructor(builder: Builder, files: FileSource, progress: Progress, signal: AbortSignal) {
    this.#builder = builder;
    this.#files = files;
    this.#progress = progress;
    this.#signal = signal;
  }

  async load(options: Pick<FrontendOptions, "filename" | "context" | "dockerfileDirectory">): Promise<{
    readonly dockerfile: { readonly name: string; readonly text: string };
    readonly context: DirectoryContext;
  }> {
    const { filename, dockerfileDirectory: directory } = options;
    const ignoreName = `${filename}.dockerignore`;
    let path: string;
    let own: string | undefined;
    if (directory === undefined) {
      path = await this.#remote("context", options.context);
    } else {
      const lower = filename.replace(/(^|\/)Dockerfile$/, "$1dockerfile");
      path = await this.#progress.step(
        `[internal] load build definition from ${filename}`,
        "transferring dockerfile:",
        (bytes) => this.#receive({ directory, follow: [...new Set([filename, ignoreName, lower])] }, bytes),
      );
      own = await this.#builder.readContextFile(path, ignoreName);
    }
    const text = await this.#dockerfile(path, filename);
    const context: DirectoryContext = directory === undefined
      ? { kind: "directory", path }
      : await this.#context(options.context, own);
    return { dockerfile: { name: filename, text }, context };
  }

  async #dockerfile(path: string, filename: string): Promise<string> {
    const lower = filename.replace(/(^|\/)Dockerfile$/, "$1dockerfile");
    const text = await this.#builder.readContextFile(path, filename) ??
      (lower === filename ? undefined : await this.#builder.readContextFile(path, lower));
    if (text === undefined) {
      const base = filename.slice(filename.lastIndexOf("/") + 1);
      throw new GrpcError(CODE.unknown, `failed to read dockerfile: open ${base}: no such file or directory`);
    }
    return text;
  }

  /** @param ignore lines of the Dockerfile's own `.dockerignore`, if there is one. */
  async #context(source: ContextSource, ignore: string | undefined): Promise<DirectoryContext> {
    if (source.kind !== "local") return { kind: "directory", path: await this.#remote("context", source) };
    const { directory } = source;
    const lines = ignore ?? await this.#progress.step(
      "[internal] load .dockerignore",
      "transferring context:",
      async (bytes) => {
        const path = await this.#receive({ directory, follow: [".dockerignore"] }, bytes);
        return await this.#builder.readContextFile(path, ".dockerignore");
      },
    );
    return await this.#progress.step(
      "[internal] load build context",
      "transferring context:",
      (bytes) => this.#update({ directory, exclude: readDockerignore(lines ?? "") }, bytes),
    );
  }

  async named(name: string, source: ContextSource): Promise<NamedContext> {
    if (source.kind === "image") return source;
    if (source.kind !== "local") return { kind: "directory", path: await this.#remote(name, source) };
    return await this.#progress.step(
      `[context ${name}] load from client`,
      "transferring context:",
      (bytes) => this.#update({ directory: source.directory }, bytes),
    );
  }

  async #receive(selection: FileSelection, bytes: (count: number) => void): Promise<string> {
    using transfer = this.#files.files(selection, this.#signal, bytes);
    return await this.#whole(transfer.receiver);
  }

  async #whole(receiver: Pick<TreeReceiver, "archive">): Promise<string> {
    const path = this.#directory();
    await this.#builder.unpackContext(path, receiver.archive(), this.#signal);
    return path;
  }

  /** Asks for what an earlier build has not left. */
  async #update(selection: FileSelection, bytes: (count: number) => void): Promise<DirectoryContext> {
    using transfer = this.#files.files(selection, this.#signal, bytes);
    const { receiver } = transfer;
    const now = Date.now() * 1e6;
    const stats = await receiver.list(MOST_LISTED_FILES);
    const update = stats === undefined ? undefined : this.#open(selection.directory, stats, now);
    if (update === undefined) return { kind: "directory", path: await this.#whole(receiver) };
    const content = await update.receive(receiver.archive(new Set(update.wanted)), this.#signal);
    return { kind: "directory", path: update.path, content };
  }

  /** @returns undefined: there are names that no list of ours has. Whoever unpacks them says what is wrong with them, if something is. */
  #open(directory: string, stats: readonly Stat[], now: number): ContextUpdate | undefined {
    const origin = `${directory} of ${this.#files.sharedKey || "a client"}`;
    const files = stats.map((stat) => ({ path: stat.path, state: stateOf(stat, now) }));
    try {
      return this.#held.use(this.#builder.openContext(origin, files));
    } catch (error) {
      if (error instanceof EngineError && error.kind === "invalid") return undefined;
      throw error;
    }
  }

  async #remote(name: string, source: ContextSource): Promise<string> {
    const path = this.#directory();
    if (source.kind === "upload") {
      await this.#progress.step(`[${name}] load from client`, "transferring context:", async (bytes) => {
        const upload = counted(this.#files.upload(source.path, this.#signal), bytes);
        await this.#builder.unpackContext(path, upload, this.#signal);
      });
      return path;
    }
    if (source.kind !== "remote") throw new GrpcError(CODE.invalidArgument, `invalid context ${name}`);
    await this.#progress.step(
      "[internal] load remote build context",
      source.url,
      () => this.#builder.fetchContext(path, source.url, this.#signal),
    );
    return path;
  }

  #directory(): string {
    const made = this.#builder.newContextDirectory();
    this.#held.defer(() => made.dispose());
    return made.path;
  }

  dispose(): void {
    this.#held.dispose();
  }
}

/** The same chunks; their bytes are counted. */
export async function* counted(chunks: AsyncIterable<Uint8Array>, bytes: (count: number) => void) {
  let count = 0;
  for await (const chunk of chunks) {
    count += chunk.length;
    bytes(count);
    yield chunk;
  }
}
