/**
 * The thread that looks into containers: `cp`, `export`, `diff`, `commit`. One order at a time; in between it is where
 * the engine is.
 */
import { createHash } from "node:crypto";
import { EngineError, messageOf } from "../base/errors.ts";
import { O_CLOEXEC, O_CREAT, O_EXCL, O_WRONLY, S_IFMT } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import { kernel } from "../ffi/kernel.ts";
import { mountOverlay, openOverlay } from "../runtime/init_overlay.ts";
import { lookupUser } from "../runtime/init_user.ts";
import { isBuildOrder, readText, runBuildOrder } from "./build_orders.ts";
import { changesOf, diffEntries } from "./diff.ts";
import { writeLayer } from "./layer_tar.ts";
import { linkLayer } from "./link_layer.ts";
import { LayerWriter } from "./layer_writer.ts";
import { notLater, sealLayer } from "./seal_layer.ts";
import { TarError, TarReader } from "./tar/mod.ts";
import {
  type Change,
  CREDIT,
  type ExtractOptions,
  type FromTreeWorker,
  GIVE_UP,
  type LayerFile,
  type ToTreeWorker,
  type TreeFault,
  type TreeOrder,
  type ViewSpec,
} from "./tree_job.ts";
import { absolutePath, baseName, findPath, openTarget, pathStat } from "./tree_path.ts";
import { TreeTar } from "./tree_tar.ts";
import { TreeView } from "./tree_view.ts";
import { DEFAULT_LIMITS } from "./unpack_job.ts";

class Aborted extends Error {}

/** Only a Worker has this; the bundle's types are those of a page. */
const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToTreeWorker>) => void) | null;
  postMessage(answer: FromTreeWorker, transfer?: Transferable[]): void;
  close(): void;
};

const send = (message: FromTreeWorker) => scope.postMessage(message);

let view: TreeView | undefined;
const theView = (): TreeView => view ??= new TreeView(kernel);
const enter = (spec: ViewSpec): number => theView().enter(spec);

/** Hands chunks to the engine, no more than it has given leave for. */
function outlet(flow: Int32Array<SharedArrayBuffer>): (chunk: Uint8Array<ArrayBuffer>) => void {
  return (chunk) => {
    for (;;) {
      if (Atomics.load(flow, GIVE_UP) !== 0) throw new Aborted("aborted");
      const credit = Atomics.load(flow, CREDIT);
      if (credit > 0) break;
      Atomics.wait(flow, CREDIT, 0);
    }
    Atomics.sub(flow, CREDIT, 1);
    scope.postMessage({ kind: "chunk", chunk }, [chunk.buffer]);
  };
}

/** Runs `work` with the container's root as this thread's own. */
function inside<T>(spec: ViewSpec, work: (root: number) => T): T {
  let root = -1;
  try {
    root = enter(spec);
    return work(root);
  } finally {
    if (root >= 0) kernel.close(root);
    view?.leave();
  }
}

function archive(root: number, path: string, flow: Int32Array<SharedArrayBuffer>): void {
  const absolute = absolutePath(path);
  const found = findPath(kernel, root, absolute);
  try {
    send({ kind: "stat", stat: pathStat(kernel, absolute, found) });
    const tar = new TreeTar(kernel, outlet(flow));
    const base = baseName(absolute);
    kernel.fchdir(found.here);
    const isDirectory = (found.stat.mode & S_IFMT) === 0o040000;
    tar.tree(isDirectory && base !== "/" ? `${base}/` : base, found.name, found.here);
    tar.finish();
  } finally {
    kernel.close(found.here);
  }
}

function exportTree(root: number, flow: Int32Array<SharedArrayBuffer>): void {
  const tar = new TreeTar(kernel, outlet(flow));
  kernel.fchdir(root);
  tar.tree("", ".", root);
  tar.finish();
}

/** @throws {Aborted} nobody wants the answer any more. */
function heed(flow: Int32Array<SharedArrayBuffer>): void {
  if (Atomics.load(flow, GIVE_UP) !== 0) throw new Aborted("aborted");
}

function layer(order: Extract<TreeOrder, { op: "layer" }>, flow: Int32Array<SharedArrayBuffer>): LayerFile {
  const entries = notLater(diffEntries(kernel, order.source), order.latest);
  const fd = kernel.open(order.file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600);
  const hash = createHash("sha256");
  let length = 0;
  try {
    const tar = new TreeTar(kernel, (chunk) => {
      heed(flow);
      hash.update(chunk);
      length += chunk.length;
      for (let at = 0; at < chunk.length;) at += kernel.write(fd, chunk.subarray(at));
    }, { reuse: true });
    writeLayer(tar, entries);
    return { diffId: `sha256:${hash.digest("hex")}`, length, size: tar.size, entries: tar.entries };
  } finally {
    kernel.close(fd);
  }
}

