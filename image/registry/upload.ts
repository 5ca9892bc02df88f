import type { RegistryClient } from "./client.ts";
import { errorOf } from "./errors.ts";

/** A piece of an upload to a registry that wants to know lengths beforehand. */
const PIECE = 8 * 1024 * 1024;
const READ_SIZE = 256 * 1024;

/** Bytes to upload, from a file or from memory. */
export type UploadSource =
  | { readonly path: string; readonly size: number }
  | { readonly bytes: Uint8Array<ArrayBuffer>; readonly size: number };

/** What became of an attempt to have a blob without sending it. */
export type MountOutcome =
  | { readonly mounted: true }
  /** The registry has opened an upload instead. */
  | { readonly mounted: false; readonly location: string | undefined };

/** Asks the registry to take a blob over from another of its repositories (distribution-spec, "Mounting a blob"). */
export async function mountBlob(
  client: RegistryClient,
  digest: string,
  from: string,
  signal: AbortSignal,
): Promise<MountOutcome> {
  const query = new URLSearchParams({ mount: digest, from });
  const url = `${client.url("blobs/uploads/")}?${query}`;
  const response = await client.send(url, { method: "POST", body: () => new Uint8Array(0), signal });
  await response.body?.cancel();
  if (response.status === 201) return { mounted: true };
  const location = response.status === 202 ? response.headers.get("location") : null;
  return { mounted: false, location: location === null ? undefined : new URL(location, url).href };
}

/**
 * Uploads a blob: in one request of unknown length as Docker does, or in pieces of known length where the registry (or
 * what stands before it) refuses that.
 *
 * @param location an upload that is open already.
 */
export async function uploadBlob(
  client: RegistryClient,
  digest: string,
  source: UploadSource,
  location: string | undefined,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  let at = location ?? await begin(client, signal);
  if (source.size > 0) {
    const response = await client.send(at, {
      method: "PATCH",
      headers: { "Content-Type": "application/octet-stream" },
      body: () => streamOf(source, onBytes),
      signal,
    });
    if (response.status === 202) {
      await response.body?.cancel();
      at = next(response, at);
    } else if ([400, 405, 411, 413, 416, 501].includes(response.status)) {
      await response.body?.cancel();
      at = await inPieces(client, await begin(client, signal), source, onBytes, signal);
    } else {
      throw await errorOf(response);
    }
  }
  const done = new URL(at);
  done.searchParams.set("digest", digest);
  const response = await client.expect(done.href, [201, 204], {
    method: "PUT",
    headers: { "Content-Type": "application/octet-stream" },
    body: () => new Uint8Array(0),
    signal,
  });
  await response.body?.cancel();
}

async function begin(client: RegistryClient, signal: AbortSignal): Promise<string> {
  const url = client.url("blobs/uploads/");
  const response = await client.expect(url, [202], { method: "POST", body: () => new Uint8Array(0), signal });
  await response.body?.cancel();
  return next(response, url);
}

/** Each answer says where the next part goes. */
function next(response: Response, url: string): string {
  return new URL(response.headers.get("location") ?? url, url).href;
}

async function inPieces(
  client: RegistryClient,
  start: string,
  source: UploadSource,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<string> {
  let at = start;
  using file = "path" in source ? await Deno.open(source.path) : undefined;
  for (let sent = 0; sent < source.size;) {
    const piece = "bytes" in source
      ? source.bytes.subarray(sent, sent + PIECE)
      : await readPiece(file, Math.min(PIECE, source.size - sent));
    const response = await client.expect(at, [202], {
      method: "PATCH",
      headers: {
        "Content-Type": "application/octet-stream",
        "Content-Range": `${sent}-${sent + piece.length - 1}`,
      },
      body: () => piece,
      signal,
    });
    await response.body?.cancel();
    at = next(response, at);
    sent += piece.length;
    onBytes(sent);
  }
  return at;
}

async function readPiece(file: Deno.FsFile | undefined, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const piece = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const read = await file?.read(piece.subarray(at)) ?? null;
    if (read === null) throw new Error("a stored blob is shorter than it was");
    at += read;
  }
  return piece;
}

function streamOf(
  source: UploadSource,
  onBytes: (bytes: number) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  if ("bytes" in source) return new Blob([source.bytes]).stream();
  let file: Deno.FsFile | undefined;
  let sent = 0;
  const close = () => {
    file?.close();
    file = undefined;
  };
  return new ReadableStream({
    async pull(controller) {
      try {
        file ??= await Deno.open(source.path);
        const chunk = new Uint8Array(READ_SIZE);
        const read = await file.read(chunk);
        if (read === null) {
          close();
          controller.close();
          return;
        }
        sent += read;
        onBytes(sent);
        controller.enqueue(chunk.subarray(0, read));
      } catch (error) {
        close();
        throw error;
      }
    },
    cancel: close,
  }, { highWaterMark: 0 });
}
