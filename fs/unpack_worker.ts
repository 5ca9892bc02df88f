/**
 * The thread that unpacks layers. Its root directory is its own (CLONE_FS): for each job it is chroot-ed into the layer,
 * so no path and no symbolic link of a hostile archive leads anywhere else, and afterwards it goes back by a descriptor.
 * While it is inside, nothing here may open a file by name but LayerWriter.
 */
import { createHash, type Hash } from "node:crypto";
import { EngineError, messageOf } from "../base/errors.ts";
import { CLONE_FS, O_CLOEXEC, O_DIRECTORY, O_RDONLY } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import { kernel } from "../ffi/kernel.ts";
import { checkGrowth, decompress, detectCompression, MAGIC_BYTES } from "./compression/mod.ts";
import { EntryReport } from "./entry_report.ts";
import { Growth } from "./growing_file.ts";
import { LayerWriter } from "./layer_writer.ts";
import { TarError, TarReader } from "./tar/mod.ts";
import { END, type UnpackResult, type WorkerAnswer, type WorkerFault, type WorkerJob } from "./unpack_job.ts";

const READ_CHUNK = 1024 * 1024;

class Aborted extends Error {}

/** The archive's bytes with their digest. */
class Source {
  readonly #job: WorkerJob;
  readonly #read: (buffer: Uint8Array) => number;
  readonly #close: () => void;
  readonly #flag: Int32Array;
  readonly hash: Hash = createHash("sha256");
  /** A growing file's writer knows its digest. */
  hashing: boolean;
  bytes = 0;

  /** Opens the file by its name: to be called before the chroot. */
  constructor(job: WorkerJob) {
    this.#job = job;
    this.#flag = new Int32Array(job.abort);
    this.hashing = job.digests;
    const { source } = job;
    if (source.kind === "pipe") {
      this.#read = (buffer) => kernel.read(source.fd, buffer);
      this.#close = () => {};
    } else if (source.kind === "growing") {
      const growth = new Growth(source.growth);
      const stopped = () => Atomics.load(this.#flag, 0) !== 0;
      this.#read = (buffer) => {
        const more = growth.wait(this.bytes, stopped);
        if (more < 0) throw new Aborted(`job ${job.id} was aborted`);
        const read = more === 0
          ? 0
          : kernel.read(source.fd, buffer.subarray(0, Math.min(buffer.length, more)));
        growth.tookUpTo(this.bytes + read);
        return read;
      };
      this.#close = () => {};
    } else {
      const file = Deno.openSync(source.path);
      if (source.offset > 0) file.seekSync(source.offset, Deno.SeekMode.Start);
      let left = source.length;
      this.#read = (buffer) => {
        const read = left === 0 ? null : file.readSync(buffer.subarray(0, Math.min(buffer.length, left)));
        left -= read ?? 0;
        return read ?? 0;
      };
      this.#close = () => file.close();
    }
  }

  /** Up to `buffer.length` bytes; empty at the end. */
  read(buffer: Uint8Array): Uint8Array {
    if (Atomics.load(this.#flag, 0) !== 0) throw new Aborted(`job ${this.#job.id} was aborted`);
    const read = this.#read(buffer);
    const chunk = buffer.subarray(0, read);
    if (this.hashing) this.hash.update(chunk);
    this.bytes += read;
    return chunk;
  }

  *chunks(head: Uint8Array, size: number): Generator<Uint8Array, void, undefined> {
    if (head.length > 0) yield head;
    for (;;) {
      // a decoder may still hold the one before
      const chunk = this.read(new Uint8Array(size));
      if (chunk.length === 0) return;
      yield chunk;
    }
  }

  close(): void {
    this.#close();
  }
}

async function unpack(job: WorkerJob, source: Source): Promise<UnpackResult> {
  const reader = new TarReader({ allowMissingEnd: job.allowMissingEnd });
  const writer = new LayerWriter(kernel, job);
  const report = job.into?.report ? new EntryReport() : undefined;
  const take = (chunk: Uint8Array) => {
    for (const event of reader.feed(chunk)) {
      if (event.kind === "data") {
        writer.data(event.chunk, event.offset);
        report?.data(event.chunk);
      } else if (event.kind === "entry") {
        writer.entry(event.entry);
        report?.entry(event.entry);
      } else {
        writer.end();
        report?.end();
      }
    }
  };
  let diffHash = source.hash;
  try {
    for (const path of job.into?.remove ?? []) remove(path);
    const buffer = new Uint8Array(READ_CHUNK);
    let held = 0;
    while (held < MAGIC_BYTES) {
      const more = source.read(buffer.subarray(held));
      if (more.length === 0) break;
      held += more.length;
    }
    const head = buffer.subarray(0, held);
    const compression = detectCompression(head);
    if (compression === "none") {
      if (held === 0) throw new TarError("archive is empty: unexpected EOF");
      take(head);
      for (;;) {
        const chunk = source.read(buffer);
        if (chunk.length === 0) break;
        take(chunk);
      }
    } else if (compression === "gzip" || compression === "zstd") {
      diffHash = createHash("sha256");
      source.hashing = job.digests && job.source.kind !== "growing";
      let grown = 0;
      for await (const chunk of decompress(compression, source.chunks(head, 256 * 1024))) {
        if (job.digests) diffHash.update(chunk);
        grown += chunk.length;
        checkGrowth(source.bytes, grown, job.limits.maxRatio);
        take(chunk);
      }
    } else {
      throw new EngineError("invalid", `${compression} data inside of another compression`);
    }
    reader.finish();
    writer.finish();
  } finally {
    writer.abandon();
  }
  const diffId = job.digests ? `sha256:${diffHash.digest("hex")}` : "";
  const digest = diffHash === source.hash
    ? diffId
    : source.hashing
    ? `sha256:${source.hash.digest("hex")}`
    : "";
  return {
    digest,
    diffId,
    archiveBytes: source.bytes,
    size: writer.size,
    entries: writer.entries,
    skippedDevices: writer.skippedDevices,
    skippedXattrs: writer.skippedXattrs,
    ...(report === undefined ? {} : { made: report.result() }),
  };
}

/** Below the thread's root. A link is removed itself. */
function remove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    // it has gone with a directory above
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof Deno.errors.NotADirectory)) {
      throw error;
    }
  }
}

