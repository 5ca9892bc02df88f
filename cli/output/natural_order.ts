/**
 * Compares texts as people read them: numbers within by their value, so that "x2" comes before "x10". Otherwise by code unit, digits before
 * everything else; of equal numbers the one with fewer leading zeros comes first. Negative, zero or positive.
 */
export function compareNaturally(a: string, b: string): number {
  const [left, right] = [chunks(a), chunks(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x = "", y = ""] = [left[i], right[i]];
    const difference = isNumber(x) && isNumber(y) ? compareNumbers(x, y) : compareTexts(x, y);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** Runs of digits, and single other characters. */
const chunks = (text: string): string[] => text.match(/[0-9]+|[^0-9]/g) ?? [];

const isNumber = (chunk: string): boolean => /^[0-9]/.test(chunk);

function compareNumbers(a: string, b: string): number {
  const [x, y] = [a.replace(/^0+/, ""), b.replace(/^0+/, "")];
  return x.length - y.length || compareTexts(x, y) || a.length - b.length;
}

function compareTexts(a: string, b: string): number {
  if (isNumber(a) !== isNumber(b)) return isNumber(a) ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}
