import { TAR_END, tarHeader, tarPadding } from "../../base/tar/mod.ts";
import { goErrno } from "../../base/go_errno.ts";
import { CliError } from "../errors.ts";
import { type Plan, renamed } from "./paths.ts";

const READ_SIZE = 256 * 1024;

/** A tar archive of `dir/base` and everything below it, its names changed as `rename` says. Sockets are left out. */
export async function* packLocal(
  dir: string,
  base: string,
  rename: Plan["rename"],
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* new Packer(rename).entry(`${dir === "/" ? "" : dir}/${base}`, base);
  yield TAR_END;
}

class Packer {
  readonly #rename: Plan["rename"];
  readonly #links = new Map<string, string>();

  constructor(rename: Plan["rename"]) {
    this.#rename = rename;
  }

  async *entry(path: string, given: string): AsyncGenerator<Uint8Array, void, undefined> {
    const info = await failing("lstat", path, () => Deno.lstat(path));
    const name = renamed(given, this.#rename);
    const common = {
      name,
      mode: (info.mode ?? 0) & 0o7777,
      uid: info.uid ?? 0,
      gid: info.gid ?? 0,
      // whole seconds, as docker writes them
      mtime: [Math.floor((info.mtime?.getTime() ?? 0) / 1000), 0] as const,
    };
    if (info.isDirectory) {
      yield tarHeader({ ...common, type: "directory" });
      const names = (await Array.fromAsync(Deno.readDir(path))).map((child) => child.name).sort();
      for (const child of names) yield* this.entry(`${path}/${child}`, `${given}/${child}`);
    } else if (info.isSymlink) {
      yield tarHeader({ ...common, type: "symlink", linkName: await Deno.readLink(path) });
    } else if (info.isFile) {
      const linkName = this.#linkTo(info, name);
      if (linkName !== undefined) yield tarHeader({ ...common, type: "hardlink", linkName });
      else yield* this.#file(path, common, info.size);
    } else if (info.isFifo) {
      yield tarHeader({ ...common, type: "fifo" });
    } else if (info.isCharDevice || info.isBlockDevice) {
      const rdev = info.rdev ?? 0;
      yield tarHeader({
        ...common,
        type: info.isCharDevice ? "char" : "block",
        deviceMajor: Math.floor(rdev / 256) & 0xfff,
        deviceMinor: rdev & 0xff,
      });
    }
  }

  /** Name of an earlier entry that is the same file. */
  #linkTo(info: Deno.FileInfo, name: string): string | undefined {
    if ((info.nlink ?? 1) < 2) return undefined;
    const key = `${info.dev}:${info.ino}`;
    const known = this.#links.get(key);
    if (known === undefined) this.#links.set(key, name);
    return known;
  }

  async *#file(
    path: string,
    common: Parameters<typeof tarHeader>[0],
    size: number,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    using file = await failing("open", path, () => Deno.open(path));
    yield tarHeader({ ...common, type: "file", size });
    const buffer = new Uint8Array(READ_SIZE);
    for (let left = size; left > 0;) {
      const space = buffer.subarray(0, Math.min(left, READ_SIZE));
      const read = await file.read(space);
      // it was cut short since: the header has promised these bytes
      if (read === null) space.fill(0);
      const got = read ?? space.length;
      left -= got;
      yield space.subarray(0, got);
    }
    const padding = tarPadding(size);
    if (padding.length > 0) yield padding;
  }
}

async function failing<T>(operation: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new CliError(`${operation} ${path}: ${goErrno(error)}`);
  }
}
