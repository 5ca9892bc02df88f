/** What builds order of the thread of trees. */
import { invalid } from "../base/errors.ts";
import { parseModeChange } from "../base/file_mode.ts";
import { O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, S_IFMT, S_IFREG } from "../ffi/constants.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { treeCalls } from "../ffi/tree_calls.ts";
import { lookupUser } from "../runtime/init_user.ts";
import { Copier } from "./build_copier.ts";
import { TreeDigest } from "./build_digest.ts";
import type { BuildOrder, BuildResults, CopyOptions, OpenedPath, SourceTree } from "./build_job.ts";
import { SourceRoot } from "./build_source.ts";
import { detectCompression } from "./compression/detect.ts";
import { BLOCK, isTarHeader } from "./tar/mod.ts";
import type { ViewSpec } from "./tree_job.ts";
import type { OpenSource, TreeView } from "./tree_view.ts";

/** @param checkpoint throws when nobody waits any more. */
export function runBuildOrder(
  sys: Syscalls,
  view: TreeView,
  order: BuildOrder,
  checkpoint: () => void,
): BuildResults[BuildOrder["op"]] {
  switch (order.op) {
    case "digest": {
      const { selection } = order;
      return withTree(sys, view, selection.tree, (root) => {
        const digest = new TreeDigest(sys, { rootOwned: selection.tree.kind === "directory", checkpoint });
        new SourceRoot(sys, root).walk(selection, digest);
        return digest.finish();
      });
    }
    case "open":
      return withTree(sys, view, order.selection.tree, (root) => openAll(sys, root, order));
    case "copy":
      return copy(sys, view, order, checkpoint);
    case "mkdir":
      return inside(sys, view, order.view, [], () => {
        const copier = copierOf(sys, order.options, checkpoint);
        copier.makeDirectories(order.path);
        copier.finish();
        return copier.result;
      });
  }
}

function withTree<T>(sys: Syscalls, view: TreeView, tree: SourceTree, use: (root: number) => T): T {
  let root = -1;
  try {
    root = view.open(tree);
    return use(root);
  } finally {
    if (root >= 0) sys.close(root);
    view.leave();
  }
}

function inside<T>(
  sys: Syscalls,
  view: TreeView,
  spec: ViewSpec,
  sources: readonly OpenSource[],
  work: () => T,
): T {
  let root = -1;
  try {
    root = view.enter(spec, sources);
    return work();
  } finally {
    for (const { fd } of sources) if (fd >= 0) sys.close(fd);
    if (root >= 0) sys.close(root);
    view.leave();
  }
}

function copy(
  sys: Syscalls,
  view: TreeView,
  { view: spec, dest, sources, options }: Extract<BuildOrder, { op: "copy" }>,
  checkpoint: () => void,
) {
  const opened = sources.flatMap((source) => source.kind === "files" ? [{ tree: source.tree, fd: -1 }] : []);
  return inside(sys, view, spec, opened, () => {
    const copier = copierOf(sys, options, checkpoint);
    const roots = opened.values();
    for (const source of sources) {
      if (source.kind === "inline") {
        copier.inline(dest, source.name, new TextEncoder().encode(source.content));
        continue;
      }
      const root = new SourceRoot(sys, roots.next().value?.fd ?? -1);
      root.walk(source, copier.into(dest, source.tree.kind === "directory"));
    }
    copier.finish();
    return copier.result;
  });
}

function copierOf(sys: Syscalls, options: CopyOptions, checkpoint: () => void): Copier {
  return new Copier({ ...sys, ...treeCalls }, {
    owner: options.chown === undefined || options.chown === "" ? undefined : ownerIn(sys, options.chown),
    mode: options.chmod === undefined ? undefined : parseModeChange(options.chmod),
    epoch: options.epoch,
    ignoreChownErrors: options.ignoreChownErrors ?? false,
    checkpoint,
  });
}

/** As Docker has it: a number without a group is its own group; a name's group is that of the passwd file. */
function ownerIn(sys: Syscalls, spec: string): { uid: number; gid: number } {
  const text = /^\d+$/.test(spec) ? `${spec}:${spec}` : spec;
  try {
    return lookupUser(text, [], readText(sys, "/etc/passwd"), readText(sys, "/etc/group"));
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error), error);
  }
}

/** Text of a file below the thread's root; "" when it is missing or no file. */
export function readText(sys: Syscalls, path: string): string {
  let fd: number;
  try {
    // a FIFO would be waited for
    fd = sys.open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  } catch {
    return "";
  }
  try {
    if ((sys.fstat(fd).mode & S_IFMT) !== S_IFREG) return "";
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const buffer = new Uint8Array(64 * 1024);
      const read = sys.read(fd, buffer);
      if (read <= 0) break;
      text += decoder.decode(buffer.subarray(0, read), { stream: true });
    }
    return text + decoder.decode();
  } finally {
    sys.close(fd);
  }
}

function openAll(
  sys: Syscalls,
  root: number,
  { selection }: Extract<BuildOrder, { op: "open" }>,
): OpenedPath[] {
  const source = new SourceRoot(sys, root);
  const found: OpenedPath[] = [];
  try {
    for (const path of selection.patterns.flatMap((one) => source.paths(one, selection.wildcards))) {
      source.at(path, ({ name, stat }) => {
        const regular = (stat.mode & S_IFMT) === S_IFREG;
        found.push({ path, fd: regular ? openArchive(sys, name) : undefined });
      });
    }
    return found;
  } catch (error) {
    for (const { fd } of found) if (fd !== undefined) sys.close(fd);
    throw error;
  }
}

/** Descriptor of a file that may be an archive by its first bytes; undefined when it cannot be one, which is the rule. */
function openArchive(sys: Syscalls, name: string): number | undefined {
  const fd = sys.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  try {
    const head = new Uint8Array(BLOCK);
    const length = Math.max(0, sys.read(fd, head));
    if (detectCompression(head.subarray(0, length)) !== "none" || (length === BLOCK && isTarHeader(head))) {
      return fd;
    }
  } catch (error) {
    sys.close(fd);
    throw error;
  }
  sys.close(fd);
  return undefined;
}

/** Orders of builds among all orders. */
export function isBuildOrder(order: { readonly op: string }): order is BuildOrder {
  return ["digest", "open", "copy", "mkdir"].includes(order.op);
}
