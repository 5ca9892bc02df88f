import { DockerfileError } from "./errors.ts";

/** Lines of a Dockerfile one after the other, with what ends them. Lines are numbered from 1. */
export class LineReader {
  readonly #text: string;
  #at = 0;
  /** Number of the line that was read last. */
  line = 0;

  constructor(text: string) {
    this.#text = text.startsWith("\uFEFF") ? text.slice(1) : text;
  }

  /** The next line with its line break; undefined at the end. */
  next(): string | undefined {
    if (this.#at >= this.#text.length) return undefined;
    const end = this.#text.indexOf("\n", this.#at);
    const line = this.#text.slice(this.#at, end < 0 ? undefined : end + 1);
    this.#at += line.length;
    this.line++;
    return line;
  }
}

/** The line without what ends it. */
export function withoutLineBreak(line: string): string {
  let end = line.length;
  while (end > 0 && (line[end - 1] === "\n" || line[end - 1] === "\r")) end--;
  return line.slice(0, end);
}

export const isComment = (line: string): boolean => line.trimStart().startsWith("#");

/**
 * The line without the escape character that continues it. It does so at the end of the line, maybe with blanks behind it, unless another
 * escape character stands before it.
 */
export function continuation(line: string, escape: string): { text: string; continues: boolean } {
  let end = line.length;
  while (end > 0 && (line[end - 1] === " " || line[end - 1] === "\t")) end--;
  if (line[end - 1] !== escape || line[end - 2] === escape) return { text: line, continues: false };
  return { text: line.slice(0, end - 1), continues: true };
}

const DIRECTIVE = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S(?:.*\S)?)\s*$/;
const KNOWN = ["syntax", "escape", "check"];

/** Reads `# escape=…` and its like, which count before anything else only. */
export class Directives {
  readonly values: Record<string, string> = {};
  escape: "\\" | "`" = "\\";
  #ended = false;

  /**
   * @param line without blanks at its beginning.
   * @returns whether the line was a directive.
   * @throws {DockerfileError}
   */
  take(line: string, number: number): boolean {
    if (this.#ended) return false;
    const [, name = "", value = ""] = DIRECTIVE.exec(line) ?? [];
    const key = name.toLowerCase();
    const range = { startLine: number, endLine: number };
    if (!KNOWN.includes(key)) {
      // a line that says which program reads the file is none, and does no harm
      this.#ended = !(number === 1 && line.startsWith("#!"));
      return false;
    }
    if (Object.hasOwn(this.values, key)) {
      throw new DockerfileError(`only one ${key} parser directive can be used`, range);
    }
    this.values[key] = value;
    if (key !== "escape") return true;
    if (value !== "\\" && value !== "`") {
      throw new DockerfileError(`invalid escape token '${value}' does not match \` or \\`, range);
    }
    this.escape = value;
    return true;
  }
}
