/** Changing files that are bound into a running container: a file renamed over them would not be seen there. */
import { createHash } from "node:crypto";

/**
 * Gives a file a new content in place. One write carries all of it, padded with line ends to the old size until that is
 * cut off, so that whoever reads or kills in between finds a whole file of the same meaning.
 */
export function rewriteInPlace(path: string, text: string): void {
  const bytes = new TextEncoder().encode(text);
  using file = Deno.openSync(path, { write: true, create: true, mode: 0o644 });
  const padded = new Uint8Array(Math.max(bytes.length, file.statSync().size)).fill(0x0a);
  padded.set(bytes);
  for (let written = 0; written < padded.length;) written += file.writeSync(padded.subarray(written));
  file.truncateSync(bytes.length);
}

/**
 * Writes a container's resolv.conf, unless somebody else has changed it since: `hashPath` remembers what we have written.
 *
 * @returns whether the file is ours and now has this text.
 */
export function updateResolvConf(path: string, hashPath: string, text: string): boolean {
  const current = readText(path);
  if (current === text) return true;
  const known = (readText(hashPath) ?? "").split("\n");
  if (current !== undefined && !known.includes(hashOf(current))) return false;
  // both, and before the file: whichever content an interrupted write leaves, it is known as ours
  const hashes = [hashOf(text), ...(current === undefined ? [] : [hashOf(current)])];
  Deno.writeTextFileSync(`${hashPath}.tmp`, hashes.join("\n"), { mode: 0o600 });
  Deno.renameSync(`${hashPath}.tmp`, hashPath);
  rewriteInPlace(path, text);
  return true;
}

/** Padding at the end, which an interrupted rewriteInPlace() leaves, makes no difference. */
function hashOf(text: string): string {
  return createHash("sha256").update(text.replace(/\n+$/, "\n")).digest("hex");
}

function readText(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
