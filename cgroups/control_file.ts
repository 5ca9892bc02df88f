/** The kernel's control files: small texts, each read and written by one system call. */
import { O_WRONLY } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import { kernel } from "../ffi/kernel.ts";

/** One write(2). @throws {SysError} with the file's path. */
export function writeControl(path: string, value: string): void {
  const fd = kernel.open(path, O_WRONLY);
  try {
    kernel.write(fd, new TextEncoder().encode(value));
  } catch (error) {
    if (error instanceof SysError) throw new SysError(error.op, error.errno, path);
    throw error;
  } finally {
    kernel.close(fd);
  }
}

/** Text of a control file; undefined when it is not there, any more or at all. */
export function readControl(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

/**
 * Flat keyed files: `usage_usec 12` in each line. Numbers only; "max" is Infinity.
 *
 * @param wanted the keys that count; absent: all.
 */
export function flatKeyed(text: string, wanted?: ReadonlySet<string>): Record<string, number> {
  const values: Record<string, number> = {};
  for (let at = 0; at < text.length;) {
    let end = text.indexOf("\n", at);
    if (end < 0) end = text.length;
    const space = text.indexOf(" ", at);
    if (space > 0 && space < end) {
      const key = text.slice(at, space);
      if (wanted?.has(key) ?? true) values[key] = controlNumber(text.slice(space + 1, end));
    }
    at = end + 1;
  }
  return values;
}

/** Nested keyed files: `254:0 rbytes=1 wbytes=2` in each line, by the first word. */
export function nestedKeyed(text: string): Record<string, Record<string, number>> {
  const values: Record<string, Record<string, number>> = {};
  for (const line of text.split("\n")) {
    const [key, ...pairs] = line.split(" ");
    if (key === undefined || key === "") continue;
    const inner: Record<string, number> = {};
    for (const pair of pairs) {
      const equals = pair.indexOf("=");
      if (equals > 0) inner[pair.slice(0, equals)] = controlNumber(pair.slice(equals + 1));
    }
    values[key] = inner;
  }
  return values;
}

/** A single value: "max" is Infinity, nothing is NaN. */
export function controlNumber(text: string): number {
  const word = text.trim();
  return word === "max" ? Infinity : word === "" ? NaN : Number(word);
}

/** Words of a list as in cgroup.controllers. */
export function words(text: string | undefined): string[] {
  return (text ?? "").split(/\s+/).filter((word) => word !== "");
}
