/** Files that are uploaded. */

import { CliError } from "./errors.ts";
import { goErrno } from "../base/go_errno.ts";

const READ_SIZE = 256 * 1024;

/** Opens `path`; the file is closed when its bytes are read or the reader leaves. Throws `CliError`. */
export function openInput(path: string): AsyncIterable<Uint8Array> {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path);
    if (file.statSync().isDirectory) throw new Deno.errors.IsADirectory("is a directory");
  } catch (error) {
    throw new CliError(`open ${path}: ${goErrno(error)}`);
  }
  return readFile(file);
}

async function* readFile(file: Deno.FsFile): AsyncGenerator<Uint8Array, void, void> {
  using _file = file;
  const space = new Uint8Array(READ_SIZE);
  for (;;) {
    const n = await file.read(space);
    if (n === null) return;
    // The client writes all of it before it asks for more.
    yield space.subarray(0, n);
  }
}
