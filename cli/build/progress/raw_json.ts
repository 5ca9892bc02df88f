import type { SessionEvent } from "../../../base/build_session.ts";
import { BuildModel, type Step } from "./model.ts";
import type { ProgressView } from "./view.ts";

/** The form of BuildKit's client.SolveStatus, one object a line, for programs. */
export class RawJsonProgress implements ProgressView {
  readonly model = new BuildModel();
  readonly #write: (text: string) => void;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  take(event: SessionEvent): void {
    const { step } = this.model.take(event);
    if (event.kind === "warning") {
      const { warning } = event;
      this.#line({
        warnings: [{
          vertex: digestOf(event.id),
          level: 1,
          short: text(`${warning.rule}: ${warning.message} (line ${warning.range.startLine})`),
          detail: [text(warning.description)],
          url: warning.url,
        }],
      });
    }
    if (step === undefined) return;
    if (event.kind === "start" || event.kind === "done") this.#line({ vertexes: [this.#vertex(step)] });
    else if (event.kind === "status") {
      const { name, current, total, time, done } = event;
      const started = step.statuses.get(name)?.started ?? time;
      this.#line({
        statuses: [{
          id: name,
          vertex: digestOf(event.id),
          current,
          ...(total === 0 ? {} : { total }),
          timestamp: date(time),
          started: date(started),
          ...(done ? { completed: date(time) } : {}),
        }],
      });
    } else if (event.kind === "log") {
      const { stream, data, time } = event;
      this.#line({ logs: [{ vertex: digestOf(event.id), stream, data, timestamp: date(time) }] });
    }
  }

  end(): void {}

  #vertex({ vertex, started, completed, cached, error }: Step): Record<string, unknown> {
    return {
      digest: digestOf(vertex.id),
      ...(vertex.inputs.length === 0 ? {} : { inputs: vertex.inputs.map(digestOf) }),
      name: vertex.name,
      ...(started === undefined ? {} : { started: date(started) }),
      ...(completed === undefined ? {} : { completed: date(completed) }),
      ...(cached ? { cached } : {}),
      ...(error === undefined ? {} : { error }),
    };
  }

  #line(value: Record<string, unknown>): void {
    this.#write(`${JSON.stringify(value)}\n`);
  }
}

/** Steps have numbers here; whoever reads this form expects a digest. */
const digestOf = (id: number): string =>
  `sha256:${(id < 0 ? 2 ** 32 + id : id).toString(16).padStart(64, "0")}`;
const date = (time: number): string => new Date(time).toISOString();
const text = (value: string): string => new TextEncoder().encode(value).toBase64();
