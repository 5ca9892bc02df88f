/**
 * Lexically clean path, as Go's filepath.Clean: no "//", ".", no ".." that text alone can resolve, no slash at the end;
 * "." for nothing. (node:path would cost milliseconds at every start of the command line.)
 */
export function cleanPath(path: string): string {
  const absolute = path.startsWith("/");
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (!absolute) parts.push("..");
  }
  return (absolute ? "/" : "") + parts.join("/") || ".";
}
