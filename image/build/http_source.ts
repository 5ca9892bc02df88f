/** Files that ADD and remote contexts take from the web. */
import { createHash } from "node:crypto";
import { unlessAborted } from "../../base/deadline.ts";
import { EngineError, invalid } from "../../base/errors.ts";
import type { RegistrySettings } from "../registry/settings.ts";
import { Transport } from "../registry/transport.ts";

export interface DownloadedFile {
  /** Holds the file and nothing else. Other builds read it as well: it is never to be changed. */
  readonly directory: string;
  /** What the URL calls it, as BuildKit has it. */
  readonly name: string;
  /** `sha256:…` */
  readonly digest: string;
  readonly size: number;
  /** Lower case, without parameters; "" when the server has not said. */
  readonly contentType: string;
}

interface Note {
  readonly url: string;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  /** Name of the directory below the root. */
  readonly directory: string;
  readonly name: string;
  readonly digest: string;
  readonly size: number;
  readonly contentType: string;
}

/**
 * Downloads, kept by URL: a server that says by ETag or Last-Modified that nothing has changed is not asked for the bytes again. Below the
 * root, `<key>.json` tells of a URL and names the directory that holds its file alone; both appear by one rename. Another version of a
 * file gets a directory of its own, since builds may be reading the one before; that goes when the engine starts anew.
 */
export class HttpSource implements Disposable {
  readonly #root: string;
  readonly #transport: Transport;
  /** One download of a URL at a time. */
  readonly #running = new Map<string, Promise<unknown>>();
  #swept = false;

  /** @param root directory for the downloads; made when it is missing. */
  constructor(root: string, settings: RegistrySettings) {
    this.#root = root;
    this.#transport = new Transport(settings);
  }

  /**
   * The file behind a URL. Its mode is 0600 and its time the server's Last-Modified, as Docker has it.
   *
   * @param checksum `sha256:…` that it must have.
   * @throws {EngineError} invalid: the server's refusal, or another digest.
   */
  async fetch(
    address: string,
    { checksum, signal }: { readonly checksum?: string | undefined; readonly signal?: AbortSignal },
  ): Promise<DownloadedFile> {
    const key = createHash("sha256").update(address).digest("hex");
    for (let before = this.#running.get(key); before !== undefined; before = this.#running.get(key)) {
      await unlessAborted(before.catch(() => {}), signal);
    }
    const download = this.#fetch(address, key, checksum, signal);
    this.#running.set(key, download);
    try {
      return await download;
    } finally {
      this.#running.delete(key);
    }
  }

  /** Bytes of all downloads. */
  size(): number {
    return this.#kept().reduce((sum, { note }) => sum + note.size, 0);
  }

  /** Removes all downloads, when no build runs; answers how many bytes went. */
  clear(): number {
    const freed = this.size();
    for (const { key } of this.#kept()) Deno.removeSync(`${this.#root}/${key}.json`);
    this.#sweep();
    return freed;
  }

  async #fetch(
    address: string,
    key: string,
    checksum: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<DownloadedFile> {
    const { url, headers } = requestOf(address);
    const known = this.#note(key);
    // what has the digest that was asked for cannot be anything else by now
    if (known !== undefined && known.digest === checksum) return this.#answer(known);
    if (known?.etag !== undefined) headers["If-None-Match"] = known.etag;
    else if (known?.lastModified !== undefined) headers["If-Modified-Since"] = known.lastModified;
    const response = await this.#transport.fetch(url, { headers, signal });
    if (response.status === 304 && known !== undefined) {
      await response.body?.cancel();
      return this.#checked(this.#answer(known), checksum);
    }
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      throw invalid(`invalid response status ${response.status} ${response.statusText}`.trimEnd());
    }
    const note = await this.#save(key, address, response, response.body, checksum);
    return this.#answer(note);
  }

