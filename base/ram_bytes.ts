const UNIT = /^(\d+(?:\.\d+)?)\s?([kmgtp]?)i?b?$/i;
const POWERS = ["", "k", "m", "g", "t", "p"];

/** go-units' RAMInBytes: "64m", "1.5 GiB", in powers of 1024; undefined: cannot be read. */
export function parseRamBytes(text: string): number | undefined {
  const match = UNIT.exec(text.trim());
  if (!match) return undefined;
  const power = POWERS.indexOf((match[2] ?? "").toLowerCase());
  return Math.trunc(Number(match[1]) * 1024 ** power);
}
