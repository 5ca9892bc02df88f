import type { SessionEvent } from "../../../base/build_session.ts";
import { amountText, BuildModel, seconds, type Status, type Step } from "./model.ts";
import type { ProgressView } from "./view.ts";

/** Between two pictures. */
const INTERVAL_MS = 100;
/** Lines of output that a running step shows. */
const OUTPUT_LINES = 6;
/** On a terminal that is lower, nothing but the steps is shown. */
const MIN_ROWS_FOR_OUTPUT = 12;
const WIDEST = 160;
/** Of a terminal that says 0: one that nobody has given a size, under `script` or `expect` for instance. */
const UNKNOWN_ROWS = 10, UNKNOWN_COLUMNS = 80;
/** https://no-color.org */
const [BLUE, RED, RESET] = Deno.env.get("NO_COLOR") ? ["", "", ""] : ["\x1b[34m", "\x1b[31m", "\x1b[0m"];

export interface Screen {
  size(): { readonly rows: number; readonly columns: number };
  write(text: string): void;
}

interface Row {
  readonly text: string;
  /** At the right margin. */
  readonly right: string;
  readonly color: string;
}

/** The steps with their times and the last output of those that run, written anew in place; never higher than the terminal. */
export class TerminalProgress implements ProgressView {
  readonly model = new BuildModel();
  readonly #screen: Screen;
  readonly #title: string;
  readonly #begun = Date.now();
  readonly #timer: ReturnType<typeof setInterval>;
  /** Rows of the picture that stands on the screen. */
  #height = 0;
  #changed = true;

  /** @param title at the right end of the first line: what builds. */
  constructor(screen: Screen, title: string) {
    this.#screen = screen;
    this.#title = title;
    this.#timer = setInterval(() => this.#draw(false), INTERVAL_MS);
  }

  take(event: SessionEvent): void {
    this.model.take(event);
    this.#changed = true;
  }

  end(): void {
    clearInterval(this.#timer);
    this.#changed = true;
    this.#draw(true);
  }

  #draw(finished: boolean): void {
    const running = this.model.steps.some(({ started, completed }) =>
      started !== undefined && completed === undefined
    );
    // times go on while something runs
    if (!this.#changed && !running) return;
    this.#changed = false;
    const size = this.#screen.size();
    const [rows, columns] = [size.rows || UNKNOWN_ROWS, size.columns || UNKNOWN_COLUMNS];
    const width = Math.max(20, Math.min(columns, WIDEST));
    const picture = this.#picture(finished ? Infinity : Math.max(3, rows - 1), rows, finished)
      .map((row) => layOut(row, width));
    // a picture that was taller than the terminal has become by now cannot be taken back in whole
    const up = Math.min(this.#height, Math.max(0, rows - 1));
    const start = up === 0 ? "" : `\x1b[${up}A`;
    // hidden meanwhile: a cursor that jumps is what flickers
    this.#screen.write(
      `\x1b[?25l${start}\r${picture.map((line) => `${line}\x1b[K\n`).join("")}\x1b[J\x1b[?25h`,
    );
    this.#height = picture.length;
  }

  #picture(room: number, rows: number, finished: boolean): Row[] {
    const steps = this.model.steps.filter(({ number }) => number > 0).sort((a, b) => a.number - b.number);
    const done = steps.filter(({ completed }) => completed !== undefined).length;
    const total = Math.max(steps.length, this.model.steps.length);
    const elapsed = seconds(Date.now() - this.#begun);
    const head: Row = {
      text: `[+] Building ${elapsed} (${done}/${total})${finished ? " FINISHED" : ""}`,
      right: this.#title,
      color: "",
    };
    const now = Date.now();
    const blocks = steps.map((step) => blockOf(step, now, !finished && rows >= MIN_ROWS_FOR_OUTPUT));
    shorten(blocks, room - 1);
    return [head, ...blocks.flatMap(({ rows }) => rows)];
  }
}

interface Block {
  readonly step: Step;
  rows: Row[];
}

/** Gives up, in this order: what finished steps say, finished steps from the first on, output, and then whatever is too much. */
function shorten(blocks: Block[], room: number): void {
  const height = () => blocks.reduce((sum, { rows }) => sum + rows.length, 0);
  for (const block of blocks) {
    if (height() <= room) return;
    if (block.step.completed !== undefined) block.rows = block.rows.slice(0, 1);
  }
  for (const block of blocks) {
    if (height() <= room) return;
    if (block.step.completed !== undefined && block.step.error === undefined) block.rows = [];
  }
  for (const block of blocks) {
    const excess = height() - room;
    if (excess <= 0) return;
    block.rows = block.rows.slice(0, Math.max(1, block.rows.length - excess));
  }
  while (height() > room && blocks.length > 0) blocks.shift();
}

function blockOf(step: Step, now: number, withOutput: boolean): Block {
  const { vertex, started = now, completed, cached, error } = step;
  const mark = error !== undefined
    ? /context canceled/.test(error) ? "CANCELED " : "ERROR "
    : cached
    ? "CACHED "
    : "";
  const color = error !== undefined ? RED : completed !== undefined ? BLUE : "";
  const rows: Row[] = [
    { text: ` => ${mark}${vertex.name}`, right: seconds((completed ?? now) - started), color },
  ];
  for (const status of step.statuses.values()) rows.push(statusRow(status, now));
  if (withOutput && completed === undefined) {
    const shown = step.lines.slice(-OUTPUT_LINES).map(({ text }) => text);
    const partial = [...step.partial.values()].map(({ text }) => text).filter((text) => text !== "");
    for (const text of [...shown, ...partial].slice(-OUTPUT_LINES)) {
      rows.push({ text: ` => => # ${printable(text)}`, right: "", color: "" });
    }
  }
  return { step, rows };
}

function statusRow(status: Status, now: number): Row {
  const amount = amountText(status);
  return {
    text: ` => => ${status.name}${amount === "" ? "" : ` ${amount}`}`,
    right: seconds((status.completed ?? now) - status.started),
    color: status.completed === undefined ? "" : BLUE,
  };
}

/** A program's output as one line without anything that moves the cursor. */
export function printable(text: string): string {
  const last = text.replace(/\r+$/, "").split("\r").at(-1) ?? "";
  // deno-lint-ignore no-control-regex -- these are what is to go
  return last.replaceAll(/\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]/g, "")
    .replaceAll("\t", "    ")
    // deno-lint-ignore no-control-regex -- see above
    .replaceAll(/[\x00-\x1f\x7f-\x9f]/g, "");
}

/** One line of exactly the terminal's width or less. */
function layOut({ text, right, color }: Row, width: number): string {
  const line = printable(text);
  const room = width - textWidth(right) - 1;
  const left = cut(line, room);
  const padded = right === ""
    ? left
    : `${left}${" ".repeat(Math.max(1, width - textWidth(left) - textWidth(right)))}${right}`;
  return color === "" ? padded : `${color}${padded}${RESET}`;
}

/** East Asian letters and pictures take two columns, marks on letters none (an approximation of Unicode's tables). */
function widthOf(char: string): number {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x300) return 1;
  if (/\p{Mark}|\u200b|\u200d|\ufe0f/u.test(char)) return 0;
  return /\p{Emoji_Presentation}|\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|[\uff01-\uff60\u3000-\u303e]/u
      .test(char)
    ? 2
    : 1;
}

const textWidth = (text: string): number => [...text].reduce((sum, char) => sum + widthOf(char), 0);

function cut(text: string, room: number): string {
  let width = 0, kept = "";
  for (const char of text) {
    width += widthOf(char);
    if (width > room) return kept;
    kept += char;
  }
  return kept;
}
