import type { EngineError } from "../../base/errors.ts";
import { DockerfileError, locate } from "./errors.ts";
import { parseFlags } from "./flags.ts";
import { checkInstruction } from "./instruction_check.ts";
import { continuation, Directives, isComment, LineReader, withoutLineBreak } from "./lines.ts";
import { INSTRUCTIONS } from "./instruction_names.ts";
import { withSuggestion } from "./suggest.ts";
import type { Dockerfile, Heredoc, Instruction, SourceRange, Stage } from "./types.ts";
import {
  heredocMarks,
  jsonWords,
  splitBlanks,
  splitKeyword,
  splitQuoted,
  takeFlags,
  withoutLeadingTabs,
} from "./words.ts";

/** Larger than any that was written by a person; BuildKit's frontend reads 16 MiB as well. */
const MAX_TEXT = 16 * 1024 * 1024;

const HEREDOC_KEYWORDS = ["ADD", "COPY", "RUN"];

/**
 * Reads a Dockerfile. Nothing is expanded yet; what can be known to be wrong without that is an error now.
 *
 * @param name of the file, for messages.
 * @throws {DockerfileError} invalid, in BuildKit's words.
 */
export function parseDockerfile(text: string, name = "Dockerfile"): Dockerfile {
  if (text.length > MAX_TEXT) throw new DockerfileError(`${name} is larger than ${MAX_TEXT} characters`);
  const { instructions, directives, emptyContinuations, lastLine } = readInstructions(text);
  if (instructions.length === 0) {
    throw new DockerfileError("file with no instructions", { startLine: lastLine, endLine: lastLine });
  }
  const globalArgs: Instruction[] = [];
  const stages: { from: Instruction; instructions: Instruction[] }[] = [];
  for (const instruction of instructions) {
    const stage = stages.at(-1);
    if (instruction.keyword === "FROM") stages.push({ from: instruction, instructions: [] });
    else if (stage !== undefined) stage.instructions.push(instruction);
    else if (instruction.keyword === "ARG") globalArgs.push(instruction);
    else throw new DockerfileError("no build stage in current context", instruction.range);
  }
  if (stages.length === 0) throw new DockerfileError("dockerfile contains no stages to build");
  return {
    name,
    text,
    directives: directives.values,
    escape: directives.escape,
    globalArgs,
    stages: stages.map(({ from, instructions }, index): Stage => ({
      index,
      name: from.words[2]?.toLowerCase(),
      base: from.words[0] ?? "",
      platform: from.flags.find((flag) => flag.name === "platform")?.value,
      from,
      instructions,
    })),
    emptyContinuations,
  };
}

/**
 * Reads one instruction that stands alone: a trigger that ONBUILD has left in an image.
 *
 * @param range what errors about it name instead of its own lines.
 * @throws {DockerfileError} invalid
 */
export function parseTrigger(text: string, range: SourceRange): Instruction {
  return locate(range, () => {
    const { instructions } = readInstructions(text);
    const [instruction] = instructions;
    if (instruction === undefined || instructions.length !== 1) {
      throw new DockerfileError("onbuild trigger should be a single expression", range);
    }
    if (["FROM", "ONBUILD", "MAINTAINER"].includes(instruction.keyword)) {
      throw new DockerfileError(`${instruction.keyword} isn't allowed as an ONBUILD trigger`, range);
    }
    return { ...instruction, range };
  });
}

/**
 * Reads instructions that stand in no stage: `--change`.
 *
 * @param refuse what is wrong with an instruction that may not stand here, by its keyword in upper case and as it is written.
 * @throws {DockerfileError} invalid; what `refuse` answers.
 */
export function parseChanges(
  text: string,
  refuse: (keyword: string, written: string) => EngineError | undefined,
): { readonly instructions: readonly Instruction[]; readonly escape: Dockerfile["escape"] } {
  const { instructions, directives } = readInstructions(text, refuse);
  return { instructions, escape: directives.escape };
}

/** What is wrong with an instruction by its name alone. */
type Refuse = (keyword: string, written: string, range: SourceRange) => EngineError | undefined;

const unknown: Refuse = (keyword, written, range) =>
  INSTRUCTIONS.includes(keyword) ? undefined : new DockerfileError(
    withSuggestion(`unknown instruction: ${written}`, written, INSTRUCTIONS, false),
    range,
    { prefix: true },
  );

interface Reading {
  readonly instructions: Instruction[];
  readonly directives: Directives;
  /** Lines at which an instruction ends that has empty lines in the middle. */
  readonly emptyContinuations: SourceRange[];
  readonly lastLine: number;
}

function readInstructions(text: string, refuse: Refuse = unknown): Reading {
  const reader = new LineReader(text);
  const directives = new Directives();
  const instructions: Instruction[] = [];
  const emptyContinuations: SourceRange[] = [];
  let comments: string[] = [];
  for (let line; (line = reader.next()) !== undefined;) {
    const first = withoutLineBreak(line).trimStart();
    const isDirective = directives.take(first, reader.line);
    if (first.startsWith("#")) {
      const comment = first.slice(1).trim();
      if (comment === "") comments = [];
      else if (!isDirective) comments.push(comment);
      continue;
    }
    if (first === "") continue;
    const startLine = reader.line;
    const { text: joined, hasEmptyLine } = joinLines(reader, first, directives.escape);
    if (hasEmptyLine) emptyContinuations.push({ startLine: reader.line, endLine: reader.line });
    const range = { startLine, endLine: reader.line };
    const instruction = parseLine(joined, directives.escape, range, comments, refuse);
    const heredocs = readHeredocs(reader, instruction, joined, range, directives.escape);
    instructions.push(
      heredocs.length === 0
        ? instruction
        : { ...instruction, heredocs, range: { startLine, endLine: reader.line } },
    );
    comments = [];
  }
  return { instructions, directives, emptyContinuations, lastLine: reader.line };
}

