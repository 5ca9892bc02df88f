/** Modes as chmod(1) and `--chmod` write them. */
import { invalid } from "./errors.ts";

/** What a mode becomes: permission bits with set-id and sticky bits. */
export type ModeChange = (mode: number, isDirectory: boolean) => number;

const WHO: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 };
const READ = 0o444;
const WRITE = 0o222;
const EXECUTE = 0o111;

/** Bits of one class, 0…7, in all three places. */
const everywhere = (bits: number): number => bits | bits << 3 | bits << 6;

/**
 * Reads `755`, `u=rwX,go=rX`, `+x`, `g=u`. Where nobody is named all are meant: builds have no umask.
 *
 * @throws {EngineError} invalid, in BuildKit's words.
 */
export function parseModeChange(text: string): ModeChange {
  if (/^[0-7]+$/.test(text)) {
    const mode = Number.parseInt(text, 8);
    if (mode > 0o7777) throw wrong(text);
    return () => mode;
  }
  const steps = text.split(",").flatMap((clause) => {
    const match = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(clause);
    if (match === null) throw wrong(text);
    const [, who = "", actions = ""] = match;
    const mask = who === "" ? 0o7777 : [...who].reduce((bits, one) => bits | (WHO[one] ?? 0), 0);
    return [...actions.matchAll(/([-+=])([rwxXstugo]*)/g)].map(([, sign = "", what = ""]) =>
      step(mask, sign, what)
    );
  });
  return (mode, isDirectory) => steps.reduce((now, change) => change(now, isDirectory), mode & 0o7777);
}

function wrong(text: string): Error {
  return invalid(
    `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777, or a symbolic mode such as u=rwX,go=rX`,
  );
}

function step(mask: number, sign: string, what: string): ModeChange {
  return (mode, isDirectory) => {
    const bits = bitsOf(what, mode, isDirectory) & mask;
    if (sign === "+") return mode | bits;
    if (sign === "-") return mode & ~bits;
    // set-id bits of a directory stay unless they are named, as with GNU chmod
    const kept = isDirectory && !what.includes("s") ? 0o6000 : 0;
    return mode & ~(mask & ~kept) | bits;
  };
}

function bitsOf(what: string, mode: number, isDirectory: boolean): number {
  if (what === "u") return everywhere(mode >> 6 & 7);
  if (what === "g") return everywhere(mode >> 3 & 7);
  if (what === "o") return everywhere(mode & 7);
  let bits = 0;
  for (const char of what) {
    if (char === "r") bits |= READ;
    else if (char === "w") bits |= WRITE;
    else if (char === "x") bits |= EXECUTE;
    else if (char === "X" && (isDirectory || (mode & EXECUTE) !== 0)) bits |= EXECUTE;
    else if (char === "s") bits |= 0o6000;
    else if (char === "t") bits |= 0o1000;
  }
  return bits;
}
