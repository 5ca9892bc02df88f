import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  CLONE_FS,
  CLONE_NEWNS,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_REC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  OPEN_TREE_CLONE,
} from "../ffi/constants.ts";
import { EngineError } from "../base/errors.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { attachTree } from "../runtime/init_mounts.ts";
import { mountOverlay, openOverlay, type OverlayLayers } from "../runtime/init_overlay.ts";
import { fdPath, findInRoot, isDirectory, makeInRoot } from "../runtime/rootfs_path.ts";
import { isAlive } from "../base/process_identity.ts";
import type { SourceTree } from "./build_job.ts";
import type { ViewMount, ViewSpec } from "./tree_job.ts";

/** A tree of a build, and the descriptor of its root once it is open. */
export interface OpenSource {
  readonly tree: SourceTree;
  fd: number;
}

/**
 * Makes a container's files the calling thread's root directory, in a mount namespace that only this thread has: whatever
 * happens, nothing stays mounted. The thread must be a Worker's, not the main one.
 */
export class TreeView implements Disposable {
  readonly #sys: Syscalls;
  readonly #home: number;
  /** /proc/self/fd of the engine, for the names of descriptors; there is no /proc in a view. */
  readonly #descriptors: number;

  constructor(sys: Syscalls) {
    this.#sys = sys;
    sys.unshare(CLONE_FS);
    sys.umask(0);
    this.#home = sys.open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
    this.#descriptors = sys.open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }

  /** Descriptors are the process's: they do not go with the thread. */
  [Symbol.dispose](): void {
    this.#sys.close(this.#home);
    this.#sys.close(this.#descriptors);
  }

  /**
   * Root and working directory become the container's root. Answers a descriptor of it, for the caller to close; {@link leave}
   * takes the thread back.
   *
   * @param sources trees to be read beside it, opened before; see {@link open}.
   */
  enter(spec: ViewSpec, sources: readonly OpenSource[] = []): number {
    const trees = spec.kind === "process" ? this.#takeOver(spec) : [];
    try {
      this.#unshare();
      for (const source of sources) source.fd = this.#openSource(source.tree);
      if (spec.kind === "process") this.#attach(spec.at, trees);
      else this.#assemble(spec);
      this.#sys.chdir(spec.at);
      this.#sys.chroot(".");
      this.#sys.chdir("/");
      return this.#sys.open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } finally {
      for (const { fd } of trees) this.#sys.close(fd);
    }
  }

  /** Opens a tree where the thread is: {@link leave} is to be called afterwards. Answers a descriptor of its root. */
  open(tree: SourceTree): number {
    if (tree.kind === "rootfs") this.#unshare();
    return this.#openSource(tree);
  }

  #unshare(): void {
    this.#sys.unshare(CLONE_NEWNS);
    this.#sys.mount(null, "/", null, MS_REC | MS_PRIVATE, null);
  }

