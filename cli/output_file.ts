/** Archives that are written to a file or to standard output. */
import { checkOutputPath } from "./copy/local_files.ts";
import { dirName } from "./copy/paths.ts";
import { goErrno } from "./create/env_file.ts";
import { CliError } from "./errors.ts";
import { writeStream } from "./stdio.ts";

/** Refuses a terminal, and a file that cannot be made. @param doing what the error begins with */
export function checkOutput(path: string, doing: string): void {
  if (path === "") {
    if (!Deno.stdout.isTerminal()) return;
    throw new CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect");
  }
  try {
    checkOutputPath(path);
  } catch (error) {
    throw error instanceof CliError ? new CliError(`${doing}: ${error.message}`) : error;
  }
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
