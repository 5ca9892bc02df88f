import { exists } from "../base/exists.ts";
import { SysError } from "../ffi/errno.ts";
import { kernel } from "../ffi/kernel.ts";
import { treeCalls } from "../ffi/tree_calls.ts";
import { moveToTrash, removeTree } from "./remove_tree.ts";
import type { LayerRef } from "./graph_driver.ts";
import { requireLayers } from "./missing_layer.ts";

/** Where a graph driver keeps what belongs to one container. */
export interface ContainerDirs {
  /** `<root>/containers/<id>` */
  readonly dir: string;
  readonly upper: string;
  readonly work: string;
  /** Mount point, for a driver that mounts. */
  readonly merged: string;
}

/** Whoever waits for the end of a container is to have the processors first. */
const DELETE_DELAY_MS = 20;
/** Free bytes below which a removal gives back its space before it is over. */
const SHORT_OF_SPACE = 256 * 1024 * 1024;

/** The directories that graph drivers share: containers, writable layers, short names of layers, trash. */
export class GraphRoot {
  readonly root: string;
  /** Trees whose deletion is to come. */
  readonly #trashed: string[] = [];
  /** When they are gone. */
  #emptied: Promise<void> = Promise.resolve();

  /** @param root absolute path of the data root. */
  constructor(root: string) {
    this.root = root;
  }

  container(id: string): ContainerDirs {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(id)) throw new TypeError(`Invalid container id ${id}`);
    const dir = `${this.root}/containers/${id}`;
    return { dir, upper: `${dir}/upper`, work: `${dir}/work`, merged: `${dir}/merged` };
  }

  /**
   * Makes upper, work and merged where they are missing. The root of the container's file system gets the mode of its
   * topmost layer. Synchronous, because a hop to another thread takes longer than each of these calls.
   *
   * @throws {MissingLayer}
   */
  createContainer(id: string, layers: readonly LayerRef[]): ContainerDirs {
    requireLayers(layers);
    const dirs = this.container(id);
    Deno.mkdirSync(dirs.dir, { recursive: true, mode: 0o711 });
    for (const path of [dirs.work, dirs.merged, dirs.upper]) {
      Deno.mkdirSync(path, { recursive: true, mode: 0o755 });
    }
    const top = layers[0] === undefined ? undefined : Deno.statSync(layers[0].dir);
    // an overlay shows the attributes of its upper directory; the umask may have taken bits away
    Deno.chmodSync(dirs.upper, (top?.mode ?? 0o755) & 0o7777);
    if (top?.uid != null && top.gid != null && (top.uid !== 0 || top.gid !== 0)) {
      Deno.chownSync(dirs.upper, top.uid, top.gid);
    }
    return dirs;
  }

  /**
   * {@link createContainer}, unless they are there: then they stay as the container has left them.
   *
   * @throws {MissingLayer}
   */
  ensureContainer(id: string, layers: readonly LayerRef[]): ContainerDirs {
    const dirs = this.container(id);
    const whole = exists(dirs.upper) && exists(dirs.work) && exists(dirs.merged);
    if (!whole) return this.createContainer(id, layers);
    requireLayers(layers);
    return dirs;
  }

  /**
   * Removes everything of a container. Its name is free when this returns; its files go after that, those of one
   * container after the other. What is left when the engine ends goes at the next start, with the rest of the trash.
   * On a disk that is nearly full it is waited for: who removes something there needs the room.
   *
   * @throws the kernel's refusal to move the directory away.
   */
  async removeContainer(id: string): Promise<void> {
    const trashed = moveToTrash(this.container(id).dir, `${this.root}/trash`);
    if (trashed === undefined) return;
    this.#trashed.push(trashed);
    if (this.#trashed.length === 1) {
      this.#emptied = new Promise((resolve) => setTimeout(resolve, DELETE_DELAY_MS)).then(() =>
        this.#emptyTrash()
      );
    }
    const { bavail, bsize } = kernel.statfs(this.root);
    if (Number(bavail) * bsize < SHORT_OF_SPACE) await this.#emptied;
  }

  async #emptyTrash(): Promise<void> {
    for (let path = this.#trashed[0]; path !== undefined; path = this.#trashed[0]) {
      await removeTree(path).catch(() => {});
      this.#trashed.shift();
    }
  }

  /**
   * Short paths of layers, for mount options: they are limited to a page, which 60 paths of 64 hexadecimal digits
   * would not fit. All lie in one directory. A layer without entries stands in for no layer at all, which overlay refuses.
   */
  lowerDirs(layers: readonly LayerRef[]): string[] {
    if (layers.length === 0) {
      const empty = `${this.root}/l/empty`;
      Deno.mkdirSync(empty, { recursive: true, mode: 0o755 });
      return [empty];
    }
    return layers.map((layer) => this.#shortName(layer));
  }

  #shortName({ chainId, dir }: LayerRef): string {
    const hex = chainId.replace(/^sha256:/, "");
    const target = dir.startsWith(`${this.root}/`) ? `..${dir.slice(this.root.length)}` : dir;
    for (let length = 10;; length++) {
      const link = `${this.root}/l/${hex.slice(0, length)}`;
      if (readsAs(link, target) || linkPointsTo(link, target)) return link;
      if (length > hex.length) throw new Error(`no free short name for layer ${chainId}`);
    }
  }

  /** Bytes of the files in a container's writable layer (apparent size). */
  async usage(id: string): Promise<number> {
    return await this.sizeOf(this.container(id).upper) + await this.hostUsage(id);
  }

  /** The part of it that lies over this machine's own directories: containers of `berth/host` have one. */
  async hostUsage(id: string): Promise<number> {
    return await this.sizeOf(`${this.container(id).dir}/host`);
  }

  /** Sum of the sizes of all files in a tree, or of those changed since a time in nanoseconds; hard links count once. */
  async sizeOf(dir: string, changedSince = 0n): Promise<number> {
    return await treeSize(dir, changedSince);
  }
}

