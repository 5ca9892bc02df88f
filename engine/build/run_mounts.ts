/** `RUN --mount`: what a command sees for as long as it runs, and that is in no layer afterwards. */
import { EngineError, invalid } from "../../base/errors.ts";
import { MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, O_CLOEXEC, O_PATH } from "../../ffi/constants.ts";
import { copyFiles } from "../../fs/build_copy.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import type { RunMount, RunOp } from "../../image/build/types.ts";
import { fdPath, findInRoot, isDirectory } from "../../runtime/rootfs_path.ts";
import { containerDir } from "../context.ts";
import { newContainerId } from "../names.ts";
import type { MountPointSpec } from "../types.ts";
import type { BuildContext } from "./build_context.ts";
import type { CacheMounts } from "./cache_mounts.ts";
import { openRoot, unmount } from "./layer_tree.ts";
import { type FindNamed, mountSource, withSourceTree } from "./sources.ts";
import { relaySocket } from "./ssh_relay.ts";
import type { BuildClient } from "./types.ts";

/** Where BuildKit has secrets and agents' sockets unless the Dockerfile says otherwise. */
const SECRETS_DIR = "/run/secrets";
const AGENT_SOCKET = "/run/buildkit/ssh_agent";

export interface RunMountsInput {
  readonly ctx: BuildContext;
  readonly caches: CacheMounts;
  readonly client: BuildClient;
  readonly find: FindNamed;
  readonly signal: AbortSignal;
}

/** Mounts of a command, ready to be given to its container. */
export interface PreparedMounts extends AsyncDisposable {
  readonly mounts: readonly MountPointSpec[];
  /** Variables that mounts bring: of secrets, and the way to the agent. */
  readonly env: readonly string[];
  /** What may have been made in the root for mounting at. */
  readonly stubs: readonly string[];
  /** Names of the cache directories that are used. */
  readonly caches: readonly string[];
}

/**
 * Finds the sources of a command's mounts and binds each to a place of the engine's own: what a path leads to is decided once, inside
 * its own tree, however links are changed afterwards.
 *
 * @throws {EngineError} in BuildKit's words: a source or a secret is missing.
 */
export async function prepareMounts(input: RunMountsInput, op: RunOp): Promise<PreparedMounts> {
  const preparing = new Preparing(input);
  try {
    await preparing.lock(op.mounts.filter(isLockedCache));
    for (const [index, mount] of op.mounts.entries()) await preparing.add(mount, index);
    for (const { path, content } of op.scripts) preparing.script(path, content);
    return preparing.done();
  } catch (error) {
    await preparing.undo();
    throw error;
  }
}

type CacheMount = Extract<RunMount, { type: "cache" }>;

const isLockedCache = (mount: RunMount): mount is CacheMount =>
  mount.type === "cache" && mount.sharing === "locked";

class Preparing {
  readonly #input: RunMountsInput;
  /** A directory as containers have them: swept when it has no row. */
  readonly #dir: string;
  /** One that fails keeps none of the others from being done: a lock that stays would hold up all builds to come. */
  readonly #undo = new AsyncDisposableStack();
  readonly #mounts: MountPointSpec[] = [];
  readonly #env: string[] = [];
  readonly #caches: string[] = [];
  /** Directories of caches that nobody else has now, by id. */
  readonly #locked = new Map<string, string>();
  #private: string | undefined;
  #agents = 0;

  constructor(input: RunMountsInput) {
    this.#input = input;
    this.#dir = containerDir(input.ctx, newContainerId());
  }

