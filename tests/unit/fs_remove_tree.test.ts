import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { removeTree } from "../../fs/remove_tree.ts";

let dir: string;
beforeEach(() => {
  dir = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "berth-remove-" }));
});
afterEach(() => {
  vi.restoreAllMocks();
  Deno.removeSync(dir, { recursive: true });
});

it("removeTree() removes no file while something is mounted below", async () => {
  Deno.mkdirSync(`${dir}/tree/a b`, { recursive: true });
  Deno.writeTextFileSync(`${dir}/tree/file`, "");
  Deno.symlinkSync("tree", `${dir}/link`);
  const read = Deno.readTextFileSync;
  const table = (target: string) =>
    vi.spyOn(Deno, "readTextFileSync").mockImplementation((path) =>
      path === "/proc/self/mountinfo" ? `1 2 0:3 / ${target} rw - ext4 /dev/sda rw\n` : read(path)
    );
  table(`${dir}/tree/a\\040b`);
  await expect(removeTree(`${dir}/tree`)).rejects.toThrow(`something is mounted at ${dir}/tree/a b`);
  await removeTree(`${dir}/link`);
  expect(read(`${dir}/tree/file`)).toBe("");
  table(`${dir}/tree2`);
  await removeTree(`${dir}/tree`);
  await removeTree(`${dir}/tree`);
  expect([...Deno.readDirSync(dir)].map(({ name }) => name)).toEqual([]);
});