/** The whole instruction: lines as long as they are continued. Comments and empty lines between them go. */
function joinLines(
  reader: LineReader,
  first: string,
  escape: string,
): { text: string; hasEmptyLine: boolean } {
  let { text, continues } = continuation(first, escape);
  const parts = [text];
  let hasEmptyLine = false;
  for (let line; continues && (line = reader.next()) !== undefined;) {
    if (isComment(line)) continue;
    if (line.trim() === "") {
      hasEmptyLine = true;
      continue;
    }
    ({ text, continues } = continuation(withoutLineBreak(line), escape));
    parts.push(text);
  }
  return { text: parts.join(""), hasEmptyLine };
}

function parseLine(
  text: string,
  escape: string,
  range: SourceRange,
  comments: readonly string[],
  refuse: Refuse,
): Instruction {
  const { keyword: written, rest: withFlags } = splitKeyword(text);
  const keyword = written.toUpperCase();
  const refused = refuse(keyword, written, range);
  if (refused !== undefined) throw refused;
  const { flags: flagTexts, rest } = takeFlags(withFlags, escape);
  try {
    const { words, json } = splitRest(keyword, rest, escape);
    const noFlags: Instruction = {
      keyword,
      written,
      original: text.trim(),
      flags: [],
      rest,
      words,
      json,
      heredocs: [],
      comments,
      range,
    };
    // HEALTHCHECK NONE takes none, and Docker does not look
    const ignored = keyword === "HEALTHCHECK" && words[0]?.toUpperCase() === "NONE";
    const instruction = { ...noFlags, flags: ignored ? [] : parseFlags(keyword, flagTexts) };
    checkInstruction(instruction);
    return instruction;
  } catch (error) {
    throw new DockerfileError(error instanceof Error ? error.message : String(error), range, {
      prefix: true,
    });
  }
}

/** @throws {DockerfileError} */
function splitRest(
  keyword: string,
  rest: string,
  escape: string,
): { words: readonly string[]; json: boolean } {
  const plain = (words: readonly string[]) => ({ words, json: false });
  if (rest === "" || keyword === "") return plain([]);
  switch (keyword) {
    case "FROM":
    case "EXPOSE":
      return plain(splitBlanks(rest));
    case "ARG":
      return plain(splitQuoted(rest, escape));
    case "ENV":
    case "LABEL":
      return plain(pairWords(keyword, rest, escape));
    case "ADD":
    case "COPY":
    case "VOLUME":
      return maybeJson(rest) ?? plain(splitBlanks(rest));
    case "RUN":
    case "CMD":
    case "ENTRYPOINT":
    case "SHELL":
      return maybeJson(rest) ?? plain([rest]);
    case "HEALTHCHECK": {
      const [, kind = "", command = ""] = /^(\S+)\s*(.*)$/s.exec(rest) ?? [];
      const list = maybeJson(command);
      return list
        ? { words: [kind, ...list.words], json: true }
        : plain(command === "" ? [kind] : [kind, command]);
    }
    default:
      return plain([rest]);
  }
}

function maybeJson(text: string): { words: readonly string[]; json: true } | undefined {
  const words = jsonWords(text);
  if (words === "mixed") {
    throw new DockerfileError("when using JSON array syntax, arrays must be comprised of strings only");
  }
  return words && { words, json: true };
}

/** `a=b c=d`; in the old form, `name the whole rest`, both parts as they are. */
function pairWords(keyword: string, rest: string, escape: string): string[] {
  const words = splitQuoted(rest, escape);
  if (words[0]?.includes("=") !== false) {
    for (const word of words) {
      if (!word.includes("=")) {
        throw new DockerfileError(
          `Syntax error - can't find = in "${word}". Must be of the form: name=value`,
        );
      }
    }
    return words;
  }
  const { keyword: name, rest: value } = splitKeyword(rest);
  if (value === "") throw new DockerfileError(`${keyword} must have two arguments`);
  return [name, value];
}

/** Reads the contents of the instruction's heredocs from the lines that follow it. */
function readHeredocs(
  reader: LineReader,
  instruction: Instruction,
  text: string,
  range: SourceRange,
  escape: string,
): Heredoc[] {
  if (!text.includes("<<") || !takesHeredocs(instruction, escape)) return [];
  return heredocMarks(text).map((mark): Heredoc => {
    const lines: string[] = [];
    for (let line; (line = reader.next()) !== undefined;) {
      const bare = withoutLineBreak(line);
      if ((mark.stripTabs ? bare.replace(/^\t+/, "") : bare) === mark.name) {
        return { ...mark, content: lines.join("") };
      }
      lines.push(line);
    }
    throw new DockerfileError("unterminated heredoc", { startLine: range.startLine, endLine: reader.line });
  });
}

function takesHeredocs(instruction: Instruction, escape: string): boolean {
  if (instruction.keyword !== "ONBUILD") {
    return HEREDOC_KEYWORDS.includes(instruction.keyword) && !instruction.json;
  }
  const { keyword, rest: withFlags } = splitKeyword(instruction.rest);
  const { rest } = takeFlags(withFlags, escape);
  return HEREDOC_KEYWORDS.includes(keyword.toUpperCase()) && !Array.isArray(jsonWords(rest));
}

/** What a heredoc holds for whoever reads it: `<<-` takes tabs away. */
export const heredocText = ({ content, stripTabs }: Heredoc): string =>
  stripTabs ? withoutLeadingTabs(content) : content;