function run(order: TreeOrder, flow: Int32Array<SharedArrayBuffer>): Parameters<typeof done>[0] {
  if (isBuildOrder(order)) {
    return runBuildOrder(kernel, theView(), order, () => {
      if (Atomics.load(flow, GIVE_UP) !== 0) throw new Aborted("aborted");
    });
  }
  switch (order.op) {
    case "stat":
      return inside(order.view, (root) => {
        const path = absolutePath(order.path);
        const found = findPath(kernel, root, path);
        try {
          return pathStat(kernel, path, found);
        } finally {
          kernel.close(found.here);
        }
      });
    case "archive":
      return inside(order.view, (root) => archive(root, order.path, flow)) ?? null;
    case "export":
      return inside(order.view, (root) => exportTree(root, flow)) ?? null;
    case "changes":
      return changesOf(diffEntries(kernel, order.source)) satisfies readonly Change[];
    case "layer":
      return layer(order, flow);
    case "mount":
      view ??= new TreeView(kernel);
      return mountOverlay(kernel, openOverlay(kernel, order.overlay), order.target, 0) ?? null;
    case "seal":
      return sealLayer(kernel, order.source, { latest: order.latest, check: () => heed(flow) });
    case "link":
      return linkLayer(kernel, order.from, order.to, () => heed(flow)) ?? null;
    case "extract":
      throw new TypeError("extracting takes its time");
  }
}

/** An archive that is being unpacked while its chunks come in; the thread stays in the container in between. */
class Extraction {
  readonly #root: number;
  readonly #reader = new TarReader();
  readonly #writer: LayerWriter;

  constructor(order: Extract<TreeOrder, { op: "extract" }>) {
    let root = -1;
    try {
      root = enter(order.view);
      this.#writer = writerInto(root, order);
      this.#root = root;
    } catch (error) {
      if (root >= 0) kernel.close(root);
      view?.leave();
      throw error;
    }
  }

  take(chunk: Uint8Array): void {
    for (const event of this.#reader.feed(chunk)) {
      if (event.kind === "data") this.#writer.data(event.chunk, event.offset);
      else if (event.kind === "entry") this.#writer.entry(event.entry);
      else this.#writer.end();
    }
  }

  finish(): void {
    this.#reader.finish();
    this.#writer.finish();
  }

  close(): void {
    this.#writer.abandon();
    kernel.close(this.#root);
    view?.leave();
  }
}

function writerInto(root: number, { path, options }: Extract<TreeOrder, { op: "extract" }>): LayerWriter {
  const target = openTarget(kernel, root, absolutePath(path));
  let found: string;
  try {
    found = view?.pathOf(target) ?? "/";
    kernel.chdir("/");
  } finally {
    kernel.close(target);
  }
  checkWritable(found, options);
  const { owner, noOverwriteDirNonDir, wholeDirectory = false } = options;
  return new LayerWriter(kernel, {
    whiteouts: "apply",
    ignoreChownErrors: false,
    limits: DEFAULT_LIMITS,
    into: {
      path: found === "/" ? "" : found,
      noOverwriteDirNonDir,
      wholeDirectory,
      empty: false,
      owner: owner === undefined ? undefined : ownerIn(owner),
    },
  });
}

/** In the words of moby's container_extract. */
function checkWritable(path: string, { volumes, readOnlyRoot }: ExtractOptions): void {
  const volume = volumes.filter(({ target }) => path === target || path.startsWith(`${target}/`))
    .sort((a, b) => b.target.length - a.target.length)[0];
  if (volume?.readOnly) throw new EngineError("invalid", "mounted volume is marked read-only");
  if (volume === undefined && readOnlyRoot) {
    throw new EngineError("invalid", "container rootfs is marked read-only");
  }
}

function ownerIn(spec: string): { uid: number; gid: number } {
  return lookupUser(spec, [], readText(kernel, "/etc/passwd"), readText(kernel, "/etc/group"));
}

function faultOf(error: unknown): TreeFault {
  const message = messageOf(error);
  if (error instanceof Aborted) return { message, errorKind: "aborted" };
  if (error instanceof EngineError) {
    const known = error.kind === "invalid" || error.kind === "not-found";
    return { message, errorKind: known ? error.kind : "system" };
  }
  if (error instanceof TarError) return { message, errorKind: "invalid" };
  if (error instanceof SysError && error.is("ENOENT", "ENOTDIR")) return { message, errorKind: "not-found" };
  return { message, errorKind: "system" };
}

const failed = (error: unknown) => send({ kind: "failed", fault: faultOf(error) });
function done(result: Extract<FromTreeWorker, { kind: "done" }>["result"]): void {
  send({ kind: "done", result });
}

let extraction: Extraction | undefined;
/** The order is over for us, but chunks of its input may still come. */
let draining = false;

function stop(error: unknown): void {
  const ending = extraction;
  extraction = undefined;
  draining = true;
  try {
    ending?.close();
  } catch (problem) {
    failed(problem);
    return;
  }
  failed(error);
}

scope.onmessage = ({ data }) => {
  try {
    switch (data.kind) {
      case "order": {
        draining = false;
        const { order } = data;
        if (order.op === "extract") extraction = new Extraction(order);
        else done(run(order, new Int32Array(data.flow)));
        return;
      }
      case "chunk":
        if (draining) return;
        extraction?.take(data.chunk);
        scope.postMessage({ kind: "taken", buffer: data.chunk.buffer }, [data.chunk.buffer]);
        return;
      case "eof": {
        const ending = extraction;
        if (ending === undefined) return;
        ending.finish();
        extraction = undefined;
        ending.close();
        done(null);
        return;
      }
      case "abort":
        if (extraction !== undefined) stop(new Aborted("aborted"));
        return;
      case "end":
        view?.[Symbol.dispose]();
        scope.close();
        return;
    }
  } catch (error) {
    stop(error);
  }
};
send({ kind: "ready" });