function readsAs(link: string, target: string): boolean {
  try {
    return Deno.readLinkSync(link) === target;
  } catch {
    return false;
  }
}

/** Makes the link or finds it; a link whose target is gone is made anew. False when the name is another layer's. */
function linkPointsTo(link: string, target: string): boolean {
  Deno.mkdirSync(link.slice(0, link.lastIndexOf("/")), { recursive: true, mode: 0o711 });
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      Deno.symlinkSync(target, link);
      return true;
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
    if (Deno.readLinkSync(link) === target) return true;
    if (exists(link)) return false;
    Deno.removeSync(link);
  }
  return false;
}

/** Sum of the sizes of all files in a tree, see {@link GraphRoot.sizeOf}. What goes meanwhile, since a container may run on it, does not count. */
export async function treeSize(dir: string, changedSince = 0n): Promise<number> {
  let total = 0;
  const seen = new Set<string>();
  const visit = async (path: string) => {
    for await (const entry of Deno.readDir(path)) {
      const child = `${path}/${entry.name}`;
      await (entry.isDirectory ? visit(child) : count(child)).catch(unlessGone);
    }
  };
  const count = async (path: string) => {
    const info = await Deno.lstat(path).catch(() => undefined);
    if (info === undefined) return;
    // Deno's own ctime has whole seconds only
    if (changedSince > 0n && treeCalls.changeTime(path) < changedSince) return;
    const key = `${info.dev}:${info.ino}`;
    if ((info.nlink ?? 1) > 1 && seen.has(key)) return;
    if ((info.nlink ?? 1) > 1) seen.add(key);
    total += info.size;
  };
  await visit(dir).catch(unlessGone);
  return total;
}

function unlessGone(error: unknown): void {
  if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return;
  if (error instanceof SysError && error.is("ENOENT", "ENOTDIR")) return;
  throw error;
}
