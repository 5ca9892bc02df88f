/** What is known of a build under way, for all the ways of showing it. */
import type { SessionEvent, SessionVertex, SessionWarning } from "../../../base/build_session.ts";

/** Lines of output that are kept of each step, to be shown when it fails. */
const KEPT_LINES = 500;

export interface Status {
  readonly name: string;
  current: number;
  total: number;
  readonly started: number;
  /** Milliseconds since 1970; undefined: goes on. */
  completed: number | undefined;
}

export interface LogLine {
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly time: number;
}

/** One step as it is shown. */
export interface Step {
  readonly vertex: SessionVertex;
  /** As in `#5`; 0 as long as it has not begun. */
  number: number;
  started: number | undefined;
  completed: number | undefined;
  cached: boolean;
  error: string | undefined;
  readonly statuses: Map<string, Status>;
  readonly lines: LogLine[];
  /** A line that has not ended yet, by stream. */
  readonly partial: Map<number, { text: string; time: number; readonly decoder: TextDecoder }>;
}

/** Takes the events of a build and remembers what was said. */
export class BuildModel {
  readonly steps: Step[] = [];
  readonly warnings: SessionWarning[] = [];
  readonly #byId = new Map<number, Step>();
  #numbers = 0;

  /** Whole lines that a log event has brought. */
  take(event: SessionEvent): { step: Step | undefined; lines: readonly LogLine[] } {
    switch (event.kind) {
      case "plan":
        for (const vertex of event.vertices) this.#add(vertex);
        return NOTHING;
      case "vertex":
        this.#add(event.vertex);
        return NOTHING;
      case "warning":
        this.warnings.push(event.warning);
        return NOTHING;
      case "container":
        return NOTHING;
    }
    const step = this.#byId.get(event.id);
    if (step === undefined) return NOTHING;
    const begin = (time: number) => {
      if (step.number === 0) step.number = ++this.#numbers;
      step.started ??= time;
    };
    switch (event.kind) {
      case "start":
        begin(event.time);
        return { step, lines: [] };
      case "done": {
        begin(event.time);
        step.completed = event.time;
        step.cached = event.cached;
        step.error = event.error;
        const lines = rest(step);
        return { step, lines };
      }
      case "status": {
        begin(event.time);
        const known = step.statuses.get(event.name) ??
          { name: event.name, current: 0, total: 0, started: event.time, completed: undefined };
        known.current = event.current;
        known.total = event.total;
        if (event.done) known.completed ??= event.time;
        step.statuses.set(event.name, known);
        return { step, lines: [] };
      }
      case "log": {
        begin(event.time);
        return { step, lines: split(step, event.stream, Uint8Array.fromBase64(event.data), event.time) };
      }
    }
  }

  /** Steps that were at it when the build ended have no end of their own. */
  get failed(): Step | undefined {
    return this.steps.find(({ error }) => error !== undefined && !/context canceled|aborted/i.test(error));
  }

  #add(vertex: SessionVertex): void {
    if (vertex.configOnly === true || this.#byId.has(vertex.id)) return;
    const step: Step = {
      vertex,
      number: 0,
      started: undefined,
      completed: undefined,
      cached: false,
      error: undefined,
      statuses: new Map(),
      lines: [],
      partial: new Map(),
    };
    this.#byId.set(vertex.id, step);
    this.steps.push(step);
  }
}

const NOTHING = { step: undefined, lines: [] } as const;

/** Whole lines; what follows the last one waits for its end. */
function split(step: Step, stream: number, data: Uint8Array, time: number): LogLine[] {
  let partial = step.partial.get(stream);
  if (partial === undefined) {
    step.partial.set(stream, partial = { text: "", time, decoder: new TextDecoder() });
  }
  const texts = (partial.text + partial.decoder.decode(data, { stream: true })).split("\n");
  partial.text = texts.pop() ?? "";
  partial.time = time;
  return keep(step, texts.map((text) => ({ text: text.replace(/\r$/, ""), time })));
}

function rest(step: Step): LogLine[] {
  const lines = [...step.partial.values()].filter(({ text }) => text !== "").map(({ text, time }) => ({
    text,
    time,
  }));
  step.partial.clear();
  return keep(step, lines);
}

function keep(step: Step, lines: LogLine[]): LogLine[] {
  step.lines.push(...lines);
  if (step.lines.length > KEPT_LINES) step.lines.splice(0, step.lines.length - KEPT_LINES);
  return lines;
}

/** "1.2s" */
export const seconds = (milliseconds: number): string => `${(Math.max(0, milliseconds) / 1000).toFixed(1)}s`;

const UNITS = ["B", "kB", "MB", "GB", "TB"];
/** "3.20MB", as BuildKit writes sizes (units.Bytes, "%.2f"). */
export function byteText(count: number): string {
  let value = count, unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? `${count}B` : `${value.toFixed(2)}${UNITS[unit]}`;
}

/** "3.20MB / 10.00MB" */
export function amountText({ current, total }: Pick<Status, "current" | "total">): string {
  if (total > 0) return `${byteText(current)} / ${byteText(total)}`;
  return current > 0 ? byteText(current) : "";
}
