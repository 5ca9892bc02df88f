/** What ADD takes from elsewhere: files of the web, git repositories. */
import { EngineError, invalid } from "../../base/errors.ts";
import type { CopySource } from "../../fs/build_copy.ts";
import { fetchGit, type GitUrl, parseGitUrl, resolveGit } from "../../image/build/git_source.ts";
import type { HttpSource } from "../../image/build/http_source.ts";
import type { CopyItem, CopyOp } from "../../image/build/types.ts";
import type { BuildClient } from "./types.ts";

/** Docker's name of the secret that git's servers get over http(s). */
const GIT_TOKEN = "GIT_AUTH_TOKEN";

export interface AddTools {
  readonly downloads: HttpSource;
  /** A new empty directory; removed by `dispose`. */
  readonly newDirectory: () => { readonly path: string; dispose(): void };
}

interface AddScope {
  readonly client: BuildClient;
  readonly signal: AbortSignal;
}

/** Something from elsewhere, known well enough to be looked up in the cache. */
export interface AddedSource {
  /** For the cache: says what the files are. */
  readonly identity: readonly unknown[];
  /** Fetches the files, if that has not been done; `cleanup` takes what is to be removed when they have been copied. */
  source(cleanup: DisposableStack): Promise<CopySource>;
}

type RemoteItem = Extract<CopyItem, { kind: "url" | "git" }>;
type Added = Pick<CopyOp, "checksum" | "keepGitDir" | "unpack" | "exclude">;

/** @throws {EngineError} invalid: refused by the server, or not what the checksum says. */
export async function addedSource(
  tools: AddTools,
  scope: AddScope,
  op: Added,
  { kind, url }: RemoteItem,
): Promise<AddedSource> {
  return kind === "url" ? await download(tools, scope, op, url) : await repository(tools, scope, op, url);
}

async function download(
  { downloads }: AddTools,
  { signal }: AddScope,
  { checksum, unpack }: Added,
  url: string,
): Promise<AddedSource> {
  const { directory, name, digest } = await downloads.fetch(url, { checksum, signal });
  // other than a local archive one from the web is unpacked only where that is said
  const how = unpack === true ? "auto" : "never";
  const source: CopySource = {
    kind: "files",
    tree: { kind: "directory", path: directory },
    patterns: [name],
    wildcards: false,
    parents: false,
    exclude: [],
    unpack: how,
  };
  return { identity: ["url", name, digest, how], source: () => Promise.resolve(source) };
}

async function repository(
  tools: AddTools,
  scope: AddScope,
  { checksum, keepGitDir, exclude }: Added,
  text: string,
): Promise<AddedSource> {
  const url = parseGitUrl(text);
  const options = { ...await credentials(scope, url), signal: scope.signal, keepGitDir };
  const commit = await resolveGit(url, options) ?? await findCommit(tools, url, options);
  if (checksum !== undefined && !commit.startsWith(checksum)) {
    throw invalid(`expected checksum to match ${checksum}, got ${commit}`);
  }
  return {
    identity: ["git", commit, url.directory, keepGitDir, keepGitDir ? url.remote : "", exclude],
    source: async (cleanup) => {
      const directory = tools.newDirectory();
      cleanup.defer(() => directory.dispose());
      const fetched = await fetchGit(url, directory.path, options);
      if (fetched.commit !== commit) {
        throw new EngineError(
          "conflict",
          `${url.ref || "HEAD"} of ${url.remote} moved while it was fetched`,
          {
            hint: "Build again.",
          },
        );
      }
      return {
        kind: "files",
        tree: { kind: "directory", path: directory.path },
        patterns: ["/"],
        wildcards: false,
        parents: false,
        exclude,
        unpack: "never",
      };
    },
  };
}

/** A short commit can be told only with the repository at hand. */
async function findCommit(
  tools: AddTools,
  url: GitUrl,
  options: Parameters<typeof fetchGit>[2],
): Promise<string> {
  const directory = tools.newDirectory();
  try {
    return (await fetchGit({ ...url, directory: "" }, directory.path, options)).commit;
  } finally {
    directory.dispose();
  }
}

async function credentials(
  { client, signal }: AddScope,
  { remote }: GitUrl,
): Promise<{ sshSocket?: string | undefined; token?: string | undefined }> {
  if (!/^(https?|git):/.test(remote)) return { sshSocket: await client.sshSocket("default", signal) };
  const secret = await client.secret(GIT_TOKEN, signal);
  return secret === undefined ? {} : { token: new TextDecoder().decode(secret).trim() };
}
