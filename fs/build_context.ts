/** The files that a client sends for a build. */
import type { UnpackOptions, UnpackPool } from "./unpack.ts";
import type { MadeEntry, UnpackInto, UnpackLimits, UnpackResult } from "./unpack_job.ts";

export type { MadeEntry } from "./unpack_job.ts";

/** What a context was. */
export type ContextResult = Pick<UnpackResult, "archiveBytes" | "size" | "entries" | "skippedDevices">;

/** More than any project has: who is beyond has sent a home directory. */
const CONTEXT_LIMITS: Partial<UnpackLimits> = { maxEntries: 2_000_000, maxBytes: 256 * 1024 ** 3 };

/**
 * Unpacks a context, compressed or not, into an empty directory, in a thread. Everything is root's: that is how builds see it. Device
 * nodes are left out. After a failure what was made so far stays: remove the directory.
 *
 * @throws {EngineError} invalid: it is no archive, leads out of the directory, or is beyond the limits.
 * @throws {DOMException} AbortError after `signal`.
 */
export async function unpackContext(
  pool: UnpackPool,
  directory: string,
  archive: AsyncIterable<Uint8Array>,
  options: { readonly signal?: AbortSignal; readonly limits?: Partial<UnpackLimits> } = {},
): Promise<ContextResult> {
  return await pool.unpack(orderOf(directory, archive, options, { empty: true }));
}

/**
 * Changes a context that was unpacked before: what `remove` names goes, with what is below it, then the archive's entries take their
 * places. After a failure the directory is neither the one nor the other: remove it.
 *
 * @param remove absolute paths in the context; undefined: the directory is empty.
 * @returns what the archive's entries are.
 * @throws as {@link unpackContext}
 */
export async function updateContext(
  pool: UnpackPool,
  directory: string,
  remove: readonly string[] | undefined,
  archive: AsyncIterable<Uint8Array>,
  options: { readonly signal?: AbortSignal; readonly limits?: Partial<UnpackLimits> } = {},
): Promise<readonly MadeEntry[]> {
  const { made = [] } = await pool.unpack(
    orderOf(directory, archive, options, {
      ...(remove === undefined ? { empty: true } : { empty: false, remove }),
      report: true,
    }),
  );
  return made;
}

function orderOf(
  directory: string,
  archive: AsyncIterable<Uint8Array>,
  options: { readonly signal?: AbortSignal; readonly limits?: Partial<UnpackLimits> },
  into: Pick<UnpackInto, "empty" | "remove" | "report">,
): UnpackOptions {
  return {
    source: { stream: archive },
    dir: directory,
    whiteouts: "apply",
    digests: false,
    into: {
      path: "",
      noOverwriteDirNonDir: false,
      owner: { uid: 0, gid: 0 },
      wholeDirectory: false,
      ...into,
    },
    limits: { ...CONTEXT_LIMITS, ...options.limits },
    signal: options.signal,
  };
}
