/** Values of log options that are no strings, in the words of Go's parsers, which Docker hands on. */
import { invalid } from "../../base/errors.ts";
import { parseDuration } from "../human_time.ts";
import type { LogOptions } from "./driver.ts";

/** strconv.ParseBool; false when it is not given. @throws {EngineError} invalid */
export function flagOption(options: LogOptions, name: string): boolean {
  const value = options[name] ?? "";
  if (value === "" || /^(0|f|F|false|FALSE|False)$/.test(value)) return false;
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  throw invalid(`strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`);
}

/**
 * time.ParseDuration.
 *
 * @returns milliseconds, 0 when it is not given.
 * @throws {EngineError} invalid
 */
export function durationOption(options: LogOptions, name: string): number {
  const value = options[name] ?? "";
  if (value === "") return 0;
  const milliseconds = parseDuration(value);
  if (milliseconds === undefined) throw invalid(`time: invalid duration ${JSON.stringify(value)}`);
  return milliseconds;
}
