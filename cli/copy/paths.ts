/** Paths of `cp`: what a source and a destination mean together (go-archive, copy.go). */
import { cleanPath } from "../../base/clean_path.ts";
import { CliError } from "../errors.ts";

/** What is known of one end of a copy. */
export interface CopyEnd {
  readonly path: string;
  readonly exists: boolean;
  readonly isDirectory: boolean;
  /** The name that the user gave to what a link led to; "" for none. */
  readonly rebaseName: string;
}

export const baseName = (path: string): string => {
  const trimmed = path.replace(/\/+$/, "");
  if (trimmed === "") return path === "" ? "." : "/";
  return trimmed.slice(trimmed.lastIndexOf("/") + 1);
};

export const dirName = (path: string): string => cleanPath(path.slice(0, path.lastIndexOf("/") + 1));

export const endsInSlash = (path: string): boolean => path.endsWith("/");
export const meansContents = (path: string): boolean => baseName(path) === "." && !endsInSlash(path);

/** The path must be a directory's: it ends in a slash, or in ".". */
const assertsDirectory = (path: string): boolean => endsInSlash(path) || baseName(path) === ".";

/** Directory and last name; of `/a/b/.` these are `/a/b` and `.`. */
export function splitPath(path: string): { dir: string; base: string } {
  const clean = cleanPath(path);
  if (meansContents(path)) return { dir: clean, base: "." };
  return { dir: dirName(clean.includes("/") ? clean : `./${clean}`), base: baseName(clean) };
}

/** `/.` or a slash at the end of what the user wrote stays. */
export function keepEnding(clean: string, original: string): string {
  let path = clean;
  if (baseName(original) === "." && baseName(path) !== ".") {
    path = endsInSlash(path) ? `${path}.` : `${path}/.`;
  }
  if (endsInSlash(original) && !endsInSlash(path)) path += "/";
  return path;
}

/** An absolute path that ends as the user's. */
export function localPath(path: string): string {
  const absolute = path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
  return keepEnding(cleanPath(absolute), path);
}

export interface Plan {
  /** Directory that the archive is unpacked into. */
  readonly dir: string;
  /** Names of the archive that begin with `from` begin with `to`; undefined: they stay. */
  readonly rename: { readonly from: string; readonly to: string } | undefined;
}

/** Where an archive of `source` goes, and under which name, to be copied to `destination`. */
export function planCopy(source: CopyEnd, destination: CopyEnd): Plan {
  const { dir, base } = splitPath(destination.path);
  const from = splitPath(source.path).base;
  const archived = source.rebaseName === "" ? from : source.rebaseName;
  if (destination.exists && destination.isDirectory) return { dir: destination.path, rename: undefined };
  if (destination.exists && source.isDirectory) throw new CliError("cannot copy directory");
  if (!destination.exists && !source.isDirectory && assertsDirectory(destination.path)) {
    throw new CliError("no such directory");
  }
  return { dir, rename: { from: archived, to: base } };
}

export function renamed(name: string, rename: Plan["rename"]): string {
  if (rename === undefined) return name;
  const { from, to } = rename;
  if (from === "/" || from === "") return `${to}/${name.replace(/^\/+/, "")}`;
  if (name === from) return to;
  return name.startsWith(`${from}/`) ? to + name.slice(from.length) : name;
}

/** The name in the archive for what `path` was found to be at `resolved` by following links. */
export function rebaseNameOf(path: string, resolved: string): { resolved: string; rebaseName: string } {
  let found = resolved;
  let rebaseName = "";
  if (meansContents(path) && !meansContents(resolved)) found += "/.";
  if (endsInSlash(path) && !endsInSlash(resolved)) found += "/";
  if (baseName(path) !== baseName(found)) rebaseName = baseName(path);
  return { resolved: found, rebaseName };
}
