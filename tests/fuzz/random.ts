/** Random numbers that come again with their seed (mulberry32), and the damage that is done to bytes and JSON with them. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 ≤ n < 2^32 */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  below(limit: number): number {
    return limit <= 0 ? 0 : this.next() % limit;
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0];
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }
}

const BYTES = [0, 1, 0x20, 0x2f, 0x2e, 0x30, 0x37, 0x39, 0x3d, 0x0a, 0x7f, 0x80, 0xc0, 0xff] as const;
const WORDS = [
  "..",
  "../../..",
  "/",
  "\0",
  "9999999999999999999",
  "-1",
  "77777777777",
  ".wh.",
  ".wh..wh..opq",
  "GNU.sparse.map=0,5,3,9",
  "path=",
  "size=",
] as const;

/** One to eight injuries. */
export function mutate(random: Random, input: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  let bytes = input.slice();
  for (let left = 1 + random.below(8); left > 0; left--) {
    const at = random.below(bytes.length);
    switch (random.below(9)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        bytes[at] = random.pick(BYTES);
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3: // a block twice
        bytes = splice(bytes, at & ~511, 0, bytes.subarray(at & ~511, (at & ~511) + 512));
        break;
      case 4: // a block less
        bytes = splice(bytes, at & ~511, 512, new Uint8Array());
        break;
      case 5: {
        const other = others[random.below(others.length)] ?? bytes;
        const from = random.below(other.length);
        bytes = splice(bytes, at, random.below(600), other.subarray(from, from + random.below(2000)));
        break;
      }
      case 6:
        bytes.set(new TextEncoder().encode(random.pick(WORDS)).subarray(0, bytes.length - at), at);
        break;
      case 7:
        bytes.fill(random.pick(BYTES), at, at + random.below(64));
        break;
      case 8: { // a field of a header
        const field = (at & ~511) + random.pick([0, 100, 108, 116, 124, 136, 156, 157, 345, 386, 483]);
        if (field + 12 > bytes.length) break;
        bytes.set(new TextEncoder().encode(random.pick(WORDS)).subarray(0, 12), field);
        break;
      }
    }
    if (bytes.length === 0) return bytes;
  }
  return bytes;
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array<ArrayBuffer> {
  const tail = bytes.subarray(Math.min(bytes.length, at + remove));
  const result = new Uint8Array(at + insert.length + tail.length);
  result.set(bytes.subarray(0, at));
  result.set(insert, at);
  result.set(tail, at + insert.length);
  return result;
}

/** Gives every block that looks like a tar header its right checksum, so that damage gets past the first check. */
export function repairChecksums(bytes: Uint8Array): void {
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    if (String.fromCharCode(...bytes.subarray(at + 257, at + 262)) !== "ustar") continue;
    bytes.fill(0x20, at + 148, at + 156);
    let sum = 0;
    for (let i = at; i < at + 512; i++) sum += bytes[i] ?? 0;
    bytes.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0 `), at + 148);
  }
}

const VALUES = [
  null,
  true,
  0,
  -1,
  1e308,
  9007199254740993,
  "",
  "..",
  "/etc/passwd",
  "sha256:",
  "a".repeat(300),
  "\ud800",
  [],
  {},
  [[]],
  { "": null },
] as const;

/** Replaces, removes or repeats parts of a JSON value. */
export function mutateJson(random: Random, value: unknown): unknown {
  if (random.chance(12)) return random.pick(VALUES);
  if (Array.isArray(value)) {
    const items = value.map((item) => (random.chance(3) ? mutateJson(random, item) : item));
    if (random.chance(8) && items.length > 0) items.splice(random.below(items.length), 1);
    if (random.chance(8) && items.length > 0) items.push(items[random.below(items.length)]);
    return items;
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).flatMap(([key, item]): [string, unknown][] => {
      if (random.chance(15)) return [];
      return [[random.chance(40) ? "__proto__" : key, random.chance(3) ? mutateJson(random, item) : item]];
    });
    return Object.fromEntries(entries);
  }
  if (typeof value === "string" && random.chance(2)) {
    const at = random.below(value.length);
    return value.slice(0, at) + random.pick(WORDS) + value.slice(at + random.below(4));
  }
  return value;
}