  /** Writes the body down, and then that it is there. */
  async #save(
    key: string,
    address: string,
    response: Response,
    body: ReadableStream<Uint8Array>,
    checksum: string | undefined,
  ): Promise<Note> {
    if (!this.#swept) this.#sweep();
    const directory = Deno.makeTempDirSync({ dir: this.#root, prefix: `${key.slice(0, 16)}-` });
    try {
      const name = fileName(address);
      const path = `${directory}/${name}`;
      const hash = createHash("sha256");
      let size = 0;
      {
        using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
        for await (const chunk of body) {
          hash.update(chunk);
          size += chunk.length;
          for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
        }
      }
      const lastModified = response.headers.get("last-modified") ?? undefined;
      const time = lastModified === undefined ? Number.NaN : Date.parse(lastModified);
      if (!Number.isNaN(time)) Deno.utimeSync(path, time / 1000, time / 1000);
      const note: Note = {
        url: address,
        etag: response.headers.get("etag") ?? undefined,
        lastModified,
        directory: directory.slice(directory.lastIndexOf("/") + 1),
        name,
        digest: `sha256:${hash.digest("hex")}`,
        size,
        contentType: (response.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "",
      };
      this.#checked(this.#answer(note), checksum);
      Deno.writeTextFileSync(`${this.#root}/${key}.json.new`, JSON.stringify(note));
      Deno.renameSync(`${this.#root}/${key}.json.new`, `${this.#root}/${key}.json`);
      return note;
    } catch (error) {
      Deno.removeSync(directory, { recursive: true });
      throw error;
    }
  }

  /** Removes what no note names: cut short, or replaced. */
  #sweep(): void {
    this.#swept = true;
    Deno.mkdirSync(this.#root, { recursive: true, mode: 0o700 });
    const named = new Set(this.#kept().flatMap(({ key, note }) => [`${key}.json`, note.directory]));
    for (const { name } of Deno.readDirSync(this.#root)) {
      if (!named.has(name)) Deno.removeSync(`${this.#root}/${name}`, { recursive: true });
    }
  }

  #checked(file: DownloadedFile, checksum: string | undefined): DownloadedFile {
    if (checksum === undefined || checksum === file.digest) return file;
    throw invalid(`digest mismatch ${file.digest}: ${checksum}`);
  }

  #answer({ directory, name, digest, size, contentType }: Note): DownloadedFile {
    return { directory: `${this.#root}/${directory}`, name, digest, size, contentType };
  }

  /** undefined: none, or its file has been taken away. */
  #note(key: string): Note | undefined {
    try {
      const note = JSON.parse(Deno.readTextFileSync(`${this.#root}/${key}.json`)) as Note;
      Deno.lstatSync(`${this.#root}/${note.directory}/${note.name}`);
      return note;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  #kept(): { key: string; note: Note }[] {
    try {
      return [...Deno.readDirSync(this.#root)].flatMap(({ name }) => {
        const key = /^([0-9a-f]{64})\.json$/.exec(name)?.[1];
        const note = key === undefined ? undefined : this.#note(key);
        return key === undefined || note === undefined ? [] : [{ key, note }];
      });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }
}

/** Last name of the URL's path; BuildKit's word where there is none. */
export function fileName(address: string): string {
  const last = new URL(address).pathname.split("/").findLast((part) => part !== "") ?? "";
  const name = decoded(last);
  return name === "" || name === "." || name === ".." || /[/\0]/.test(name) || name.length > 255
    ? "__unnamed__"
    : name;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** User and password of a URL go into a header: `fetch` takes no such URLs. The bytes are wanted as they are, not packed. */
function requestOf(address: string): { url: string; headers: Record<string, string> } {
  let url: URL;
  try {
    url = new URL(address);
  } catch (error) {
    throw invalid(`invalid URL ${JSON.stringify(address)}`, error);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new EngineError(
      "invalid",
      `unsupported scheme ${url.protocol.slice(0, -1)} in ${JSON.stringify(address)}`,
    );
  }
  const headers: Record<string, string> = { "Accept-Encoding": "identity" };
  if (url.username !== "" || url.password !== "") {
    const login = `${decoded(url.username)}:${decoded(url.password)}`;
    headers["Authorization"] = `Basic ${new TextEncoder().encode(login).toBase64()}`;
    url.username = "";
    url.password = "";
  }
  url.hash = "";
  return { url: url.href, headers };
}
