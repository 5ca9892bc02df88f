import { createHash, type Hash } from "node:crypto";
import { EngineError, invalid, messageOf } from "../base/errors.ts";
import { type GrowingFile, Growth } from "../fs/growing_file.ts";
import type { Blob, ContentStore } from "./content_store.ts";
import { ConnectionError, isTransient } from "./registry/errors.ts";
import { pause, retryDelay } from "./registry/retry.ts";
import type { RegistryClient } from "./registry/client.ts";
import type { RegistrySettings } from "./registry/settings.ts";

export interface DownloadReport {
  /** Bytes on disk, those of an earlier attempt included. */
  onBytes(bytes: number): void;
  /** Seconds until the next attempt. */
  onRetry(seconds: number): void;
  onVerify(): void;
}

/** The bytes do not hash to the digest. `resumed`: a part of them was there before, which may be to blame. */
export class DigestMismatch extends EngineError {
  readonly resumed: boolean;
  constructor(digest: string, resumed: boolean) {
    super("invalid", `filesystem layer verification failed for digest ${digest}`);
    this.resumed = resumed;
  }
}

/** Pieces are joined up to this before they are written. */
const WRITE_SIZE = 512 * 1024;

/**
 * One blob on its way from a registry to the content store. It can be read while it grows ({@link BlobDownload.file});
 * it is verified when {@link BlobDownload.run} resolves. What a cut-off download has left is continued.
 */
export class BlobDownload {
  readonly #content: ContentStore;
  readonly #blob: Blob;
  readonly #growth = new Growth();
  #path: string;
  #hash: Hash = createHash("sha256");
  #length = 0;
  #resumed = false;

  constructor(content: ContentStore, blob: Blob) {
    this.#content = content;
    this.#blob = blob;
    this.#path = content.partialPath(blob.digest);
  }

  get file(): GrowingFile {
    return { path: () => this.#path, growth: this.#growth };
  }

  /** Takes what is there already; to be called before {@link file} is read. The caller holds the digest. */
  async prepare(signal: AbortSignal): Promise<void> {
    try {
      await Deno.mkdir(this.#path.replace(/\/[^/]*$/, ""), { recursive: true, mode: 0o700 });
      using file = await Deno.open(this.#path, { read: true, write: true, create: true, mode: 0o600 });
      const { size } = await file.stat();
      if (size > this.#blob.size) {
        await file.truncate(0);
        return;
      }
      const buffer = new Uint8Array(WRITE_SIZE);
      for (;;) {
        signal.throwIfAborted();
        const read = await file.read(buffer);
        if (read === null) break;
        this.#hash.update(buffer.subarray(0, read));
        this.#length += read;
      }
    } catch (error) {
      throw diskError(this.#path, error);
    }
    this.#resumed = this.#length > 0;
    this.#growth.grow(this.#length);
  }

  /**
   * Downloads, verifies and stores.
   *
   * @throws {DigestMismatch} nothing stays on disk then.
   * @throws {EngineError} after too many attempts; what has come stays for the next pull.
   */
  async run(
    client: RegistryClient,
    settings: RegistrySettings,
    report: DownloadReport,
    signal: AbortSignal,
  ): Promise<void> {
    const { digest, size } = this.#blob;
    let ok = false;
    try {
      using file = await Deno.open(this.#path, { write: true });
      await file.seek(this.#length, Deno.SeekMode.Start);
      for (let failures = 0; this.#length < size;) {
        const before = this.#length;
        try {
          await this.#attempt(client, file, settings, report, signal);
        } catch (error) {
          signal.throwIfAborted();
          // a connection that brings something each time may break as often as it likes
          failures = this.#length > before ? 1 : failures + 1;
          if (!isTransient(error) || failures >= settings.maxAttempts) throw error;
          await pause(retryDelay(error, failures, settings), (seconds) => report.onRetry(seconds), signal);
        }
      }
      report.onVerify();
      if (`sha256:${this.#hash.digest("hex")}` !== digest) {
        Deno.removeSync(this.#path);
        throw new DigestMismatch(digest, this.#resumed);
      }
      this.#content.adopt(this.#path, this.#blob);
      this.#path = this.#content.path(digest);
      ok = true;
    } finally {
      this.#growth.end(ok);
    }
  }

  async #attempt(
    client: RegistryClient,
    file: Deno.FsFile,
    settings: RegistrySettings,
    report: DownloadReport,
    signal: AbortSignal,
  ): Promise<void> {
    const { digest, size } = this.#blob;
    const give = new AbortController();
    const both = AbortSignal.any([signal, give.signal]);
    const stall = () =>
      give.abort(new ConnectionError("GET", client.url(`blobs/${digest}`), new Error("i/o timeout")));
    let timer = setTimeout(stall, settings.stallMs);
    try {
      const { body, from } = await client.blob(digest, this.#length, both);
      // the registry may begin at the beginning: what is there is passed over
      let skip = this.#length - from;
      const pending = new Pieces(WRITE_SIZE);
      try {
        for await (let chunk of body) {
          clearTimeout(timer);
          timer = setTimeout(stall, settings.stallMs);
          if (skip > 0) {
            const over = Math.min(skip, chunk.length);
            skip -= over;
            chunk = chunk.subarray(over);
          }
          if (this.#length + pending.length + chunk.length > size) {
            throw invalid(`blob ${digest} is larger than its manifest says: ${size} bytes`);
          }
          for (const full of pending.add(chunk)) await this.#write(file, full, report);
        }
      } catch (error) {
        await this.#write(file, pending.rest(), report);
        throw error;
      }
      await this.#write(file, pending.rest(), report);
    } catch (error) {
      signal.throwIfAborted();
      if (give.signal.aborted) throw give.signal.reason;
      if (error instanceof EngineError) throw error;
      throw new ConnectionError("GET", client.url(`blobs/${digest}`), error);
    } finally {
      clearTimeout(timer);
    }
    if (this.#length < size) {
      throw new ConnectionError("GET", client.url(`blobs/${digest}`), new Error("unexpected EOF"));
    }
  }

  async #write(file: Deno.FsFile, bytes: Uint8Array, report: DownloadReport): Promise<void> {
    if (bytes.length === 0) return;
    try {
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    } catch (error) {
      throw diskError(this.#path, error);
    }
    this.#hash.update(bytes);
    this.#length += bytes.length;
    this.#growth.grow(this.#length);
    report.onBytes(this.#length);
  }
}

/** Joins small pieces into large ones. */
class Pieces {
  readonly #size: number;
  #buffer: Uint8Array;
  length = 0;

  constructor(size: number) {
    this.#size = size;
    this.#buffer = new Uint8Array(size);
  }

  /** The full pieces that this one completes. */
  *add(chunk: Uint8Array): Generator<Uint8Array, void, undefined> {
    for (let at = 0; at < chunk.length;) {
      const take = Math.min(chunk.length - at, this.#size - this.length);
      this.#buffer.set(chunk.subarray(at, at + take), this.length);
      this.length += take;
      at += take;
      if (this.length === this.#size) {
        this.length = 0;
        yield this.#buffer;
      }
    }
  }

  rest(): Uint8Array {
    const rest = this.#buffer.subarray(0, this.length);
    this.length = 0;
    return rest;
  }
}

function diskError(path: string, error: unknown): unknown {
  if (error instanceof DOMException || error instanceof EngineError) return error;
  const full = error instanceof Error && "code" in error && error.code === "ENOSPC";
  return new EngineError("system", full ? `write ${path}: no space left on device` : messageOf(error), {
    cause: error,
  });
}
