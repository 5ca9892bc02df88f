import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { fetchRemoteContext, isGitContext } from "../../engine/build/remote_context.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { tarArchive } from "../../fs/tar/mod.ts";
import { fetchGit, parseGitUrl, resolveGit } from "../../image/build/git_source.ts";
import { fileName, HttpSource } from "../../image/build/http_source.ts";
import { DEFAULT_REGISTRY_SETTINGS } from "../../image/registry/settings.ts";
import { describeWith, ROOT } from "../support/needs.ts";
import { testDir } from "../support/users.ts";

const text = (value: string) => new TextEncoder().encode(value);
const sha256 = (value: string) => `sha256:${createHash("sha256").update(value).digest("hex")}`;
const signal = AbortSignal.timeout(120_000);

/** What a web server has, and what it was asked. */
class Web {
  readonly files = new Map<string, { body: Uint8Array<ArrayBuffer>; headers: Record<string, string> }>();
  readonly requests: string[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    this.#server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
      const { pathname } = new URL(request.url);
      const file = this.files.get(pathname);
      const login = request.headers.get("authorization");
      const etag = file?.headers["etag"];
      const unchanged = etag !== undefined && request.headers.get("if-none-match") === etag;
      this.requests.push(`${pathname}${login === null ? "" : ` ${login}`}${unchanged ? " unchanged" : ""}`);
      if (pathname === "/moved") return new Response(null, { status: 302, headers: { location: "/file" } });
      if (file === undefined) return new Response("no", { status: 404, statusText: "Not Found" });
      if (unchanged) return new Response(null, { status: 304 });
      return new Response(file.body, { headers: file.headers });
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async close(): Promise<void> {
    await this.#server.shutdown();
  }
}

describe("HttpSource", () => {
  const root = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-http-" });
  const web = new Web();
  let counter = 0;
  let dir = "";
  let source = new HttpSource(root, DEFAULT_REGISTRY_SETTINGS);

  beforeEach(() => {
    source[Symbol.dispose]();
    dir = `${root}/${counter++}`;
    source = new HttpSource(dir, DEFAULT_REGISTRY_SETTINGS);
    web.files.clear();
    web.requests.length = 0;
  });

  afterAll(async () => {
    source[Symbol.dispose]();
    await web.close();
    await removeTree(root);
  });

  const serve = (path: string, body: string, headers: Record<string, string> = {}) =>
    web.files.set(path, { body: text(body), headers });
  const read = ({ directory, name }: { directory: string; name: string }) =>
    Deno.readTextFileSync(`${directory}/${name}`);

  it("keeps name, time and mode as Docker has them", async () => {
    serve("/a/file.txt", "hello", {
      "last-modified": "Sun, 09 Sep 2001 01:46:40 GMT",
      "content-type": "Text/Plain; x=y",
    });
    const file = await source.fetch(`${web.origin}/a/file.txt?x=1#f`, {});
    expect(file).toMatchObject({
      name: "file.txt",
      digest: sha256("hello"),
      size: 5,
      contentType: "text/plain",
    });
    const info = Deno.statSync(`${file.directory}/file.txt`);
    expect(((info.mode ?? 0) & 0o7777).toString(8)).toBe("600");
    expect(info.mtime?.getTime()).toBe(1_000_000_000_000);
  });

  it("asks again only whether something has changed", async () => {
    const url = `${web.origin}/file`;
    serve("/file", "one", { etag: '"1"' });
    const first = await source.fetch(url, {});
    using later = new HttpSource(dir, DEFAULT_REGISTRY_SETTINGS);
    expect(await later.fetch(url, {})).toEqual(first);
    serve("/file", "two", { etag: '"2"' });
    const second = await later.fetch(url, {});
    expect([read(first), read(second)]).toEqual(["one", "two"]);
    expect(web.requests).toEqual(["/file", "/file unchanged", "/file"]);
    // what has the right digest is right
    await later.fetch(url, { checksum: sha256("two") });
    expect(web.requests).toHaveLength(3);
    expect(later.size()).toBe(3);
    expect(later.clear()).toBe(3);
    expect([...Deno.readDirSync(dir)]).toEqual([]);
  });

  it("keeps nobody waiting for another's download who has given up", async () => {
    const gate = Promise.withResolvers<Response>();
    await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => gate.promise);
    const url = `http://127.0.0.1:${server.addr.port}/slow`;
    const first = source.fetch(url, {});
    const give = new AbortController();
    const second = source.fetch(url, { signal: give.signal });
    give.abort(new Error("called off"));
    await expect(second).rejects.toThrow("called off");
    gate.resolve(new Response("slow"));
    expect(read(await first)).toBe("slow");
  });

  it("refuses what has another digest, and leaves nothing", async () => {
    serve("/file", "one");
    const checksum = sha256("two");
    await expect(source.fetch(`${web.origin}/file`, { checksum })).rejects.toMatchObject({
      kind: "invalid",
      message: `digest mismatch ${sha256("one")}: ${checksum}`,
    });
    expect([...Deno.readDirSync(dir)]).toEqual([]);
  });

  it("says what the server says", async () => {
    await expect(source.fetch(`${web.origin}/nope`, {})).rejects.toMatchObject({
      kind: "invalid",
      message: "invalid response status 404 Not Found",
    });
    await expect(source.fetch("ftp://x/y", {})).rejects.toMatchObject({ kind: "invalid" });
    await expect(source.fetch("http://127.0.0.1:1/x", {})).rejects.toThrow(/refused/i);
  });

  it("follows redirects and sends the user of a URL", async () => {
    serve("/file", "one");
    expect(await source.fetch(`${web.origin}/moved`, {})).toMatchObject({
      name: "moved",
      digest: sha256("one"),
    });
    await source.fetch(`${web.origin.replace("//", "//me:pa%20ss@")}/file`, {});
    expect(web.requests.at(-1)).toBe(`/file Basic ${text("me:pa ss").toBase64()}`);
  });

  it("downloads once when two want the same at the same time", async () => {
    serve("/file", "one", { etag: '"1"' });
    await Promise.all([1, 2, 3].map(() => source.fetch(`${web.origin}/file`, {})));
    expect(web.requests.filter((one) => one === "/file")).toHaveLength(1);
  });

  it.each([
    ["http://h/a/b.tgz", "b.tgz"],
    ["http://h/a/b/", "b"],
    ["http://h/", "__unnamed__"],
    ["http://h/a%2fb", "__unnamed__"],
    ["http://h/%2e%2e", "__unnamed__"],
    ["http://h/a%20b", "a b"],
  ])("fileName(%j) is %j", (url, name) => expect(fileName(url)).toBe(name));
});

