import { EngineError } from "../base/errors.ts";
import { workerUrl } from "../base/self.ts";
import { treeCalls } from "../ffi/tree_calls.ts";
import type { RootfsSpec } from "../runtime/spec.ts";
import { GraphRoot } from "./container_dirs.ts";
import type { GraphDriver, LayerRef } from "./graph_driver.ts";
import type { MergeAnswer, MergeJob } from "./merge_worker.ts";
import type { MergeResult } from "./merge_layers.ts";
import { requireLayers } from "./missing_layer.ts";
import { removeTree } from "./remove_tree.ts";

/** Root directories made at the same time. */
const PARALLEL = 2;

/**
 * No union file system at all: a container's root is a plain directory, a copy of what its layers show together. Works
 * wherever files do, at the price of a copy for each container, which costs neither time nor space where the file
 * system shares blocks between files (btrfs, xfs).
 *
 * Layers are kept as they came, each by itself with its whiteouts as files, and merged only for a container: an image of
 * twenty layers takes the space of twenty layers, not of twenty trees.
 *
 * `<root>/containers/<id>/rootfs` is made under another name and takes its place complete; the time of the file `vfs.json`
 * beside it divides what was copied from what the container has changed.
 */
export class VfsDriver implements GraphDriver {
  readonly name = "vfs";
  readonly whiteouts = "files";
  readonly reason: string;
  readonly status: readonly (readonly [string, string])[];
  readonly #graph: GraphRoot;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** @param reflinks whether the file system of the data root shares blocks between files. */
  constructor(root: string, reason: string, backing: string, reflinks: boolean) {
    this.#graph = new GraphRoot(root);
    this.reason = reason;
    this.status = [["Backing Filesystem", backing], ["Shares blocks (reflink)", String(reflinks)]];
  }

  async create(containerId: string, layers: readonly LayerRef[]): Promise<void> {
    const { dir } = this.#graph.container(containerId);
    const rootfs = `${dir}/rootfs`;
    if (exists(rootfs)) return;
    requireLayers(layers);
    await Deno.mkdir(dir, { recursive: true, mode: 0o711 });
    const temporary = `${rootfs}.tmp`;
    await removeTree(temporary);
    await Deno.mkdir(temporary, { mode: 0o755 });
    // the umask may have taken bits away; without layers nothing else sets them
    await Deno.chmod(temporary, 0o755);
    const merged = await this.#merge({ layers: layers.map((layer) => layer.dir), target: temporary });
    await this.#mark(dir, temporary, JSON.stringify(merged));
    Deno.renameSync(temporary, rootfs);
  }

  /** Writes `vfs.json` at a time later than that of everything copied: the file system's clock may tick in 4 ms steps only. */
  async #mark(dir: string, copied: string, text: string): Promise<void> {
    const last = treeCalls.changeTime(copied);
    const deadline = performance.now() + 1000;
    do {
      Deno.writeTextFileSync(`${dir}/vfs.json`, text);
      if (treeCalls.changeTime(`${dir}/vfs.json`) > last) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
    } while (performance.now() < deadline);
  }

  async #merge(job: MergeJob): Promise<MergeResult> {
    if (this.#running >= PARALLEL) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    const worker = new Worker(workerUrl("fs/merge_worker.ts"), { type: "module", name: "merge" });
    try {
      const answer = await new Promise<MergeAnswer>((resolve) => {
        worker.onmessage = ({ data }: MessageEvent<MergeAnswer>) => resolve(data);
        worker.onerror = (event) => {
          event.preventDefault();
          resolve({ error: event.message });
        };
        worker.postMessage(job);
      });
      if ("result" in answer) return answer.result;
      throw new EngineError("system", `error creating the root directory of a container: ${answer.error}`);
    } finally {
      worker.terminate();
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }

  async acquire(containerId: string, layers: readonly LayerRef[]): Promise<RootfsSpec> {
    await this.create(containerId, layers);
    return { kind: "directory", path: `${this.#graph.container(containerId).dir}/rootfs` };
  }

  async release(_containerId: string): Promise<void> {}

  async remove(containerId: string): Promise<void> {
    await this.#graph.removeContainer(containerId);
  }

  /** Bytes of the files that the container has made or changed: a change of any kind renews a file's ctime. */
  async usage(containerId: string): Promise<number> {
    const { dir } = this.#graph.container(containerId);
    if (!exists(`${dir}/rootfs`)) return 0;
    const own = await this.#graph.sizeOf(`${dir}/rootfs`, treeCalls.changeTime(`${dir}/vfs.json`));
    return own + await this.#graph.hostUsage(containerId);
  }
}

function exists(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
