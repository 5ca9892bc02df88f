import { cleanPath } from "../../base/clean_path.ts";
import { invalid } from "../../base/errors.ts";
import { booleanFlag, flagValue, flagValues } from "./flags.ts";
import { heredocText } from "./parse.ts";
import { copyFrom, requireBefore, resolveSource } from "./stages.ts";
import type { Dispatched, Step } from "./step.ts";
import type { CopyItem, CopyOp, SourceRef } from "./types.ts";
import { heredocMark } from "./words.ts";

/** A file that is written in the Dockerfile: as long as the Dockerfile may be. */
const MAX_INLINE = 16 * 1024 * 1024;

export function dispatchCopy(step: Step): Dispatched {
  const { instruction, state } = step;
  const isAdd = instruction.keyword === "ADD";
  const option = (name: string) => {
    const value = flagValue(instruction, name);
    return value === undefined ? undefined : step.expand(value) || undefined;
  };
  const chown = option("chown");
  const chmod = option("chmod");
  const checksum = option("checksum");
  const parents = booleanFlag(instruction, "parents") ?? false;
  const from = sourceOf(step);
  const { paths, inline, target } = operands(step);
  if (chmod !== undefined) checkMode(chmod);
  if (checksum !== undefined) checkChecksum(checksum, paths);
  const items = [...paths.map((path) => itemOf(path, isAdd, parents)), ...inline];
  if (from.kind === "context") { for (const item of items) warnIgnored(step, item); }
  const shown = [
    instruction.keyword,
    ...(parents ? ["--parents"] : []),
    ...(chown === undefined ? [] : [`--chown=${chown}`]),
    ...(chmod === undefined ? [] : [`--chmod=${chmod}`]),
    ...paths,
    ...inline.map(({ name }) => `<<${name}`),
    target,
    "# buildkit",
  ];
  const op: CopyOp = {
    kind: "copy",
    add: isAdd,
    from,
    items,
    dest: destination(state.workingDir, target),
    chown,
    chmod,
    link: booleanFlag(instruction, "link") ?? false,
    parents,
    exclude: flagValues(instruction, "exclude"),
    unpack: booleanFlag(instruction, "unpack"),
    checksum,
    keepGitDir: booleanFlag(instruction, "keep-git-dir") ?? false,
    createdBy: shown.join(" "),
    title: step.title(),
    range: instruction.range,
  };
  return { state, op };
}

function sourceOf({ plan, stage, instruction }: Step): SourceRef {
  const name = instruction.keyword === "COPY" ? copyFrom(instruction, plan.dockerfile) : undefined;
  if (name === undefined) return { kind: "context" };
  const source = resolveSource(name, plan.dockerfile, plan.options.namedContexts, { numbers: true });
  requireBefore(source, instruction, stage.stage);
  return source;
}

type Inline = Extract<CopyItem, { kind: "inline" }>;

/** Sources and destination, expanded: paths first, as history names them. */
function operands(step: Step): { paths: string[]; inline: Inline[]; target: string } {
  const { words, heredocs, json } = step.instruction;
  const paths: string[] = [], inline: Inline[] = [];
  for (const word of words.slice(0, -1)) {
    const mark = json ? undefined : heredocMark(word);
    if (mark === undefined) {
      paths.push(step.expand(word));
      continue;
    }
    const heredoc = heredocs.findLast(({ name }) => name === mark.name);
    const text = heredoc === undefined ? "" : heredocText({ ...heredoc, stripTabs: mark.stripTabs });
    const content = mark.expand
      ? step.expand(text, { escape: "\\", ignoreQuotes: true, limit: MAX_INLINE })
      : text;
    inline.push({ kind: "inline", name: mark.name, content });
  }
  return { paths, inline, target: step.expand(words.at(-1) ?? "") };
}

const HTTP = /^https?:\/\//i;
/** `git@host:path`, as scp has it. */
const SCP_LIKE = /^[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:(?!\/\/)/;

/** Whether a source is a git repository: over http(s) it is when its path ends in ".git" (BuildKit, util/gitutil). */
export function isGitUrl(text: string): boolean {
  return /^(git|ssh):\/\//i.test(text) || SCP_LIKE.test(text) ||
    (HTTP.test(text) && /\.git(?:[?#].*)?$/.test(text));
}

function itemOf(path: string, isAdd: boolean, parents: boolean): CopyItem {
  if (isGitUrl(path)) {
    if (!isAdd) throw invalid("source can't be a git ref for COPY");
    return { kind: "git", url: path };
  }
  if (HTTP.test(path)) {
    if (!isAdd) throw invalid("source can't be a URL for COPY");
    return { kind: "url", url: path };
  }
  // with --parents "/./" says where the part begins that is kept
  return { kind: "path", pattern: parents ? path : cleanPath(`/${path}`) };
}

/** Absolute; a slash at the end says that it is a directory. */
function destination(cwd: string, target: string): string {
  const text = target === "" ? "." : target;
  const path = cleanPath(text.startsWith("/") ? text : `${cwd}/${text}`);
  const isDirectory = /(^|\/)\.{0,2}$/.test(text);
  return isDirectory && path !== "/" ? `${path}/` : path;
}

const SYMBOLIC_MODE = /^[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+(?:,[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+)*$/;

function checkMode(text: string): void {
  if (/^[0-7]+$/.test(text) ? parseInt(text, 8) <= 0o7777 : SYMBOLIC_MODE.test(text)) return;
  throw invalid(`invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`);
}

function checkChecksum(checksum: string, paths: readonly string[]): void {
  const [source = ""] = paths;
  if (paths.length !== 1) throw invalid("checksum can't be specified for multiple sources");
  const isGit = isGitUrl(source);
  if (!HTTP.test(source) && !isGit) throw invalid("checksum requires HTTP(S) or Git sources");
  if (isGit) return;
  const [algorithm = "", digest] = checksum.split(":", 2);
  if (digest === undefined || !/^[a-z0-9]+(?:[.+_-][a-z0-9]+)*$/.test(algorithm)) {
    throw invalid("invalid checksum digest format");
  }
  const length = { sha256: 64, sha384: 96, sha512: 128 }[algorithm];
  if (length === undefined) throw invalid("unsupported digest algorithm");
  if (digest.length !== length) throw invalid("invalid checksum digest length");
  if (!/^[0-9a-f]+$/.test(digest)) throw invalid("invalid checksum digest format");
}

function warnIgnored({ instruction, lint, isIgnored }: Step, item: CopyItem): void {
  if (item.kind !== "path" || !isIgnored?.(item.pattern)) return;
  const verb = instruction.keyword === "ADD" ? "Add" : "Copy";
  const path = item.pattern.replace(/^\//, "") || ".";
  lint?.warn(
    "CopyIgnoredFile",
    `Attempting to ${verb} file ${JSON.stringify(path)} that is excluded by .dockerignore`,
    instruction.range,
  );
}
