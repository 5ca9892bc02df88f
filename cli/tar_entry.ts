/** Entries of small tar archives, byte for byte as docker's command line makes them. */

export const TAR_BLOCK = 512;
export const TAR_DIRECTORY = "5";
export const TAR_FILE = "0";
const encoder = new TextEncoder();

/** From the end of a file to the next header. */
export const tarPadding = (length: number): number => (TAR_BLOCK - length % TAR_BLOCK) % TAR_BLOCK;

/** A ustar header as Go's archive/tar writes it, with its content. Owner and time are zero. */
export function tarEntry(name: string, type: string, mode: number, content = new Uint8Array()): Uint8Array {
  const bytes = new Uint8Array(TAR_BLOCK + content.length + tarPadding(content.length));
  const put = (at: number, text: string) => bytes.set(encoder.encode(text), at);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  put(0, name);
  put(100, octal(mode, 7) + octal(0, 7) + octal(0, 7) + octal(content.length, 11) + octal(0, 11));
  put(148, " ".repeat(8));
  put(156, type);
  put(257, "ustar\x0000");
  put(329, octal(0, 7) + octal(0, 7));
  const sum = bytes.subarray(0, TAR_BLOCK).reduce((total, byte) => total + byte, 0);
  put(148, `${octal(sum, 6)} `);
  bytes.set(content, TAR_BLOCK);
  return bytes;
}
