/**
 * Tries overlay for real, in a mount namespace of this thread alone: whatever happens, nothing stays mounted. Answers why it
 * does not do, or nothing.
 */
import { messageOf } from "../base/errors.ts";
import { CLONE_FS, CLONE_NEWNS, MNT_DETACH, MS_PRIVATE, MS_REC, S_IFCHR, S_IFMT } from "../ffi/constants.ts";
import { kernel } from "../ffi/kernel.ts";
import { OPAQUE_VALUE } from "./whiteouts.ts";

export interface OverlayProbe {
  /** Empty directory, on the file system of the data root. */
  readonly dir: string;
  /** Another id that this user namespace maps, to be given a file; undefined when there is only one. */
  readonly otherId: number | undefined;
}

export interface OverlayVerdict {
  readonly refusal: string | undefined;
}

function prepare(dir: string): void {
  for (const name of ["lower", "lower/gone", "upper", "work", "merged"]) {
    kernel.mkdir(`${dir}/${name}`, 0o755);
  }
  Deno.writeTextFileSync(`${dir}/lower/file`, "below");
  Deno.writeTextFileSync(`${dir}/lower/owned`, "below");
  Deno.writeTextFileSync(`${dir}/lower/gone/inner`, "below");
}

/** What containers do to their files, and the marks that it must leave in the upper directory. */
function exercise({ dir, otherId }: OverlayProbe): void {
  const merged = `${dir}/merged`, upper = `${dir}/upper`;
  if (Deno.readTextFileSync(`${merged}/file`) !== "below") {
    throw new Error("a file of the lower layer is not seen");
  }
  kernel.unlink(`${merged}/file`);
  const whiteout = kernel.stat(`${upper}/file`, false);
  if ((whiteout.mode & S_IFMT) !== S_IFCHR || whiteout.rdev !== 0n) {
    throw new Error("removal leaves no whiteout");
  }
  if (otherId !== undefined) kernel.lchown(`${merged}/owned`, otherId, otherId);
  Deno.writeTextFileSync(`${merged}/owned`, "above");
  if (Deno.readTextFileSync(`${dir}/lower/owned`) !== "below") {
    throw new Error("a write reaches the lower layer");
  }
  kernel.unlink(`${merged}/gone/inner`);
  kernel.rmdir(`${merged}/gone`);
  kernel.mkdir(`${merged}/gone`, 0o755);
  const opaque = kernel.lgetxattr(`${upper}/gone`, "user.overlay.opaque");
  if (opaque?.[0] !== OPAQUE_VALUE[0]) throw new Error("a directory made anew is not opaque");
}

function probe(job: OverlayProbe): OverlayVerdict {
  const { dir } = job;
  try {
    prepare(dir);
    kernel.unshare(CLONE_FS | CLONE_NEWNS);
    kernel.mount(null, "/", null, MS_REC | MS_PRIVATE, null);
    const options = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work,userxattr`;
    kernel.mount("overlay", `${dir}/merged`, "overlay", 0, options);
    try {
      exercise(job);
    } finally {
      kernel.umount2(`${dir}/merged`, MNT_DETACH);
    }
    return { refusal: undefined };
  } catch (error) {
    return { refusal: messageOf(error).replaceAll(dir, "") };
  }
}

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<OverlayProbe>) => void) | null;
  postMessage(verdict: OverlayVerdict): void;
};
scope.onmessage = ({ data }) => scope.postMessage(probe(data));