describe("parseGitUrl()", () => {
  it.each([
    ["https://h/r.git", "https://h/r.git", "", ""],
    ["https://h/r.git#main", "https://h/r.git", "main", ""],
    ["https://h/r.git#v1:sub/dir/", "https://h/r.git", "v1", "sub/dir"],
    ["git@h:o/r.git#:sub", "git@h:o/r.git", "", "sub"],
    ["github.com/o/r", "https://github.com/o/r", "", ""],
  ])("%j", (url, remote, ref, directory) => expect(parseGitUrl(url)).toEqual({ remote, ref, directory }));

  it.each([
    "-u./x.git",
    "ssh://-oProxyCommand=x/r.git",
    "https://h/r.git#--upload-pack=x",
    "https://h/r.git#a b",
    "https://h/r.git#main:../x",
    "git@-h:r",
  ])("refuses %j", (url) => expect(() => parseGitUrl(url)).toThrow("invalid"));

  it("tells git repositories from files", () => {
    expect(
      ["https://h/r.git", "https://h/r.git#x:y", "git@h:r", "git://h/r", "github.com/o/r"].every(
        isGitContext,
      ),
    )
      .toBe(true);
    expect(["https://h/r.tar.gz", "https://h/Dockerfile", "http://h/r.git/x"].some(isGitContext)).toBe(false);
  });
});

