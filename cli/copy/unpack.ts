import { cleanPath } from "../../base/clean_path.ts";
import { type TarEntry, TarError, tarEvents } from "../../base/tar/mod.ts";
import { CliError } from "../errors.ts";
import { type Plan, renamed } from "./paths.ts";

/**
 * Unpacks a tar archive that an engine has sent below a local directory. Files belong to the caller. Nothing is ever
 * written through a symbolic link below `dir`: what is in a container may have been made to lead elsewhere.
 */
export async function unpackLocal(
  chunks: AsyncIterable<Uint8Array>,
  dir: string,
  rename: Plan["rename"],
): Promise<void> {
  const unpacker = new Unpacker(dir);
  try {
    for await (const event of tarEvents(chunks)) {
      if (event.kind === "data") unpacker.data(event.chunk, event.offset);
      else if (event.kind === "end") unpacker.end();
      else {
        const { entry } = event;
        await unpacker.entry({
          ...entry,
          name: renamed(entry.name, rename),
          linkName: entry.type === "hardlink" ? renamed(entry.linkName, rename) : entry.linkName,
        });
      }
    }
    unpacker.finish();
  } catch (error) {
    if (error instanceof TarError) throw new CliError(error.message);
    throw error;
  } finally {
    unpacker.close();
  }
}

class Unpacker {
  readonly #root: string;
  /** Directories below the root that are known to be ones. */
  readonly #safe = new Set<string>();
  readonly #times: [path: string, entry: TarEntry][] = [];
  #file: Deno.FsFile | undefined;
  #current: { path: string; entry: TarEntry } | undefined;

  constructor(root: string) {
    this.#root = root.endsWith("/") ? root.slice(0, -1) : root;
  }

  async entry(entry: TarEntry): Promise<void> {
    const clean = cleanPath(entry.name.replace(/^\/+/, "") || ".");
    if (clean === ".." || clean.startsWith("../")) {
      throw new CliError(`${JSON.stringify(entry.name)} is outside of ${JSON.stringify(this.#root)}`);
    }
    // the directory that is copied into stays as it is
    if (clean === ".") return;
    const path = this.#inside(clean);
    const existing = lstat(path);
    if (existing !== undefined) this.#clear(path, existing, entry);
    switch (entry.type) {
      case "directory":
        if (existing === undefined) Deno.mkdirSync(path, { mode: 0o700 });
        this.#safe.add(path);
        this.#times.push([path, entry]);
        return;
      case "file":
        this.#file = Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
        this.#current = { path, entry };
        return;
      case "symlink":
        Deno.symlinkSync(entry.linkName, path);
        await linkTime(path, entry);
        return;
      case "hardlink":
        Deno.linkSync(this.#inside(cleanPath(entry.linkName.replace(/^\/+/, ""))), path);
        return;
      default:
        await this.#special(path, entry);
    }
  }

  /** The path of a clean name; its directories are made, and must be no links. */
  #inside(name: string): string {
    if (name === ".." || name.startsWith("../")) {
      throw new CliError(`${JSON.stringify(name)} is outside of ${JSON.stringify(this.#root)}`);
    }
    const parts = name.split("/");
    let path = this.#root;
    for (const part of parts.slice(0, -1)) {
      path += `/${part}`;
      if (this.#safe.has(path)) continue;
      const info = lstat(path);
      if (info === undefined) Deno.mkdirSync(path, { mode: 0o755 });
      else if (!info.isDirectory) throw new CliError(`mkdir ${path}: not a directory`);
      this.#safe.add(path);
    }
    return `${path}/${parts.at(-1) ?? ""}`;
  }

  /** Makes place, but never for a directory in the stead of something else or the other way round. */
  #clear(path: string, existing: Deno.FileInfo, entry: TarEntry): void {
    const isDirectory = entry.type === "directory";
    if (existing.isDirectory && !isDirectory) {
      throw new CliError(
        `cannot overwrite directory ${JSON.stringify(path)} with non-directory ${JSON.stringify(this.#root)}`,
      );
    }
    if (!existing.isDirectory && isDirectory) {
      throw new CliError(
        `cannot overwrite non-directory ${JSON.stringify(path)} with directory ${JSON.stringify(this.#root)}`,
      );
    }
    if (!existing.isDirectory) Deno.removeSync(path);
  }

  /** Deno cannot make these; the programs that can are on every machine. */
  async #special(path: string, entry: TarEntry): Promise<void> {
    const kind = { fifo: "p", char: "c", block: "b" }[entry.type as string] ?? "p";
    const numbers = kind === "p" ? [] : [String(entry.deviceMajor), String(entry.deviceMinor)];
    const { success, stderr } = await new Deno.Command("mknod", {
      args: ["--", path, kind, ...numbers],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw new CliError(new TextDecoder().decode(stderr).trim());
    attributes(path, entry);
  }

  data(chunk: Uint8Array, offset: number): void {
    const file = this.#file;
    if (file === undefined) return;
    if (this.#current?.entry.sparse) file.seekSync(offset, Deno.SeekMode.Start);
    for (let at = 0; at < chunk.length;) at += file.writeSync(chunk.subarray(at));
  }

  end(): void {
    const current = this.#current;
    if (current === undefined) return;
    if (current.entry.sparse) this.#file?.truncateSync(current.entry.size);
    this.close();
    attributes(current.path, current.entry);
  }

  /** Directories get their modes and times last: what is made in them needs the one and changes the other. */
  finish(): void {
    for (const [path, entry] of this.#times.reverse()) attributes(path, entry);
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
    this.#current = undefined;
  }
}

function attributes(path: string, entry: TarEntry): void {
  Deno.chmodSync(path, entry.mode);
  const [seconds, nanoseconds] = entry.mtime;
  const time = seconds + nanoseconds / 1e9;
  Deno.utimeSync(path, time, time);
}

/** Deno itself only sets the times of what a link leads to. */
async function linkTime(path: string, { mtime: [seconds, nanoseconds] }: TarEntry): Promise<void> {
  const { lutimesSync } = await import("node:fs");
  const time = seconds + nanoseconds / 1e9;
  lutimesSync(path, time, time);
}

function lstat(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
