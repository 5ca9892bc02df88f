/** A file of an archive. `name` has at most 100 bytes. */
export interface ArchiveFile {
  name: string;
  data: Uint8Array;
  mode: number;
}

const BLOCK = 512;

/**
 * Regular files as a POSIX ustar archive, all owned by 0:0 and dated to the first second of 1970, so that the same
 * files give the same bytes. `end` appends the two empty blocks that end an archive.
 */
export function tarFiles(files: readonly ArchiveFile[], { end }: { end: boolean }): Uint8Array {
  const padded = (size: number) => Math.ceil(size / BLOCK) * BLOCK;
  const total = files.reduce((sum, f) => sum + BLOCK + padded(f.data.length), end ? 2 * BLOCK : 0);
  const archive = new Uint8Array(total);
  let at = 0;
  for (const file of files) {
    archive.set(header(file), at);
    archive.set(file.data, at + BLOCK);
    at += BLOCK + padded(file.data.length);
  }
  return archive;
}

function header({ name, data, mode }: ArchiveFile): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const put = (text: string, at: number) => block.set(new TextEncoder().encode(text), at);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0") + "\0";
  put(name, 0);
  put(octal(mode, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(octal(data.length, 11), 124);
  put(octal(1, 11), 136);
  put(" ".repeat(8), 148);
  put("0", 156);
  put("ustar\0" + "00", 257);
  const sum = block.reduce((a, b) => a + b, 0);
  put(sum.toString(8).padStart(6, "0") + "\0 ", 148);
  return block;
}