describeWith(ROOT)("fetchGit() and fetchRemoteContext()", () => {
  const base = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-git-" });
  const web = new Web();
  let daemon: Deno.ChildProcess | undefined;
  let origin = "";
  let counter = 0;
  let commits: string[] = [];

  function git(cwd: string, ...args: string[]): string {
    const { success, stdout, stderr } = new Deno.Command("git", {
      args: ["-c", "protocol.file.allow=always", "-c", "user.name=t", "-c", "user.email=t@t", ...args],
      cwd,
      env: { GIT_CONFIG_GLOBAL: "/dev/null", GIT_ALLOW_PROTOCOL: "file:git" },
      stdout: "piped",
      stderr: "piped",
    }).outputSync();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout).trim();
  }

  function put(dir: string, files: Record<string, string>): void {
    for (const [name, content] of Object.entries(files)) {
      Deno.mkdirSync(`${dir}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
      if (content.startsWith("-> ")) Deno.symlinkSync(content.slice(3), `${dir}/${name}`);
      else Deno.writeTextFileSync(`${dir}/${name}`, content);
    }
  }

  function commit(dir: string, files: Record<string, string>): string {
    put(dir, files);
    git(dir, "add", "-A");
    git(dir, "commit", "-q", "-m", "x");
    return git(dir, "rev-parse", "HEAD");
  }

  beforeAll(async () => {
    const port = freePort();
    origin = `git://127.0.0.1:${port}`;
    daemon = new Deno.Command("git", {
      args: [
        "daemon",
        "--reuseaddr",
        "--listen=127.0.0.1",
        `--port=${port}`,
        `--base-path=${base}`,
        "--export-all",
        base,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const deadline = Date.now() + 20_000;
    for (;;) {
      try {
        (await Deno.connect({ port, hostname: "127.0.0.1" })).close();
        break;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    for (const name of ["lib", "repo"]) {
      Deno.mkdirSync(`${base}/${name}`);
      git(`${base}/${name}`, "init", "-q", "-b", "main");
    }
    commit(`${base}/lib`, { "lib.c": "lib" });
    const repo = `${base}/repo`;
    commits = [
      commit(repo, { "Dockerfile": "FROM scratch\n", "sub/dir/f": "1", "link": "-> sub", "out": "-> /etc" }),
    ];
    git(repo, "tag", "-a", "-m", "first", "v1");
    git(repo, "submodule", "--quiet", "add", `${origin}/lib`, "vendor/lib");
    commits.push(commit(repo, { "sub/dir/f": "2" }));
    git(repo, "checkout", "-q", "-b", "side");
    commits.push(commit(repo, { "sub/dir/f": "3" }));
    git(repo, "checkout", "-q", "main");
  });

  afterAll(async () => {
    daemon?.kill("SIGTERM");
    await daemon?.status;
    await web.close();
    await removeTree(base);
  });

  function freePort(): number {
    using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    return listener.addr.port;
  }

  function empty(): string {
    const dir = `${base}/out-${counter++}`;
    Deno.mkdirSync(dir);
    return dir;
  }

  async function fetched(fragment: string, keepGitDir = false) {
    const directory = empty();
    const result = await fetchGit(parseGitUrl(`${origin}/repo${fragment}`), directory, {
      keepGitDir,
      signal,
    });
    return { directory, ...result };
  }

  it.each<[string, number, string]>([
    ["", 1, "2"],
    ["#main", 1, "2"],
    ["#side", 2, "3"],
    ["#v1", 0, "1"],
    ["#refs/tags/v1", 0, "1"],
    ["#refs/heads/side", 2, "3"],
  ])("fetches repo%s", async (fragment, index, content) => {
    expect(await resolveGit(parseGitUrl(`${origin}/repo${fragment}`), { signal })).toBe(commits[index]);
    const { directory, commit } = await fetched(fragment);
    expect(commit).toBe(commits[index]);
    expect(Deno.readTextFileSync(`${directory}/sub/dir/f`)).toBe(content);
    expect([...Deno.readDirSync(directory)].map(({ name }) => name)).not.toContain(".git");
  });

  it("fetches single commits, whole and short", async () => {
    for (const ref of [commits[0] ?? "", (commits[0] ?? "").slice(0, 10)]) {
      const { directory, commit } = await fetched(`#${ref}`);
      expect(commit).toBe(commits[0]);
      expect(Deno.readTextFileSync(`${directory}/sub/dir/f`)).toBe("1");
    }
  });

  it("fetches submodules, and keeps .git where that is asked for", async () => {
    const { directory } = await fetched("");
    expect(Deno.readTextFileSync(`${directory}/vendor/lib/lib.c`)).toBe("lib");
    expect([...Deno.readDirSync(`${directory}/vendor/lib`)].map(({ name }) => name)).toEqual(["lib.c"]);
    const kept = await fetched("", true);
    expect(git(kept.directory, "rev-parse", "HEAD")).toBe(commits[1]);
    expect(git(kept.directory, "remote", "get-url", "origin")).toBe(`${origin}/repo`);
  });

  it("gives a directory of a repository alone", async () => {
    const { directory } = await fetched("#side:sub/dir");
    expect([...Deno.readDirSync(directory)].map(({ name }) => name)).toEqual(["f"]);
    expect(Deno.readTextFileSync(`${directory}/f`)).toBe("3");
    for (const inner of ["nope", "link", "out", "Dockerfile", ".git"]) {
      await expect(fetched(`#:${inner}`)).rejects.toMatchObject({ kind: "invalid" });
    }
  });

  it("says what git says", async () => {
    await expect(fetched("#nope")).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining("couldn't find remote ref nope"),
    });
    await expect(resolveGit(parseGitUrl(`${origin}/repo#nope`), { signal })).rejects.toMatchObject({
      message: "repository does not contain ref nope",
    });
    const missing = parseGitUrl(`${origin}/missing`);
    await expect(fetchGit(missing, empty(), { keepGitDir: false, signal })).rejects.toMatchObject({
      kind: "invalid",
    });
  });

  it("speaks no protocol that reads this machine's files or runs programs", async () => {
    for (const remote of [`file://${base}/repo`, `${base}/repo`, "ext::sh -c 'touch /tmp/x'"]) {
      const url = { remote, ref: "", directory: "" };
      await expect(fetchGit(url, empty(), { keepGitDir: false, signal })).rejects.toMatchObject({
        message: expect.stringContaining("not allowed"),
      });
    }
  });

  it("takes contexts from git and the web", async () => {
    const at = async (url: string) => {
      const directory = empty();
      await fetchRemoteContext(directory, url, DEFAULT_REGISTRY_SETTINGS, signal);
      return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
    };
    expect(await at(`${origin}/repo#v1`)).toEqual(["Dockerfile", "link", "out", "sub"]);
    const archive = tarArchive([{ name: "Dockerfile", data: text("FROM scratch\n") }, {
      name: "f",
      data: text("1"),
    }]);
    web.files.set("/context.tar", { body: archive, headers: {} });
    web.files.set("/plain", { body: text("FROM scratch\n"), headers: { "content-type": "text/plain" } });
    expect(await at(`${web.origin}/context.tar`)).toEqual(["Dockerfile", "f"]);
    expect(await at(`${web.origin}/plain`)).toEqual(["Dockerfile"]);
    await expect(at(`${web.origin}/nope`)).rejects.toMatchObject({
      message: `error downloading remote context ${web.origin}/nope: invalid response status 404 Not Found`,
    });
    await expect(at("ftp://h/x")).rejects.toMatchObject({ kind: "invalid" });
  });
});