  /** Each cache once, and always in the same order: commands that want several of the same ones would wait for each other for ever. */
  async lock(mounts: readonly CacheMount[]): Promise<void> {
    for (const mount of mounts.toSorted((a, b) => a.id < b.id ? -1 : a.id > b.id ? 1 : 0)) {
      if (!this.#locked.has(mount.id)) this.#locked.set(mount.id, await this.#acquire(mount));
    }
  }

  async add(mount: RunMount, index: number): Promise<void> {
    switch (mount.type) {
      case "bind":
        return await this.#bind(mount, index);
      case "cache":
        return await this.#cache(mount, index);
      case "tmpfs":
        this.#mounts.push({
          Type: "tmpfs",
          Target: mount.target,
          ...(mount.size === undefined ? {} : { TmpfsOptions: { SizeBytes: mount.size } }),
        });
        return;
      case "secret":
        return await this.#secret(mount);
      case "ssh":
        return await this.#ssh(mount);
    }
  }

  async #bind(mount: Extract<RunMount, { type: "bind" }>, index: number): Promise<void> {
    const { ctx, find } = this.#input;
    const tree = await mountSource(ctx, await find(mount.from), mount.readWrite);
    this.#undo.defer(tree.remove);
    this.#mounts.push({
      Type: "bind",
      Source: this.#place(tree.path, mount.source, index),
      Target: mount.target,
      ReadOnly: !mount.readWrite,
    });
  }

  /** Answers its directory. */
  async #acquire(mount: CacheMount): Promise<string> {
    const { caches, signal } = this.#input;
    const { path, release } = await caches.acquire(mount, this.#populate(mount), signal);
    this.#undo.defer(release);
    this.#caches.push(path.slice(path.lastIndexOf("/") + 1));
    return path;
  }

  async #cache(mount: CacheMount, index: number): Promise<void> {
    const locked = isLockedCache(mount) ? this.#locked.get(mount.id) : undefined;
    const path = locked ?? await this.#acquire(mount);
    this.#mounts.push({
      Type: "bind",
      // with `from`, `source` has been heeded when the directory was made
      Source: this.#place(path, mount.from === undefined ? mount.source : "/", index),
      Target: mount.target,
      ReadOnly: mount.readOnly,
    });
  }

  /** What a new cache begins with. */
  #populate(mount: CacheMount): ((path: string) => Promise<void>) | undefined {
    const { ctx, find, signal } = this.#input;
    const { from, source } = mount;
    if (from === undefined) return undefined;
    return async (path) => {
      const at = containerDir(ctx, newContainerId());
      Deno.mkdirSync(at, { recursive: true, mode: 0o710 });
      try {
        const rootfs = { kind: "directory", path } as const;
        const view = { kind: "rootfs", at, rootfs, mounts: [], writable: true } as const;
        const files = { patterns: [source], wildcards: false, parents: false, exclude: [] };
        const options = { chown: undefined, chmod: undefined, epoch: undefined };
        // by one order: who has a thread of the trees and waits for another one would wait for ever, when all do
        await withSourceTree(ctx, await find(from), (tree) =>
          copyFiles(
            ctx.trees,
            view,
            "/",
            [{ kind: "files", tree, unpack: "never", ...files }],
            options,
            signal,
          ));
      } finally {
        await removeTree(at);
      }
    };
  }

  /**
   * Binds what `path` means inside `root` to a place of the engine's.
   *
   * @throws {EngineError} not-found
   */
  #place(root: string, path: string, index: number): string {
    const { kernel } = this.#input.ctx;
    const place = `${this.#dir}/mounts/${index}`;
    const base = openRoot(kernel, root);
    try {
      const found = findInRoot(kernel, base, path.startsWith("/") ? path : `/${path}`, O_PATH | O_CLOEXEC);
      if (found === undefined) throw new EngineError("not-found", `${JSON.stringify(path)}: not found`);
      try {
        Deno.mkdirSync(`${this.#dir}/mounts`, { recursive: true, mode: 0o700 });
        if (isDirectory(kernel, found)) Deno.mkdirSync(place);
        else Deno.writeTextFileSync(place, "");
        kernel.mount(fdPath(found), place, null, MS_BIND | MS_REC, null);
        this.#undo.defer(() => unmount(kernel, place));
        return place;
      } finally {
        kernel.close(found);
      }
    } finally {
      kernel.close(base);
    }
  }

  async #secret(mount: Extract<RunMount, { type: "secret" }>): Promise<void> {
    const { client, signal } = this.#input;
    const value = await client.secret(mount.id, signal);
    if (value === undefined) {
      if (mount.required) throw new EngineError("not-found", `secret ${mount.id}: not found`);
      return;
    }
    if (mount.env !== undefined) this.#env.push(`${mount.env}=${new TextDecoder().decode(value)}`);
    if (mount.target === undefined && mount.env !== undefined) return;
    const target = mount.target ?? `${SECRETS_DIR}/${mount.id}`;
    this.#mounts.push({ Type: "bind", Source: this.#write(value, mount), Target: target, ReadOnly: true });
  }

  async #ssh(mount: Extract<RunMount, { type: "ssh" }>): Promise<void> {
    const { ctx, client, signal } = this.#input;
    const agent = await client.sshSocket(mount.id, signal);
    if (agent === undefined) {
      if (mount.required) throw invalid(`no SSH key ${JSON.stringify(mount.id)} forwarded from the client`);
      return;
    }
    const target = mount.target ?? `${AGENT_SOCKET}.${this.#agents}`;
    const relay = relaySocket(ctx, agent, mount);
    this.#undo.defer(relay.close);
    this.#mounts.push({ Type: "bind", Source: relay.path, Target: target });
    if (this.#agents++ === 0) this.#env.push(`SSH_AUTH_SOCK=${target}`);
  }

  script(path: string, content: string): void {
    const Source = this.#write(new TextEncoder().encode(content), { mode: 0o755, uid: 0, gid: 0 });
    this.#mounts.push({ Type: "bind", Source, Target: path, ReadOnly: true });
  }

  /** A file in memory. */
  #write(
    bytes: Uint8Array,
    { mode, uid, gid }: { readonly mode: number; readonly uid: number; readonly gid: number },
  ): string {
    const path = `${this.#memory()}/${crypto.randomUUID()}`;
    Deno.writeFileSync(path, bytes, { createNew: true, mode: 0o600 });
    Deno.chownSync(path, uid, gid);
    Deno.chmodSync(path, mode);
    return path;
  }

  /** A file system in memory: what is secret comes to no disk. */
  #memory(): string {
    if (this.#private !== undefined) return this.#private;
    const { kernel } = this.#input.ctx;
    const path = `${this.#dir}/mounts/memory`;
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    kernel.mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700");
    this.#undo.defer(() => unmount(kernel, path));
    return this.#private = path;
  }

  done(): PreparedMounts {
    return {
      mounts: this.#mounts,
      env: this.#env,
      stubs: this.#mounts.flatMap(({ Target }) => withParents(Target)),
      caches: this.#caches,
      [Symbol.asyncDispose]: () => this.undo(),
    };
  }

  async undo(): Promise<void> {
    await this.#undo.disposeAsync();
    // never with something still mounted in it
    await removeTree(this.#dir);
  }
}

/** "/a/b/c" → /a, /a/b, /a/b/c */
function withParents(path: string): string[] {
  const paths: string[] = [];
  for (let slash = path.indexOf("/", 1); slash > 0; slash = path.indexOf("/", slash + 1)) {
    paths.push(path.slice(0, slash));
  }
  return [...paths, path];
}
