/** The files of one log: the current one and those that rotation has set aside (`.1` is the newest of them, perhaps `.1.gz`). */

const NEWLINE = 0x0a;
const BLOCK = 64 * 1024;
/** Read of a log at once, depending on how much there is. */
const MOST_AT_ONCE = 256 * 1024;
const LEAST_AT_ONCE = 8 * 1024;
/** More rotated files than anybody keeps: where the search ends. */
const MAX_FILES = 1000;

export interface OpenLog {
  readonly file: Deno.FsFile;
  readonly inode: number | null;
  readonly compressed: boolean;
}

function open(path: string, compressed: boolean): OpenLog | undefined {
  try {
    const file = Deno.openSync(path);
    return { file, inode: file.statSync().ino, compressed };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function inodeOf(path: string): number | null {
  try {
    return Deno.statSync(path).ino;
  } catch {
    return null;
  }
}

/**
 * Opens all files of a log, oldest first. Rotation may happen meanwhile, which would make a file appear twice or not
 * at all: then everything is opened anew.
 */
export function openLogFiles(path: string): OpenLog[] {
  for (let attempt = 0;; attempt++) {
    const files: OpenLog[] = [];
    const current = open(path, false);
    if (current) files.unshift(current);
    for (let n = 1; n < MAX_FILES; n++) {
      const rotated = open(`${path}.${n}`, false) ?? open(`${path}.${n}.gz`, true);
      if (!rotated) break;
      files.unshift(rotated);
    }
    if (attempt >= 10 || inodeOf(path) === (current?.inode ?? null)) return files;
    closeAll(files);
  }
}

export function closeAll(files: readonly OpenLog[]): void {
  for (const { file } of files) file.close();
}

/** The file that follows `inode` in the log after a rotation: the oldest one that is newer, or the current one. */
export function openNextFile(path: string, inode: number | null): OpenLog | undefined {
  for (let n = 1; n < MAX_FILES; n++) {
    const found = inodeOf(`${path}.${n}`);
    if (found === null) break;
    if (found === inode) return open(n === 1 ? path : `${path}.${n - 1}`, false);
  }
  return open(path, false);
}

/** True when `path` is no longer the file with this inode. */
export function wasRotated(path: string, inode: number | null): boolean {
  const now = inodeOf(path);
  return now !== null && now !== inode;
}

/** A buffer for {@link readFrom}: no larger than what there is to read, since most reads are of a few lines. */
export function blockFor({ file, compressed }: OpenLog): Uint8Array<ArrayBuffer> {
  if (compressed) return new Uint8Array(0);
  const left = file.statSync().size - file.seekSync(0, Deno.SeekMode.Current);
  return new Uint8Array(Math.min(MOST_AT_ONCE, Math.max(LEAST_AT_ONCE, left)));
}

/**
 * Bytes of a log file from where it stands, inflated when it is compressed.
 *
 * @param block is read into again and again: a chunk is valid until the next one.
 */
export async function* readFrom(
  log: OpenLog,
  block: Uint8Array<ArrayBuffer> = blockFor(log),
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  if (log.compressed) {
    // The caller closes the file: the stream must not.
    const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        const block = new Uint8Array(BLOCK);
        const n = await log.file.read(block);
        if (n === null) controller.close();
        else controller.enqueue(block.subarray(0, n));
      },
    });
    try {
      for await (const chunk of source.pipeThrough(new DecompressionStream("gzip"))) yield chunk;
    } catch {
      // A compression that was cut off: what came before is what there is.
    }
    return;
  }
  for (;;) {
    const n = await log.file.read(block);
    if (n === null || n === 0) return;
    yield block.subarray(0, n);
  }
}

/**
 * Moves the files to the last `count` entries of all of them together: drops the older ones and seeks in the oldest
 * that is left.
 *
 * @returns the files left, and how many entries to leave out at the start of the first (only for compressed ones, in
 * which one cannot seek).
 */
