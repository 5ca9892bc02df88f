/** Sizes as Docker prints them (go-units). */

const DECIMAL = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

function scale(size: number, base: number, units: readonly string[], precision: number): string {
  let value = size;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${significant(value, precision)}${units[unit]}`;
}

/** C's %.{n}g without an exponent, for values below 10000. */
function significant(value: number, precision: number): string {
  if (value === 0) return "0";
  const text = value.toPrecision(precision);
  const plain = text.includes("e") ? String(Number(text)) : text;
  return plain.includes(".") ? plain.replace(/\.?0+$/, "") : plain;
}

/** Powers of 1000 with four significant digits: 4261535 → "4.262MB". */
export function humanSize(size: number): string {
  return scale(size, 1000, DECIMAL, 4);
}

/** The same with three digits, as `images` shows: "4.26MB". */
export function humanSizeShort(size: number): string {
  return scale(size, 1000, DECIMAL, 3);
}

/** Powers of 1024: 2147483648 → "2GiB". */
export function bytesSize(size: number): string {
  return scale(size, 1024, BINARY, 4);
}

const BAR = 50;

/** `[=====>      ]  1.2MB/3.4MB`: how far something is, as Docker draws it; "" when nothing is known. */
export function progressBar(current: number, total: number): string {
  if (current <= 0 && total <= 0) return "";
  if (total <= 0 || current > total) return humanSize(current).padStart(8);
  const done = Math.min(BAR, Math.trunc(current / total * 100 / 2));
  const head = `${"=".repeat(done)}>${" ".repeat(Math.max(0, BAR - done - 1))}`;
  return `[${head}] ${humanSize(current).padStart(8)}/${humanSize(total)}`;
}
