/** Archives of trees that change while they are read. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { tarEvents } from "../../base/tar/mod.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import { O_CLOEXEC, O_DIRECTORY, O_RDONLY } from "../../ffi/constants.ts";
import { TreeTar } from "../../fs/tree_tar.ts";

const home = Deno.cwd();
let dir: string;

beforeEach(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-tree-tar-" });
  Deno.mkdirSync(`${dir}/d`);
  for (const name of ["a", "b", "d/c"]) Deno.writeTextFileSync(`${dir}/${name}`, name);
});
afterEach(() => {
  Deno.chdir(home);
  Deno.removeSync(dir, { recursive: true });
});

/** Names in the archive, of hard links with what they lead to; what is in `gone` was there when its directory was read. */
async function namesOf(gone: readonly string[]): Promise<string[]> {
  const open = (path: string, flags: number, mode?: number): number => {
    if (gone.includes(path)) throw new SysError("open", ERRNO.ENOENT, path);
    return kernel.open(path, flags, mode);
  };
  const parts: Uint8Array[] = [];
  const tar = new TreeTar({ ...kernel, open }, (chunk) => parts.push(chunk.slice()));
  const root = kernel.open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  try {
    kernel.fchdir(root);
    tar.tree("", ".", root);
    tar.finish();
  } finally {
    kernel.close(root);
  }
  const names: string[] = [];
  const stream = async function* () {
    yield* parts;
  };
  for await (const event of tarEvents(stream())) {
    if (event.kind !== "entry") continue;
    const { name, type, linkName } = event.entry;
    names.push(type === "hardlink" ? `${name} -> ${linkName}` : name);
  }
  return names;
}

it("leaves out a file that has gone since its directory was read", async () => {
  expect(await namesOf([])).toEqual(["a", "b", "d/", "d/c"]);
  expect(await namesOf(["b"])).toEqual(["a", "d/", "d/c"]);
});

it("shows a directory that has gone without what was in it", async () => {
  expect(await namesOf(["d"])).toEqual(["a", "b", "d/"]);
});

it("names no file that is not in the archive as the first of a hard link's names", async () => {
  Deno.linkSync(`${dir}/a`, `${dir}/e`);
  Deno.linkSync(`${dir}/a`, `${dir}/f`);
  expect(await namesOf([])).toEqual(["a", "b", "d/", "d/c", "e -> a", "f -> a"]);
  expect(await namesOf(["a"])).toEqual(["b", "d/", "d/c", "e", "f -> e"]);
});