export async function seekTail(
  files: OpenLog[],
  count: number,
): Promise<{ files: OpenLog[]; skip: number }> {
  let missing = count;
  for (let i = files.length - 1; i >= 0; i--) {
    const log = files[i];
    if (log === undefined) break;
    let skip = 0;
    let found: number;
    if (log.compressed) {
      found = 0;
      for await (const chunk of readFrom(log)) found += countNewlines(chunk);
      log.file.seekSync(0, Deno.SeekMode.Start);
      skip = Math.max(0, found - missing);
    } else {
      found = seekBack(log.file, missing);
    }
    missing -= found;
    if (missing <= 0) {
      closeAll(files.slice(0, i));
      return { files: files.slice(i), skip };
    }
  }
  return { files, skip: 0 };
}

/** Entries may be a little out of order (parts of long lines carry the time of the first): so much is looked through before the place found. */
const DISORDER = 1024 * 1024;
/** The end of an entry; text has its quotes escaped, so it cannot look like this. */
const TIME = /"time":"([^"]{20,35})"\}\n/g;

/**
 * Leaves out what is surely older than `since`: whole files by when they were last written, and most of the oldest one that is left, by halving.
 * The clock is taken to have run forwards, but for what {@link DISORDER} allows.
 *
 * @param since nanoseconds since the epoch
 * @returns the files left; the first stands at the start of an entry.
 */
export function seekSince(files: OpenLog[], since: bigint): OpenLog[] {
  const wanted = Number(since / 1_000_000n);
  let first = 0;
  while (first < files.length - 1 && (files[first]?.file.statSync().mtime?.getTime() ?? wanted) < wanted) {
    first++;
  }
  closeAll(files.slice(0, first));
  const left = files.slice(first);
  const log = left[0];
  if (log === undefined || log.compressed) return left;
  const { file } = log;
  const block = new Uint8Array(BLOCK);
  let low = 0;
  let high = file.statSync().size;
  while (high - low > DISORDER) {
    const middle = Math.floor((low + high) / 2);
    const latest = latestTime(block.subarray(0, readAt(file, middle, block)));
    // no whole entry there, or nothing that can be understood: what is left is read
    if (latest === undefined) break;
    if (latest < wanted) low = middle;
    else high = middle;
  }
  const start = Math.max(0, low - DISORDER);
  file.seekSync(start, Deno.SeekMode.Start);
  if (start === 0) return left;
  const newline = block.subarray(0, readAt(file, start, block)).indexOf(NEWLINE);
  file.seekSync(newline < 0 ? 0 : start + newline + 1, Deno.SeekMode.Start);
  return left;
}

/** The latest time, in milliseconds, of the entries that end in `block`. */
function latestTime(block: Uint8Array): number | undefined {
  let latest: number | undefined;
  for (const [, time = ""] of new TextDecoder().decode(block).matchAll(TIME)) {
    const ms = Date.parse(time);
    if (!Number.isNaN(ms) && ms > (latest ?? -Infinity)) latest = ms;
  }
  return latest;
}

/** Fills `block` from `position` on as far as the file goes. */
function readAt(file: Deno.FsFile, position: number, block: Uint8Array): number {
  file.seekSync(position, Deno.SeekMode.Start);
  let length = 0;
  while (length < block.length) {
    const n = file.readSync(block.subarray(length));
    if (n === null || n === 0) break;
    length += n;
  }
  return length;
}

function countNewlines(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) count++;
  return count;
}

/**
 * Seeks to the start of the last `count` whole lines, reading backwards.
 *
 * @returns how many lines there are from there, at most `count`; the file stands at its start when there are fewer.
 */
function seekBack(file: Deno.FsFile, count: number): number {
  const block = new Uint8Array(BLOCK);
  let end = file.statSync().size;
  let seen = 0;
  if (count === 0) {
    file.seekSync(end, Deno.SeekMode.Start);
    return 0;
  }
  while (end > 0) {
    const start = Math.max(0, end - BLOCK);
    const length = readAt(file, start, block.subarray(0, end - start));
    for (
      let at = block.lastIndexOf(NEWLINE, length - 1);
      at >= 0;
      at = at === 0 ? -1 : block.lastIndexOf(NEWLINE, at - 1)
    ) {
      // The newline that ends the line before the first of those wanted.
      if (seen++ === count) {
        file.seekSync(start + at + 1, Deno.SeekMode.Start);
        return count;
      }
    }
    end = start;
  }
  file.seekSync(0, Deno.SeekMode.Start);
  return Math.min(seen, count);
}
