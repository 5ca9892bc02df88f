/** Flags whose argument is a number, a size or a time, with the messages Go's packages give for bad ones. */

import { custom, type Flag } from "./spec.ts";
import { goDuration } from "../../base/go_duration.ts";

interface NumberOptions {
  short?: string;
  hidden?: boolean;
  default?: number;
  defaultText?: string;
  label?: string;
}

const quote = (text: string): string => JSON.stringify(text);

function parseInteger(text: string, fn: string, min: bigint, max: bigint): number {
  const clean = /^[+-]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[0-9]+)$/.test(text) &&
    !(min === 0n && text.startsWith("-"));
  if (!clean) throw new Error(`strconv.${fn}: parsing ${quote(text)}: invalid syntax`);
  const digits = text.replace(/^[+-]/, "").replaceAll("_", "").replace(/^0(?=[0-7]+$)/, "0o");
  const value = text.startsWith("-") ? -BigInt(digits) : BigInt(digits);
  if (value < min || value > max) {
    throw new Error(`strconv.${fn}: parsing ${quote(text)}: value out of range`);
  }
  return Number(value);
}

/** A signed 64-bit integer, decimal, 0x, 0o or 0b as pflag takes it. */
export function int(help: string, options: NumberOptions = {}): Flag<number> {
  const initial = options.default ?? 0;
  return custom(help, {
    ...options,
    label: options.label ?? "int",
    initial,
    ...(options.defaultText === undefined && initial !== 0 ? { defaultText: String(initial) } : {}),
    parse: (text) => parseInteger(text, "ParseInt", -(1n << 63n), (1n << 63n) - 1n),
  });
}

/** An unsigned integer of 16 or 64 bits. */
export function uint(bits: 16 | 64, help: string, options: NumberOptions = {}): Flag<number> {
  return custom(help, {
    ...options,
    label: bits === 16 ? "uint16" : "uint",
    initial: 0,
    parse: (text) => parseInteger(text, "ParseUint", 0n, (1n << BigInt(bits)) - 1n),
  });
}

const SIZE_UNITS = "kmgtp";

/**
 * A size in bytes as `docker run -m` takes it: "512", "64k", "1.5GiB"; units are powers of 1024.
 * Throws `invalid size: 'x'`.
 */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d*)?|\.\d+) ?([a-zA-Z]{0,3})$/.exec(text);
  const bad = () => new Error(`invalid size: '${text}'`);
  if (!match) throw bad();
  const suffix = (match[2] ?? "").toLowerCase();
  const value = Number(match[1]);
  if (suffix === "" || suffix === "b") return Math.trunc(value);
  const power = SIZE_UNITS.indexOf(suffix.charAt(0));
  const rest = suffix.slice(1);
  if (power < 0 || (rest !== "" && rest !== "b" && rest !== "ib")) {
    throw new Error(`invalid suffix: '${suffix}'`);
  }
  return Math.trunc(value * 1024 ** (power + 1));
}

export function bytes(
  help: string,
  options: { short?: string; allowMinusOne?: boolean; hidden?: boolean } = {},
): Flag<number> {
  return custom(help, {
    ...(options.short === undefined ? {} : { short: options.short }),
    ...(options.hidden === undefined ? {} : { hidden: options.hidden }),
    label: "bytes",
    initial: 0,
    parse: (text) => options.allowMinusOne && text === "-1" ? -1 : parseBytes(text),
  });
}

/** A Go duration ("1m30s"); the value is in nanoseconds. */
export function duration(help: string, options: { short?: string } = {}): Flag<number> {
  return custom(help, { ...options, label: "duration", initial: 0, parse: (text) => goDuration(text) });
}

/** `--cpus`: a decimal or fraction; the value is in billionths of a CPU (the API's NanoCpus). */
export function decimal(help: string): Flag<number> {
  return custom(help, {
    label: "decimal",
    initial: 0,
    parse(text) {
      const match = /^([+-]?\d*(?:\.\d*)?(?:[eE][+-]?\d+)?)(?:\/(\d+))?$/.exec(text);
      const value = match && match[1] !== "" && match[1] !== "."
        ? Number(match[1]) / Number(match[2] ?? "1")
        : NaN;
      if (!Number.isFinite(value)) throw new Error(`failed to parse ${text} as a rational number`);
      const nano = Math.round(value * 1e9 * 1000) / 1000;
      if (!Number.isInteger(nano)) throw new Error("value is too precise");
      return nano;
    },
  });
}
