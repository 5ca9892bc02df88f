/** Files that ADD and remote contexts take from git repositories, by the program of that name. */
import { EngineError, invalid } from "../../base/errors.ts";
import { findProgram } from "../../base/find_program.ts";
import { hints } from "../../base/hints.ts";

/** A repository as Docker writes it: `https://host/repo.git#ref:directory`, `git@host:repo#…`, `ssh://…`, `git://…`. */
export interface GitUrl {
  readonly remote: string;
  /** Branch, tag, `refs/…` or commit; "" for the remote's HEAD. */
  readonly ref: string;
  /** Directory in the repository, without slashes at the ends; "" for all of it. */
  readonly directory: string;
}

export interface GitOptions {
  /** `.git` stays. */
  readonly keepGitDir: boolean;
  /** Socket of an ssh agent. */
  readonly sshSocket?: string | undefined;
  /** For http(s): the secret GIT_AUTH_TOKEN. */
  readonly token?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface GitCheckout {
  /** Forty hexadecimal digits. */
  readonly commit: string;
}

/** What git may speak, also for submodules: no local paths and no programs of its choice. */
const PROTOCOLS = "git:http:https:ssh";
const COMMIT = /^[0-9a-f]{40}$/;
const SHORT_COMMIT = /^[0-9a-f]{7,40}$/;

/**
 * Reads a repository's URL.
 *
 * @throws {EngineError} invalid
 */
export function parseGitUrl(text: string): GitUrl {
  const hash = text.indexOf("#");
  const remote = hash < 0 ? text : text.slice(0, hash);
  const fragment = hash < 0 ? "" : text.slice(hash + 1);
  const colon = fragment.indexOf(":");
  const ref = colon < 0 ? fragment : fragment.slice(0, colon);
  const directory = colon < 0 ? "" : fragment.slice(colon + 1).replace(/^\/+|\/+$/g, "");
  // what begins with a dash would be an option of git's, or of ssh's
  if (remote === "" || remote.startsWith("-") || /@-|:\/\/-/.test(remote) || /[\0\n]/.test(text)) {
    throw invalid(`invalid git URL ${JSON.stringify(text)}`);
  }
  if (ref.startsWith("-") || /[\s~^:?*[\\]|\.\./.test(ref)) {
    throw invalid(`invalid git ref ${JSON.stringify(ref)}`);
  }
  if (directory.split("/").includes("..")) {
    throw invalid(`invalid directory ${JSON.stringify(directory)} of a git repository`);
  }
  const spelled = /^github\.com\//.test(remote) ? `https://${remote}` : remote;
  return { remote: spelled, ref, directory };
}

/**
 * The commit that a reference means by now, without fetching it: what a cache key is made of. Short commits answer undefined, for they
 * can be found in the repository only.
 *
 * @throws {EngineError}
 */
export async function resolveGit(
  url: GitUrl,
  options: Omit<GitOptions, "keepGitDir">,
): Promise<string | undefined> {
  if (COMMIT.test(url.ref)) return url.ref;
  const wanted = url.ref === "" ? "HEAD" : url.ref;
  const git = new Git(url, options);
  const listed = await git.run("/", ["ls-remote", "--", url.remote, wanted, `${wanted}^{}`]);
  const refs = new Map(
    listed.split("\n").filter((line) => line !== "").map((line) => {
      const [commit = "", name = ""] = line.split("\t");
      return [name, commit] as const;
    }),
  );
  // the commit of an annotated tag, not the tag; a branch before a tag, as git-rev-parse does not, but git-fetch does
  for (
    const name of [
      `refs/heads/${wanted}`,
      `refs/tags/${wanted}^{}`,
      `refs/tags/${wanted}`,
      `${wanted}^{}`,
      wanted,
    ]
  ) {
    const commit = refs.get(name);
    if (commit !== undefined) return commit;
  }
  if (SHORT_COMMIT.test(wanted)) return undefined;
  throw invalid(`repository does not contain ref ${url.ref}`);
}

/**
 * Fetches a repository with its submodules into a directory, which must be empty, without more of its history than needed. What a
 * directory of the repository is asked for, that directory's files are all there is.
 *
 * @throws {EngineError} with what git says.
 */
export async function fetchGit(url: GitUrl, directory: string, options: GitOptions): Promise<GitCheckout> {
  const git = new Git(url, options);
  await git.run(directory, ["init", "--quiet"]);
  await git.run(directory, ["remote", "add", "--", "origin", url.remote]);
  const ref = url.ref === "" ? "HEAD" : url.ref;
  if (!await fetchRef(git, directory, ref)) {
    // servers give single commits to those only whom they let; then everything is fetched
    await git.run(directory, [
      "fetch",
      "--quiet",
      "--force",
      "--tags",
      "origin",
      "+refs/heads/*:refs/remotes/origin/*",
    ]);
    await git.run(directory, ["checkout", "--quiet", "--detach", "--force", ref, "--"]);
  } else await git.run(directory, ["checkout", "--quiet", "--detach", "--force", "FETCH_HEAD", "--"]);
  const commit = (await git.run(directory, ["rev-parse", "HEAD"])).trim();
  await git.run(directory, ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"]);
  if (!options.keepGitDir) {
    removeGitDirs(directory, await git.run(directory, SUBMODULES));
  } else {
    // the configuration goes into the image
    await git.run(directory, ["remote", "set-url", "--", "origin", withoutLogin(url.remote)]);
  }
  if (url.directory !== "") await narrow(directory, url.directory);
  return { commit };
}

const SUBMODULES = ["submodule", "--quiet", "foreach", "--recursive", 'printf "%s\\0" "$displaypath"'];

/** Fetches one reference alone. False for a commit that the server does not give away by itself. */
async function fetchRef(git: Git, directory: string, ref: string): Promise<boolean> {
  const fetch = (...depth: string[]) =>
    git.run(directory, ["fetch", "--quiet", ...depth, "--no-tags", "--force", "origin", ref]);
  try {
    try {
      await fetch("--depth=1");
    } catch (error) {
      // a web server that has files alone, and no program of git's
      if (!(error instanceof EngineError) || !error.message.includes("dumb http transport")) throw error;
      await fetch();
    }
    return true;
  } catch (error) {
    if (SHORT_COMMIT.test(ref) && error instanceof EngineError) return false;
    throw error;
  }
}

function removeGitDirs(directory: string, submodules: string): void {
  Deno.removeSync(`${directory}/.git`, { recursive: true });
  for (const path of submodules.split("\0")) {
    if (path === "" || !isInside(directory, path)) continue;
    try {
      Deno.removeSync(`${directory}/${path}/.git`, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** Puts a directory of the checkout in the place of the whole. */
async function narrow(directory: string, inner: string): Promise<void> {
  if (!isInside(directory, inner)) {
    throw invalid(`${JSON.stringify(inner)} is no directory of the git repository`);
  }
  const whole = `${directory}.whole`;
  await Deno.rename(directory, whole);
  await Deno.rename(`${whole}/${inner}`, directory);
  await Deno.remove(whole, { recursive: true });
}

/** Whether each name on the way is a directory: a link in a repository leads wherever it likes. */
function isInside(directory: string, path: string): boolean {
  let at = directory;
  for (const name of path.split("/")) {
    if (name === "" || name === ".") continue;
    if (name === ".." || name === ".git") return false;
    at += `/${name}`;
    try {
      if (!Deno.lstatSync(at).isDirectory) return false;
    } catch {
      return false;
    }
  }
  return true;
}

/** Runs git for one repository. The user's own configuration and credentials stay out of it: the URL is somebody else's. */
class Git {
  readonly #program: string;
  readonly #environment: Record<string, string>;
  readonly #signal: AbortSignal | undefined;
  readonly #url: GitUrl;

  constructor(url: GitUrl, { sshSocket, token, signal }: Omit<GitOptions, "keepGitDir">) {
    const program = findProgram("git");
    if (program === undefined) {
      throw new EngineError("invalid", `cannot fetch ${url.remote}: the program git is not installed`, {
        hint: hints.installGit,
      });
    }
    this.#program = program;
    this.#signal = signal;
    this.#url = url;
    const settings: [string, string][] = [
      ["core.hooksPath", "/dev/null"],
      ["core.fsmonitor", "false"],
      ["advice.detachedHead", "false"],
      ["init.defaultBranch", "main"],
      ["safe.directory", "*"],
      ["submodule.recurse", "false"],
    ];
    if (token !== undefined && /^https?:/.test(url.remote)) {
      const login = new TextEncoder().encode(`x-access-token:${token}`).toBase64();
      // for that server alone: a submodule may come from elsewhere
      settings.push([`http.${new URL(url.remote).origin}/.extraHeader`, `Authorization: basic ${login}`]);
    }
    const knownHosts = `${Deno.env.get("HOME") ?? ""}/.ssh/known_hosts`;
    this.#environment = {
      ...proxies(),
      PATH: Deno.env.get("PATH") ?? "/usr/local/bin:/usr/bin:/bin",
      HOME: "/nonexistent",
      LC_ALL: "C.UTF-8",
      GIT_TERMINAL_PROMPT: "0",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_ALLOW_PROTOCOL: PROTOCOLS,
      GIT_SSH_COMMAND: `ssh -F /dev/null -o BatchMode=yes -o UserKnownHostsFile='${
        knownHosts.replaceAll("'", "'\\''")
      }'`,
      ...(sshSocket === undefined ? {} : { SSH_AUTH_SOCK: sshSocket }),
      // by the environment: arguments can be seen by everybody on the machine
      GIT_CONFIG_COUNT: String(settings.length),
      ...Object.fromEntries(settings.flatMap(([key, value], index) => [
        [`GIT_CONFIG_KEY_${index}`, key],
        [`GIT_CONFIG_VALUE_${index}`, value],
      ])),
    };
  }

  /** Answers the standard output. */
  async run(cwd: string, args: readonly string[]): Promise<string> {
    this.#signal?.throwIfAborted();
    const child = new Deno.Command(this.#program, {
      args: [...args],
      cwd,
      clearEnv: true,
      env: this.#environment,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      ...(this.#signal === undefined ? {} : { signal: this.#signal }),
    });
    const { success, stdout, stderr } = await child.output();
    this.#signal?.throwIfAborted();
    if (success) return new TextDecoder().decode(stdout);
    const said = new TextDecoder().decode(stderr).trim();
    throw new EngineError(
      "invalid",
      `failed to fetch ${withoutLogin(this.#url.remote)}: ${withoutLogin(said)}`,
      {
        hint: /Host key verification failed/.test(said) ? hints.unknownSshHost : undefined,
      },
    );
  }
}

/** No passwords in messages. */
const withoutLogin = (text: string): string => text.replace(/(\w+:\/\/)[^/@\s]+@/g, "$1");

function proxies(): Record<string, string> {
  const names = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
  ];
  return Object.fromEntries(names.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  }));
}
