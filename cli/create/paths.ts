/** Paths as Go's filepath package treats them; node:path would cost milliseconds at every start. */

/** Shortest equal path: no empty, "." or resolvable ".." parts. */
export function cleanPath(path: string): string {
  const absolute = path.startsWith("/");
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (!absolute) parts.push(part);
  }
  return (absolute ? "/" : "") + parts.join("/") || (absolute ? "/" : ".");
}

/** Absolute form of a path relative to the working directory. */
export function absolutePath(path: string): string {
  return cleanPath(path.startsWith("/") ? path : `${Deno.cwd()}/${path}`);
}