  #openSource(tree: SourceTree): number {
    const flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    if (tree.kind === "directory") return this.#sys.open(tree.path, flags);
    const { rootfs, at, mounts } = tree;
    if (rootfs.kind === "directory" && mounts.length === 0) return this.#sys.open(rootfs.path, flags);
    this.#assemble({ kind: "rootfs", at, rootfs, mounts, writable: false });
    return this.#sys.open(tree.at, flags);
  }

  /** Back to where the thread came from; the view is gone with its namespace. */
  leave(): void {
    this.#sys.setns(this.#home, CLONE_NEWNS);
    this.#sys.chdir("/");
  }

  /** Path in the view of an open descriptor. Changes the working directory. */
  pathOf(fd: number): string {
    this.#sys.fchdir(this.#descriptors);
    return this.#sys.readlink(String(fd));
  }

  /**
   * Copies of a running container's mounts. Its root alone, without what is mounted in it, and each of `targets` with
   * everything below.
   */
  #takeOver(
    { pid, startTime, targets }: Extract<ViewSpec, { kind: "process" }>,
  ): { target: string; fd: number }[] {
    const namespace = this.#sys.open(`/proc/${pid}/ns/mnt`, O_RDONLY | O_CLOEXEC);
    const trees: { target: string; fd: number }[] = [];
    try {
      // the number may have become another process's: only now, with the namespace held, the answer stays true
      if (!isAlive({ pid, startTime })) throw new EngineError("conflict", "the container has just ended");
      this.#sys.setns(namespace, CLONE_NEWNS);
      const root = this.#sys.open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
      try {
        trees.push({ target: "/", fd: this.#sys.openTree(root, "", OPEN_TREE_CLONE | AT_EMPTY_PATH) });
        for (const target of targets) {
          const found = findInRoot(this.#sys, root, target);
          if (found === undefined) continue;
          try {
            const flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE;
            trees.push({ target, fd: this.#sys.openTree(found, "", flags) });
          } finally {
            this.#sys.close(found);
          }
        }
      } finally {
        this.#sys.close(root);
      }
      return trees;
    } catch (error) {
      for (const { fd } of trees) this.#sys.close(fd);
      throw error;
    } finally {
      this.#sys.setns(this.#home, CLONE_NEWNS);
      this.#sys.close(namespace);
    }
  }

  #attach(at: string, trees: readonly { target: string; fd: number }[]): void {
    for (const { target, fd } of trees) {
      const place = target === "/"
        ? this.#sys.open(at, O_PATH | O_DIRECTORY | O_CLOEXEC)
        : this.#inView(at, target);
      if (place === undefined) continue;
      try {
        attachTree(this.#sys, fd, place);
      } finally {
        this.#sys.close(place);
      }
    }
  }

  /** What `target` is in the view that is being put together; undefined when there is nothing. */
  #inView(at: string, target: string): number | undefined {
    const root = this.#sys.open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
    try {
      return findInRoot(this.#sys, root, target);
    } finally {
      this.#sys.close(root);
    }
  }

  #assemble({ at, rootfs, mounts, writable }: Extract<ViewSpec, { kind: "rootfs" }>): void {
    // taken before anything is mounted: they may lie above the view, or be hidden below it
    const sources = mounts.map(({ source }) =>
      typeof source === "string" ? this.#copyOf(source) : openOverlay(this.#sys, source)
    );
    try {
      if (rootfs.kind === "overlay") {
        mountOverlay(this.#sys, openOverlay(this.#sys, rootfs.overlay), at, 0);
      } else {
        const tree = this.#copyOf(rootfs.path);
        if (tree === undefined) throw new EngineError("system", `${rootfs.path} is missing`);
        this.#attach(at, [{ target: "/", fd: tree }]);
        this.#sys.close(tree);
      }
      for (const [index, mount] of mounts.entries()) this.#mount(at, mount, sources[index], writable);
    } finally {
      for (const fd of sources) if (typeof fd === "number") this.#sys.close(fd);
    }
  }

  #copyOf(path: string): number | undefined {
    let found: number;
    try {
      found = this.#sys.open(path, O_PATH | O_CLOEXEC);
    } catch {
      // a volume whose source is gone cannot be looked into
      return undefined;
    }
    try {
      return this.#sys.openTree(found, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
    } finally {
      this.#sys.close(found);
    }
  }

  #mount(
    at: string,
    { target, readOnly }: ViewMount,
    tree: number | OverlayLayers | undefined,
    writable: boolean,
  ): void {
    if (tree === undefined) return;
    const kind = typeof tree === "number" && !isDirectory(this.#sys, tree) ? "file" : "directory";
    const root = this.#sys.open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
    try {
      const place = writable
        ? makeInRoot(this.#sys, root, target, kind)
        : findInRoot(this.#sys, root, target);
      if (place === undefined) return;
      try {
        if (typeof tree !== "number") mountOverlay(this.#sys, tree, fdPath(place), 0);
        else if (isDirectory(this.#sys, place) === (kind === "directory")) {
          if (readOnly) {
            this.#sys.mountSetattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, { set: MOUNT_ATTR_RDONLY });
          }
          attachTree(this.#sys, tree, place);
        }
      } finally {
        this.#sys.close(place);
      }
    } finally {
      this.#sys.close(root);
    }
  }
}
