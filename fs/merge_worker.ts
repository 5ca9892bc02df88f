/** The thread that makes the root directory of a container on `vfs`: thousands of system calls, which must not hold up the engine. */
import { messageOf } from "../base/errors.ts";
import { CLONE_FS, O_DIRECTORY, O_PATH } from "../ffi/constants.ts";
import { kernel } from "../ffi/kernel.ts";
import { treeCalls } from "../ffi/tree_calls.ts";
import { LayerMerger, type MergeResult } from "./merge_layers.ts";

export interface MergeJob {
  /** Directories of the layers, the topmost first. */
  readonly layers: readonly string[];
  /** Existing empty directory. */
  readonly target: string;
}

export type MergeAnswer = { readonly result: MergeResult } | { readonly error: string };

function merge({ layers, target }: MergeJob): MergeAnswer {
  const opened: number[] = [];
  // paths through descriptors are short, whatever the data root is called: all of PATH_MAX is left for the tree
  const short = (path: string) => {
    const fd = kernel.open(path, O_PATH | O_DIRECTORY);
    opened.push(fd);
    // the dot: the last component must not be a link
    return `/proc/self/fd/${fd}/.`;
  };
  try {
    kernel.unshare(CLONE_FS);
    kernel.umask(0);
    const merger = new LayerMerger({ ...kernel, ...treeCalls }, layers.map(short), short(target));
    return { result: merger.run() };
  } catch (error) {
    return { error: messageOf(error) };
  } finally {
    for (const fd of opened) kernel.close(fd);
  }
}

/** Only a Worker has this; the bundle's types are those of a page. */
const scope = self as unknown as {
  onmessage: ((event: MessageEvent<MergeJob>) => void) | null;
  postMessage(answer: MergeAnswer): void;
};
scope.onmessage = ({ data }) => scope.postMessage(merge(data));
