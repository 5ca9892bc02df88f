/** Local files as the two ends of a copy. */
import { cleanPath } from "../../base/clean_path.ts";
import { goErrno } from "../../base/go_errno.ts";
import { CliError } from "../errors.ts";
import { baseName, type CopyEnd, dirName, endsInSlash, rebaseNameOf, splitPath } from "./paths.ts";

const MAX_LINKS = 10;

function lstat(path: string): Deno.FileInfo | undefined {
  try {
    // a slash at the end would follow a link
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new CliError(`lstat ${path}: ${goErrno(error)}`);
  }
}

/** What a local source is. @param followLink the last name may be a link to it. */
export function localSource(given: string, followLink: boolean): CopyEnd {
  let path = given, rebaseName = "";
  try {
    if (followLink) {
      ({ resolved: path, rebaseName } = rebaseNameOf(given, Deno.realPathSync(given)));
    } else {
      // with a slash at its end the last name is a directory's as well, and a link is followed
      const slash = given.lastIndexOf("/");
      path = `${Deno.realPathSync(given.slice(0, slash + 1))}/${given.slice(slash + 1)}`;
      if (endsInSlash(given) && baseName(given) !== baseName(path)) rebaseName = baseName(given);
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new CliError(`lstat ${given}: no such file or directory`);
    }
    throw new CliError(`lstat ${given}: ${goErrno(error)}`);
  }
  const info = lstat(path);
  if (info === undefined) throw new CliError(`lstat ${path}: no such file or directory`);
  return { path, exists: true, isDirectory: info.isDirectory, rebaseName };
}

/** What a local destination is; links are followed, one to something missing as well. */
export function localDestination(given: string): CopyEnd {
  let path = given;
  for (let links = 0;; links++) {
    const info = lstat(path);
    if (info === undefined) {
      const parent = splitPath(path).dir;
      const above = lstatFollowing(parent);
      if (above === undefined) throw new CliError(`lstat ${parent}: no such file or directory`);
      if (!above.isDirectory) throw new CliError("not a directory");
      return { path, exists: false, isDirectory: false, rebaseName: "" };
    }
    if (!info.isSymlink) return { path, exists: true, isDirectory: info.isDirectory, rebaseName: "" };
    if (links >= MAX_LINKS) throw new CliError(`too many symbolic links in ${JSON.stringify(given)}`);
    const target = Deno.readLinkSync(path);
    path = target.startsWith("/") ? target : `${dirName(path)}/${target}`;
  }
}

function lstatFollowing(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch {
    return undefined;
  }
}

/** The directory of a file that is to be written must exist. */
export function checkOutputPath(path: string): void {
  const dir = dirName(cleanPath(path));
  if (dir !== "" && dir !== "." && lstatFollowing(dir) === undefined) {
    throw new CliError(`invalid output path: directory ${JSON.stringify(dir)} does not exist`);
  }
  let info: Deno.FileInfo | undefined;
  try {
    info = Deno.statSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw new CliError(`stat ${path}: ${goErrno(error)}`);
  }
  if (info === undefined || info.isDirectory || info.isFile) return;
  if (info.isBlockDevice || info.isCharDevice) throw new CliError("got a device");
  throw new CliError("got an irregular file");
}
