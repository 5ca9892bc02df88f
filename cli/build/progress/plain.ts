import type { SessionEvent } from "../../../base/build_session.ts";
import type { ProgressView } from "./view.ts";
import { amountText, BuildModel, type LogLine, seconds, type Status, type Step } from "./model.ts";

/** A step that says nothing for so long lets another one speak. */
const PATIENCE_MS = 5_000;

/** One line after the other, each with the number of its step: for logs, and whatever is no terminal. */
export class PlainProgress implements ProgressView {
  readonly model = new BuildModel();
  readonly #write: (text: string) => void;
  readonly #waiting = new Map<Step, string[]>();
  readonly #shown = new Map<Status, boolean>();
  #current: Step | undefined;
  #spoke = 0;
  /** Whose lines were written last. */
  #last: Step | undefined;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  take(event: SessionEvent): void {
    const { step, lines } = this.model.take(event);
    if (step === undefined) return;
    const texts = this.#linesOf(step, event, lines);
    if (texts.length === 0) return;
    const waiting = this.#waiting.get(step) ?? [];
    waiting.push(...texts);
    this.#waiting.set(step, waiting);
    this.#speak();
  }

  end(): void {
    for (const step of this.#waiting.keys()) this.#flush(step);
  }

  #linesOf(step: Step, event: SessionEvent, lines: readonly LogLine[]): string[] {
    const texts = lines.map(({ text, time }) =>
      `#${step.number} ${((time - (step.started ?? time)) / 1000).toFixed(3)} ${text}`
    );
    if (event.kind === "start") texts.push("");
    if (event.kind === "status") {
      const status = step.statuses.get(event.name);
      if (status !== undefined) texts.push(...this.#statusLine(step, status));
    }
    if (event.kind === "done") texts.push(`#${step.number} ${endOf(step)}`);
    return texts;
  }

  /** Its first and its last word: what is between would be a line for each read. */
  #statusLine(step: Step, status: Status): string[] {
    if (status.completed === undefined && this.#shown.has(status)) return [];
    if (this.#shown.get(status) === true) return [];
    this.#shown.set(status, status.completed !== undefined);
    const amount = amountText(status);
    const end = status.completed === undefined ? "" : ` ${seconds(status.completed - status.started)} done`;
    return [`#${step.number} ${status.name}${amount === "" ? "" : ` ${amount}`}${end}`];
  }

  #speak(): void {
    for (;;) {
      const current = this.#current;
      const now = Date.now();
      if (current !== undefined && current.completed === undefined) {
        const others = [...this.#waiting].some(([step, lines]) => step !== current && lines.length > 0);
        const patient = now - this.#spoke < PATIENCE_MS;
        if (this.#waiting.has(current) || !others || patient) {
          if (this.#waiting.has(current)) {
            this.#flush(current);
            this.#spoke = now;
          }
          return;
        }
        this.#write(`#${current.number} ...\n`);
      } else if (current !== undefined) this.#flush(current);
      const next = [...this.#waiting.keys()][0];
      this.#current = next;
      if (next === undefined) return;
      this.#flush(next);
      this.#spoke = now;
      if (next.completed === undefined) return;
    }
  }

  #flush(step: Step): void {
    const lines = this.#waiting.get(step);
    if (lines === undefined) return;
    this.#waiting.delete(step);
    let text = "";
    if (step !== this.#last) {
      text = `${this.#last === undefined ? "" : "\n"}#${step.number} ${step.vertex.name}\n`;
    }
    this.#last = step;
    this.#write(text + lines.filter((line) => line !== "").map((line) => `${line}\n`).join(""));
  }
}

function endOf(step: Step): string {
  if (step.error !== undefined) {
    return /context canceled/.test(step.error) ? "CANCELED" : `ERROR: ${step.error}`;
  }
  if (step.cached) return "CACHED";
  return `DONE ${seconds((step.completed ?? 0) - (step.started ?? 0))}`;
}
