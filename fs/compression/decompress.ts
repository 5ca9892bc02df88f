import type { Transform } from "node:stream";
import { EngineError, invalid, messageOf } from "../../base/errors.ts";
import { type Compression, detectCompression, MAGIC_BYTES } from "./detect.ts";
import { ZstdFrames, type ZstdPiece } from "./zstd_frames.ts";

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Largest piece that a decoder hands out: bigger ones save little, smaller ones cost (measured: 16 KiB halves the speed). */
const OUTPUT_CHUNK = 256 * 1024;

/** Memory that `xz` may use to decode; its highest preset (-9) needs 65 MiB. */
const XZ_MEMORY = "--memlimit-decompress=512MiB";

/** Looks at the first bytes of a stream. `chunks` then yields everything, those bytes included. */
export async function sniff(
  source: Chunks,
): Promise<{ compression: Compression; chunks: AsyncGenerator<Uint8Array, void, undefined> }> {
  const iterator = Symbol.asyncIterator in source
    ? source[Symbol.asyncIterator]()
    : iterateAsync(source)[Symbol.asyncIterator]();
  let head = new Uint8Array(0);
  while (head.length < MAGIC_BYTES) {
    const next = await iterator.next();
    if (next.done) break;
    head = head.length === 0 ? new Uint8Array(next.value) : new Uint8Array([...head, ...next.value]);
  }
  async function* chunks() {
    try {
      if (head.length > 0) yield head;
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { compression: detectCompression(head), chunks: chunks() };
}

async function* iterateAsync(source: Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  yield* source as Iterable<Uint8Array>;
}

/**
 * Decodes a stream: gzip of several members, zstd of several frames, xz and bzip2 by the programs of that name.
 * The chunks are only valid until the next one is asked for.
 *
 * @throws {EngineError} invalid when the data is damaged or cut short, system when a program is missing.
 */
export async function* decompress(
  compression: Compression,
  source: Chunks,
): AsyncGenerator<Uint8Array, void, undefined> {
  switch (compression) {
    case "none":
      yield* source;
      return;
    case "gzip": {
      const { createGunzip } = await import("node:zlib");
      yield* through(createGunzip({ chunkSize: OUTPUT_CHUNK }), source, "gzip");
      return;
    }
    case "zstd":
      yield* unzstd(source);
      return;
    case "xz":
      yield* byProgram("xz", ["--decompress", "--stdout", "--quiet", XZ_MEMORY], source);
      return;
    case "bzip2":
      yield* byProgram("bzip2", ["--decompress", "--stdout", "--quiet"], source);
      return;
  }
}

/** Pumps `source` through a transform of Node's, with back pressure both ways. */
async function* through(
  transform: Transform,
  source: Chunks,
  what: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sourceError: { readonly error: unknown } | undefined;
  const feed = async () => {
    try {
      for await (const chunk of source) {
        if (transform.destroyed || !(await consumed(transform, chunk))) return;
      }
      transform.end();
    } catch (error) {
      sourceError = { error };
      transform.destroy();
    }
  };
  // never rejects; not awaited when the reader stops early, because the source may be silent for long
  const feeding = feed();
  try {
    for await (const chunk of transform) yield chunk as Uint8Array;
  } catch (error) {
    throw sourceError ? sourceError.error : damaged(what, error);
  } finally {
    transform.destroy();
  }
  await feeding;
  if (sourceError) throw sourceError.error;
}

/** Gives a transform one chunk; true once it has taken it, false when it has failed (its reader is told why). */
function consumed(transform: Transform, chunk: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    const closed = () => resolve(false);
    transform.once("close", closed);
    transform.write(chunk, (error) => {
      transform.off("close", closed);
      resolve(!error);
    });
  });
}

/** What a decoder says, as an error of the archive. */
function damaged(what: string, error: unknown): EngineError {
  const text = messageOf(error);
  const cut = (error as { code?: unknown } | null)?.code === "Z_BUF_ERROR" ||
    /unexpected end of file/i.test(text);
  const message = cut ? `truncated ${what} stream: unexpected EOF` : `invalid ${what} stream: ${text}`;
  return invalid(message, error);
}

async function* unzstd(source: Chunks): AsyncGenerator<Uint8Array, void, undefined> {
  const { createZstdDecompress } = await import("node:zlib");
  const frames = new ZstdFrames();
  const iterator = Symbol.asyncIterator in source ? source : iterateAsync(source);
  const pieces = zstdPieces(frames, iterator);
  for (;;) {
    // one decoder for each frame: it stops silently at the end of the first
    const first = await pieces.next();
    if (first.done) return;
    yield* through(createZstdDecompress({ chunkSize: OUTPUT_CHUNK }), oneFrame(first.value, pieces), "zstd");
  }
}

/** The bytes of one frame, which begins with `first`. */
async function* oneFrame(
  first: ZstdPiece,
  rest: AsyncGenerator<ZstdPiece, void, undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let piece = first; piece.kind === "data";) {
    yield piece.chunk;
    const next = await rest.next();
    if (next.done) return;
    piece = next.value;
  }
}

async function* zstdPieces(
  frames: ZstdFrames,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<ZstdPiece, void, undefined> {
  try {
    for await (const chunk of source) yield* frames.feed(chunk);
    frames.finish();
  } catch (error) {
    if (error instanceof Error && /zstd stream/.test(error.message)) {
      throw new EngineError("invalid", error.message, { cause: error });
    }
    throw error;
  }
}

async function* byProgram(
  program: string,
  args: string[],
  source: Chunks,
): AsyncGenerator<Uint8Array, void, undefined> {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new EngineError(
      "system",
      `unable to decompress ${program} data: the program ${program} is not installed`,
      {
        hint: `sudo apt-get install ${program === "xz" ? "xz-utils" : program}`,
      },
    );
  }
  const stderr = new Response(child.stderr).text();
  let feedError: unknown;
  const feed = async () => {
    const writer = child.stdin.getWriter();
    try {
      for await (const chunk of source) await writer.write(chunk);
      await writer.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) feedError = error;
      await writer.abort().catch(() => {});
    }
  };
  const feeding = feed();
  let done = false;
  try {
    yield* child.stdout;
    done = true;
  } finally {
    if (!done) {
      try {
        child.kill("SIGKILL");
      } catch {
        // it has ended already
      }
      await child.stdout.cancel().catch(() => {});
    }
    await feeding;
    await child.status;
  }
  if (feedError !== undefined) throw feedError;
  const status = await child.status;
  const said = (await stderr).trim();
  if (!status.success) {
    throw new EngineError("invalid", `invalid ${program} stream: ${said || "decoder failed"}`);
  }
}
