/** Archives that are written to a file or to standard output. */
import { dirName } from "./copy/paths.ts";
import { goErrno } from "../base/go_errno.ts";
import { CliError } from "./errors.ts";
import { writeStream } from "./stdio.ts";

/** Refuses a terminal, and a file that cannot be made. @param doing what the error begins with */
export function checkOutput(path: string, doing: string): void {
  if (path === "") {
    if (!Deno.stdout.isTerminal()) return;
    throw new CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect");
  }
  const problem = refusalOf(path);
  if (problem !== undefined) throw new CliError(`${doing}: ${problem}`);
}

/** Why no file can take this name, in Docker's words (github.com/moby/sys/atomicwriter); undefined when one can. */
function refusalOf(path: string): string | undefined {
  const slash = path.lastIndexOf("/");
  const dir = slash < 0 ? "." : path.slice(0, slash) || "/";
  try {
    if (!Deno.statSync(dir).isDirectory) return `invalid output path: stat ${dir}: not a directory`;
  } catch (error) {
    return `invalid output path: stat ${dir}: ${goErrno(error)}`;
  }
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    return error instanceof Deno.errors.NotFound
      ? undefined
      : `failed to stat output path: ${goErrno(error)}`;
  }
  if (info.isFile) return undefined;
  return `cannot write to ${
    info.isDirectory
      ? "a directory"
      : info.isSymlink
      ? "a symbolic link directly"
      : info.isFifo
      ? "a named pipe (FIFO)"
      : info.isSocket
      ? "a socket"
      : info.isCharDevice
      ? "a character device file"
      : "a block device file"
  }`;
}

/** Writes all of it; a file takes its name only when it is whole. */
export async function writeOutput(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  if (path === "") {
    for await (const chunk of chunks) await writeStream(Deno.stdout, chunk);
    return;
  }
  const temporary = `${dirName(path)}/.berth_temp_${crypto.randomUUID()}`;
  try {
    using file = await Deno.open(temporary, { write: true, createNew: true, mode: 0o600 });
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
    }
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    if (error instanceof Deno.errors.PermissionDenied) throw new CliError(`open ${path}: ${goErrno(error)}`);
    throw error;
  }
}
