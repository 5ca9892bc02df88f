/** Contexts that are not sent but named: a git repository, an archive on the web, a Dockerfile on the web. */
import { EngineError, invalid } from "../../base/errors.ts";
import { isArchive } from "../../fs/build_archive.ts";
import { unpackContext } from "../../fs/build_context.ts";
import { UnpackPool } from "../../fs/unpack.ts";
import { fetchGit, parseGitUrl } from "../../image/build/git_source.ts";
import { type DownloadedFile, HttpSource } from "../../image/build/http_source.ts";
import type { RegistrySettings } from "../../image/registry/settings.ts";

/** As docker's client and engine tell them apart (moby: builder/remotecontext/urlutil). */
export function isGitContext(url: string): boolean {
  if (/^(git:\/\/|ssh:\/\/|github\.com\/|git@)/.test(url)) return true;
  return /^https?:\/\//.test(url) && /\.git(#.*)?$/.test(url);
}

/**
 * Puts the files of a context that a URL names into an empty directory. A URL of a Dockerfile gives that file alone, called "Dockerfile".
 *
 * @throws {EngineError} invalid, in Docker's words where it has some.
 */
export async function fetchRemoteContext(
  directory: string,
  url: string,
  settings: RegistrySettings,
  signal: AbortSignal,
): Promise<void> {
  if (isGitContext(url)) {
    await fetchGit(parseGitUrl(url), directory, { keepGitDir: false, signal });
    return;
  }
  if (!/^https?:\/\//.test(url)) {
    throw invalid(`remoteURL (${url}) could not be recognized as URL`);
  }
  const downloads = `${directory}.download`;
  try {
    using source = new HttpSource(downloads, settings);
    await takeDownload(directory, await download(source, url, signal), signal);
  } finally {
    await Deno.remove(downloads, { recursive: true }).catch(() => {});
  }
}

async function download(source: HttpSource, url: string, signal: AbortSignal): Promise<DownloadedFile> {
  try {
    return await source.fetch(url, { signal });
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new EngineError(error.kind, `error downloading remote context ${url}: ${error.message}`, {
      cause: error,
    });
  }
}

async function takeDownload(directory: string, file: DownloadedFile, signal: AbortSignal): Promise<void> {
  const path = `${file.directory}/${file.name}`;
  if (!await isArchive((await Deno.open(path)).readable)) {
    await Deno.rename(path, `${directory}/Dockerfile`);
    return;
  }
  using pool = new UnpackPool(1);
  await unpackContext(pool, directory, (await Deno.open(path)).readable, { signal });
}
