/** Paths as Go's filepath package treats them. */
import { cleanPath } from "../../base/clean_path.ts";

/** Absolute form of a path relative to the working directory. */
export function absolutePath(path: string): string {
  return cleanPath(path.startsWith("/") ? path : `${Deno.cwd()}/${path}`);
}
