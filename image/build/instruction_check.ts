import { EngineError, invalid } from "../../base/errors.ts";
import { goDuration } from "../../base/go_duration.ts";
import { quoted } from "./errors.ts";
import { flagValue, flagValues } from "./flags.ts";
import { checkMountText } from "./run_mount.ts";
import type { Instruction } from "./types.ts";
import { heredocMark } from "./words.ts";

/**
 * What can be said of an instruction by itself, before anything is expanded: numbers of arguments, forms, values of flags that take none of the
 * variables.
 *
 * @throws {EngineError} invalid, in BuildKit's words.
 */
export function checkInstruction(instruction: Instruction): void {
  CHECKS[instruction.keyword]?.(instruction);
}

const atLeastOne = ({ keyword, words }: Instruction): void => {
  if (words.length === 0) throw invalid(`${keyword} requires at least one argument`);
};

const exactlyOne = ({ keyword, words }: Instruction): void => {
  if (words.length !== 1) throw invalid(`${keyword} requires exactly one argument`);
};

function checkPairs(instruction: Instruction): void {
  const { keyword } = instruction;
  const [first] = instruction.words;
  if (first === undefined) throw invalid(`${keyword} requires at least one argument`);
  if (!first.includes("=")) return;
  if (instruction.words.some((word) => word.startsWith("="))) {
    throw invalid(`${keyword} names can not be blank`);
  }
}

function checkArg(instruction: Instruction): void {
  atLeastOne(instruction);
  if (instruction.words.some((word) => word.startsWith("="))) throw invalid("ARG names can not be blank");
}

function checkCopy({ keyword, words }: Instruction): void {
  if (words.length < 2) {
    throw invalid(
      `${keyword} requires at least two arguments, but only one was provided. Destination could not be determined`,
    );
  }
  if (heredocMark(words.at(-1) ?? "") !== undefined) {
    throw invalid(`${keyword} cannot accept a heredoc as a destination`);
  }
}

const NETWORKS = ["default", "none", "host"];
const SECURITY = ["insecure", "sandbox"];

function checkRun(instruction: Instruction): void {
  for (const mount of flagValues(instruction, "mount")) checkMountText(mount);
  const network = flagValue(instruction, "network");
  if (network !== undefined && !NETWORKS.includes(network)) {
    throw invalid(`invalid network mode ${quoted(network)}`);
  }
  const security = flagValue(instruction, "security");
  if (security !== undefined && !SECURITY.includes(security)) {
    throw invalid(`security ${quoted(security)} is not valid`);
  }
  if (flagValues(instruction, "device").length > 0) {
    throw new EngineError("not-implemented", "RUN --device is not supported: berth has no CDI devices");
  }
}

const STAGE_NAME = /^[a-z][a-z0-9-_.]*$/;

function checkFrom({ words }: Instruction): void {
  const [, as, name] = words;
  if (words.length === 3 && as?.toLowerCase() === "as") {
    if (STAGE_NAME.test((name ?? "").toLowerCase())) return;
    throw invalid(
      `invalid name for build stage: ${
        quoted(name ?? "")
      }, name can't start with a number or contain symbols`,
    );
  }
  if (words.length !== 1) throw invalid("FROM requires either one or three arguments");
}

function checkOnbuild(instruction: Instruction): void {
  atLeastOne(instruction);
  const trigger = /^\S*/.exec(instruction.rest)?.[0].toUpperCase() ?? "";
  if (trigger === "ONBUILD") throw invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (trigger === "MAINTAINER" || trigger === "FROM") {
    throw invalid(`${trigger} isn't allowed as an ONBUILD trigger`);
  }
}

function checkShell({ words, json }: Instruction): void {
  if (words.length === 0) throw invalid("SHELL requires at least one argument");
  if (!json) throw invalid("SHELL requires the arguments to be in JSON form");
}

function checkVolume(instruction: Instruction): void {
  atLeastOne(instruction);
  if (instruction.words.some((word) => word.trim() === "")) {
    throw invalid("VOLUME specified can not be an empty string");
  }
}

function checkHealthcheck(instruction: Instruction): void {
  atLeastOne(instruction);
  const [kind = "", ...args] = instruction.words;
  const type = kind.toUpperCase();
  if (type === "NONE") {
    if (args.length > 0) throw invalid("HEALTHCHECK NONE takes no arguments");
    return;
  }
  if (type !== "CMD") throw invalid(`Unknown type ${quoted(type)} in HEALTHCHECK (try CMD)`);
  if (args.length === 0) throw invalid("Missing command after HEALTHCHECK CMD");
  for (const name of ["interval", "timeout", "start-period", "start-interval"]) {
    healthInterval(instruction, name);
  }
  healthRetries(instruction);
}

/** Nanoseconds of `--interval` and its like; 0: not given. */
export function healthInterval(instruction: Instruction, name: string): number {
  const text = flagValue(instruction, name) ?? "";
  const duration = text === "" ? 0 : goDuration(text);
  if (duration !== 0 && duration < 1_000_000) {
    throw invalid(`Interval ${quoted(name)} cannot be less than 1ms`);
  }
  return duration;
}

export function healthRetries(instruction: Instruction): number {
  const text = flagValue(instruction, "retries") ?? "";
  if (text === "") return 0;
  const retries = Number(text);
  if (!/^[+-]?\d+$/.test(text)) throw invalid(`strconv.ParseInt: parsing ${quoted(text)}: invalid syntax`);
  if (Math.abs(retries) > 0x7fff_ffff) {
    throw invalid(`strconv.ParseInt: parsing ${quoted(text)}: value out of range`);
  }
  if (retries < 0) throw invalid(`--retries cannot be negative (${retries})`);
  return retries;
}

const CHECKS: Readonly<Record<string, (instruction: Instruction) => void>> = {
  ADD: checkCopy,
  ARG: checkArg,
  COPY: checkCopy,
  ENV: checkPairs,
  EXPOSE: atLeastOne,
  FROM: checkFrom,
  HEALTHCHECK: checkHealthcheck,
  LABEL: checkPairs,
  MAINTAINER: exactlyOne,
  ONBUILD: checkOnbuild,
  RUN: checkRun,
  SHELL: checkShell,
  STOPSIGNAL: exactlyOne,
  USER: exactlyOne,
  VOLUME: checkVolume,
  WORKDIR: exactlyOne,
};
