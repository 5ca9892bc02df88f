/**
 * File names are bytes to the kernel and text to us. Names that are no UTF-8 keep their bytes as lone surrogates
 * U+DC80…U+DCFF, one for each byte 0x80…0xFF that does not decode (Python's "surrogateescape", PEP 383), so that a name
 * read from an archive or a directory comes out again as the bytes it was.
 */
const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const ESCAPED = /[\udc80-\udcff]/;

/** Text of a file name; see the module's comment for bytes that are no UTF-8. */
export function decodePath(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return decodeEscaping(bytes);
  }
}

/** Bytes of a file name: the inverse of {@link decodePath}. Other lone surrogates become U+FFFD. */
export function encodePath(text: string): Uint8Array<ArrayBuffer> {
  if (text.isWellFormed() || !ESCAPED.test(text)) return encoder.encode(text);
  const parts: number[] = [];
  for (const char of text) {
    const unit = char.charCodeAt(0);
    if (char.length === 1 && unit >= 0xdc80 && unit <= 0xdcff) parts.push(unit - 0xdc00);
    else parts.push(...encoder.encode(char));
  }
  return new Uint8Array(parts);
}

/** Length of the valid UTF-8 sequence at `at`, 0 when there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  const length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  try {
    strict.decode(bytes.subarray(at, at + length));
    return length;
  } catch {
    return 0;
  }
}

function decodeEscaping(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at);
    if (length > 0) {
      text += strict.decode(bytes.subarray(at, at + length));
      at += length;
    } else {
      text += String.fromCharCode(0xdc00 + (bytes[at] ?? 0));
      at++;
    }
  }
  return text;
}
