/** The pools of threads that work on trees, and the sizes of trees that change. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { treeSize } from "../../fs/container_dirs.ts";
import type { TreeOrder } from "../../fs/tree_job.ts";
import { TreeThreads } from "../../fs/tree_threads.ts";

let dir: string;
beforeEach(() => dir = Deno.makeTempDirSync({ prefix: "berth-trees-" }));
afterEach(() => {
  vi.restoreAllMocks();
  Deno.removeSync(dir, { recursive: true });
});

describe("TreeThreads.run()", () => {
  it("does nothing that was called off while it waited for a thread", async () => {
    Deno.mkdirSync(`${dir}/upper`);
    const order: Extract<TreeOrder, { op: "changes" }> = {
      op: "changes",
      source: {
        kind: "union",
        parts: [{ at: "/", upper: `${dir}/upper`, lower: [] }],
        whiteoutFiles: false,
        stubs: [],
      },
    };
    using threads = new TreeThreads(1);
    const give = new AbortController();
    const first = threads.run(order);
    const second = threads.run(order, give.signal);
    give.abort(new Error("called off"));
    await expect(second).rejects.toThrow("called off");
    expect(await first).toEqual([]);
    // the thread is free again
    expect(await threads.run(order)).toEqual([]);
  });
});

describe("treeSize()", () => {
  it("counts what is left when directories go meanwhile", async () => {
    for (const name of ["a", "m", "z"]) {
      Deno.mkdirSync(`${dir}/${name}`);
      Deno.writeTextFileSync(`${dir}/${name}/file`, "x".repeat(100));
    }
    const { readDir } = Deno;
    vi.spyOn(Deno, "readDir").mockImplementation((path) => {
      if (String(path).endsWith("/m")) Deno.removeSync(path, { recursive: true });
      return readDir(path);
    });
    expect(await treeSize(dir)).toBe(200);
    expect(await treeSize(`${dir}/nothing`)).toBe(0);
  });
});
