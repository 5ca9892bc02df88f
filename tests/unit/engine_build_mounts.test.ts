/** What mounts of RUN hold, and that they let go of it. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BuildContext } from "../../engine/build/build_context.ts";
import type { BuildCache } from "../../engine/build/cache.ts";
import { CacheMounts } from "../../engine/build/cache_mounts.ts";
import { prepareMounts } from "../../engine/build/run_mounts.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import type { RunMount, RunOp } from "../../image/build/types.ts";

type CacheMount = Extract<RunMount, { type: "cache" }>;

const uid = Deno.uid() ?? 0, gid = Deno.gid() ?? 0;
const cacheMount: CacheMount = {
  type: "cache",
  id: "/cache",
  target: "/cache",
  source: "/",
  from: undefined,
  readOnly: false,
  sharing: "locked",
  mode: 0o755,
  uid,
  gid,
};

describe("mounts of RUN", () => {
  let dataRoot: string;
  let caches: CacheMounts;

  beforeEach(() => {
    dataRoot = Deno.makeTempDirSync({ prefix: "berth-mounts-" });
    const cache = { mounts: () => [], useMount: () => {} } as unknown as BuildCache;
    caches = new CacheMounts({ dataRoot } as BuildContext, cache);
  });
  afterEach(() => Deno.removeSync(dataRoot, { recursive: true }));

  it("give a locked cache up at once when the build has been called off before", async () => {
    const signal = AbortSignal.abort(new Error("called off"));
    await expect(caches.acquire(cacheMount, undefined, signal)).rejects.toThrow("called off");
    // nobody is left in the queue
    const { release } = await caches.acquire(cacheMount, undefined, new AbortController().signal);
    release();
  });

  it("lock each cache once, and in one order whatever the order of the mounts", async () => {
    const still = { ...kernel, mount: () => {}, umount2: () => {} };
    const ctx = { dataRoot, kernel: still } as unknown as BuildContext;
    const { signal } = new AbortController();
    const prepare = (...ids: string[]) => {
      const mounts = ids.map((id, number): CacheMount => ({ ...cacheMount, id, target: `/cache${number}` }));
      const op = { mounts, scripts: [] } as unknown as RunOp;
      const nothing = () => Promise.reject(new Error("nothing of the kind"));
      const client = { secret: nothing, sshSocket: nothing, registryAuth: nothing };
      return prepareMounts({ ctx, caches, client, find: nothing, signal }, op);
    };
    const twice = await prepare("/a", "/a");
    expect([twice.mounts.length, twice.caches.length]).toEqual([2, 1]);
    await twice[Symbol.asyncDispose]();
    const both = [prepare("/a", "/b"), prepare("/b", "/a")];
    await (await Promise.race(both))[Symbol.asyncDispose]();
    for (const prepared of await Promise.all(both)) await prepared[Symbol.asyncDispose]();
  });

  it("let go of a cache even when something else cannot be undone", async () => {
    const refusing = {
      ...kernel,
      mount: () => {},
      umount2: (path: string) => {
        throw new SysError("umount2", ERRNO.EIO, path);
      },
    };
    const ctx = { dataRoot, kernel: refusing } as unknown as BuildContext;
    const client = {
      secret: () => Promise.resolve(new TextEncoder().encode("geheim")),
      sshSocket: () => Promise.resolve(undefined),
      registryAuth: () => Promise.resolve(undefined),
    };
    const secret = {
      type: "secret",
      id: "token",
      target: "/run/secrets/token",
      env: undefined,
      required: true,
      mode: 0o400,
      uid,
      gid,
    } as const;
    const find = () => Promise.reject(new Error("nothing to be found"));
    const { signal } = new AbortController();
    const op = { mounts: [cacheMount, secret], scripts: [] } as unknown as RunOp;
    const prepared = await prepareMounts({ ctx, caches, client, find, signal }, op);
    const [name = ""] = prepared.caches;
    expect(caches.inUse(name)).toBe(true);
    await expect(prepared[Symbol.asyncDispose]()).rejects.toThrow();
    expect(caches.inUse(name)).toBe(false);
    // what is still mounted is not removed with the directory: the next start unmounts it first
    expect([...Deno.readDirSync(`${dataRoot}/containers`)]).toHaveLength(1);
  });
});
