/** Files of `KEY=value` lines: `--env-file` and `--label-file`. */

import { goErrno } from "../../base/go_errno.ts";

/**
 * Reads files in order and appends `given`, so that values on the command line win.
 *
 * @param lookup finds the value of a key without "="; a key it does not know is left out. Without `lookup` all are.
 * @throws Error with docker's text, the path included.
 */
export function readPairs(
  files: readonly string[],
  given: readonly string[],
  lookup?: (key: string) => string | undefined,
): string[] {
  const pairs = files.flatMap((path) => {
    const bytes = readFile(path);
    try {
      return parsePairs(bytes, lookup);
    } catch (error) {
      throw new Error(`invalid env file (${path}): ${error instanceof Error ? error.message : error}`);
    }
  });
  return [...pairs, ...given];
}

function readFile(path: string): Uint8Array {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    throw new Error(`open ${path}: ${goErrno(error)}`);
  }
}

function parsePairs(bytes: Uint8Array, lookup?: (key: string) => string | undefined): string[] {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("invalid utf8 bytes");
  }
  const pairs: string[] = [];
  for (const raw of text.split("\n")) {
    const line = raw.replace(/\r$/, "").trimStart();
    if (line === "" || line.startsWith("#")) continue;
    const equals = line.indexOf("=");
    const key = equals < 0 ? line : line.slice(0, equals);
    if (key === "") throw new Error(`no variable name on line '${line}'`);
    if (/[ \t]/.test(key)) throw new Error(`variable '${key}' contains whitespaces`);
    if (equals >= 0) pairs.push(line);
    else {
      const value = lookup?.(key);
      if (value !== undefined) pairs.push(`${key}=${value}`);
    }
  }
  return pairs;
}