function faultOf(error: unknown): WorkerFault {
  const message = messageOf(error);
  if (error instanceof Aborted) return { message, errorKind: "aborted", hint: undefined };
  if (error instanceof EngineError) {
    return { message, errorKind: error.kind === "invalid" ? "invalid" : "system", hint: error.hint };
  }
  // names too long, loops of links, files in place of directories: the archive's doing
  const hostile = error instanceof TarError ||
    (error instanceof SysError && error.is("ENAMETOOLONG", "ELOOP", "ENOTDIR", "ENOENT", "EEXIST", "EISDIR"));
  return { message, errorKind: hostile ? "invalid" : "system", hint: undefined };
}

/** Only a Worker has this; the bundle's types are those of a page. */
const scope = self as unknown as {
  onmessage: ((event: MessageEvent<WorkerJob | typeof END>) => void) | null;
  postMessage(answer: WorkerAnswer): void;
  close(): void;
};

let root = -1;

function enter(job: WorkerJob): Source {
  if (root < 0) {
    kernel.unshare(CLONE_FS);
    kernel.umask(0);
    root = kernel.open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  const source = new Source(job);
  try {
    kernel.chroot(job.dir);
    kernel.chdir("/");
  } catch (error) {
    source.close();
    throw error;
  }
  return source;
}

scope.onmessage = async ({ data: job }) => {
  if (job === END) {
    if (root >= 0) kernel.close(root);
    return scope.close();
  }
  try {
    const source = enter(job);
    try {
      scope.postMessage({ kind: "done", id: job.id, result: await unpack(job, source) });
    } finally {
      source.close();
      kernel.fchdir(root);
      kernel.chroot(".");
    }
  } catch (error) {
    scope.postMessage({ kind: "failed", id: job.id, fault: faultOf(error) });
  }
};
scope.postMessage({ kind: "ready" });
