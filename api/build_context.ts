/** From what a client sends to a Dockerfile and the files beside it. */
import { cleanPath } from "../base/clean_path.ts";
import { EngineError, invalid } from "../base/errors.ts";
import { DockerIgnore, readDockerignore } from "../base/dockerignore.ts";
import type { Builder, BuildRequest } from "../engine/build/types.ts";

export interface ReceivedContext extends Disposable, Pick<BuildRequest, "dockerfile" | "context"> {}

interface Wanted {
  readonly dockerfile: string | undefined;
  readonly remote: string | undefined;
}

const IGNORE_FILE = ".dockerignore";
const DEFAULT_NAME = "Dockerfile";

/**
 * Takes a context: the body's archive, or what `remote` leads to. Disposing of it removes its files.
 *
 * @throws {EngineError} in Docker's words.
 */
export async function receiveContext(
  builder: Builder,
  body: AsyncIterable<Uint8Array>,
  { dockerfile, remote }: Wanted,
  signal: AbortSignal,
): Promise<ReceivedContext> {
  const directory = remote === undefined
    ? builder.newContextDirectory()
    : await fetchRemote(builder, remote, signal);
  try {
    if (remote === undefined) await builder.unpackContext(directory.path, body, signal);
    const found = await findDockerfile(builder, directory.path, dockerfile);
    await dropIgnored(builder, directory.path, found.name);
    return {
      dockerfile: found,
      context: { kind: "directory", path: directory.path },
      [Symbol.dispose]: () => directory.dispose(),
    };
  } catch (error) {
    directory.dispose();
    throw error;
  }
}

/** A directory with what an address leads to: a git repository, an archive or a Dockerfile. */
export async function fetchRemote(
  builder: Builder,
  url: string,
  signal: AbortSignal,
): Promise<{ readonly path: string; dispose(): void }> {
  const directory = builder.newContextDirectory();
  try {
    await builder.fetchContext(directory.path, url, signal);
    return directory;
  } catch (error) {
    directory.dispose();
    throw error;
  }
}

/** The Dockerfile of a context. @throws {EngineError} in Docker's words. */
export async function findDockerfile(
  builder: Builder,
  directory: string,
  name: string = DEFAULT_NAME,
): Promise<BuildRequest["dockerfile"]> {
  for (const one of name === DEFAULT_NAME ? [name, name.toLowerCase()] : [name]) {
    const text = await builder.readContextFile(directory, one);
    if (text === undefined) continue;
    if (text.trim() === "") throw invalid(`the Dockerfile (${one}) cannot be empty`);
    return { name: one, text };
  }
  throw new EngineError("system", `Cannot locate specified Dockerfile: ${name}`);
}

/**
 * A client leaves out what `.dockerignore` says, but has to send this file and the Dockerfile all the same. When they are ignored
 * themselves, they go now.
 */
async function dropIgnored(builder: Builder, directory: string, dockerfile: string): Promise<void> {
  const text = await builder.readContextFile(directory, IGNORE_FILE);
  if (text === undefined) return;
  const patterns = new DockerIgnore(readDockerignore(text));
  for (const file of [IGNORE_FILE, dockerfile]) {
    if (patterns.ignores(cleanPath(file))) await builder.removeContextFile(directory, file);
  }
}
