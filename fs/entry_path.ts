import { EngineError } from "../base/errors.ts";

/** Matches a component that cleaning changes: empty, "." or "..". */
const UNCLEAN = /(?:^|\/)\.{0,2}(?:\/|$)/;

/**
 * The absolute path of an archive's name in its own root: `./usr//lib/` is `/usr/lib`, the root itself is `/`.
 *
 * @throws {EngineError} invalid when `..` leads out of the root, or the name is empty or holds a NUL.
 */
export function cleanEntryPath(name: string): string {
  if (name === "" || name.includes("\0")) {
    throw new EngineError("invalid", "archive holds an entry without a name");
  }
  const start = name.startsWith("./") ? 2 : 0;
  const end = name.endsWith("/") ? name.length - 1 : name.length;
  const plain = name.slice(start, Math.max(start, end));
  if (plain === "") return "/";
  if (!UNCLEAN.test(plain)) return `/${plain}`;
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) {
      throw new EngineError("invalid", `${JSON.stringify(name)} is outside of the archive's root`);
    }
  }
  return `/${parts.join("/")}`;
}
