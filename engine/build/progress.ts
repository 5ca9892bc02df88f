import type { BuildEvent, BuildVertex } from "./types.ts";

/** What a step tells while it runs. */
export interface StepProgress {
  readonly id: number;
  log(stream: 1 | 2, data: Uint8Array): void;
  status(name: string, current: number, total: number, done: boolean): void;
  container(id: string): void;
}

/** How a step ended. */
export interface StepEnd {
  readonly cached: boolean;
  /** `sha256:…` of what was made. */
  readonly result: string | undefined;
}

/**
 * What one step may print. Whoever shows it may be slower than the command, and all of it waits in memory then; BuildKit stops at 2 MiB for the same
 * reason.
 */
const MOST_OUTPUT = 16 * 1024 * 1024;

/** Numbers vertices and tells of them. */
export class Progress {
  readonly #emit: (event: BuildEvent) => void;
  #next = 0;

  constructor(emit: (event: BuildEvent) => void) {
    this.#emit = emit;
  }

  /** A number for a vertex; those of one plan come in the order of the Dockerfile. */
  id(): number {
    return this.#next++;
  }

  plan(vertices: readonly BuildVertex[]): void {
    this.#emit({ kind: "plan", vertices });
  }

  emit(event: BuildEvent): void {
    this.#emit(event);
  }

  /** Something of the builder's own, which no instruction stands for. */
  async internal<T>(
    name: string,
    work: (progress: StepProgress) => Promise<T> | T,
    cached = false,
  ): Promise<T> {
    const vertex: BuildVertex = {
      id: this.id(),
      name,
      instruction: undefined,
      stage: undefined,
      inputs: [],
    };
    this.#emit({ kind: "vertex", vertex });
    return await this.step(vertex.id, work, () => ({ cached, result: undefined }));
  }

  /** Tells the beginning, the end and the failure of `work`. */
  async step<T>(
    id: number,
    work: (progress: StepProgress) => Promise<T> | T,
    endOf: (result: T) => StepEnd,
  ): Promise<T> {
    this.#emit({ kind: "start", id, time: Date.now() });
    try {
      const result = await work(this.#of(id));
      this.#emit({ kind: "done", id, time: Date.now(), error: undefined, ...endOf(result) });
      return result;
    } catch (error) {
      const aborted = error instanceof DOMException && error.name === "AbortError";
      this.#emit({
        kind: "done",
        id,
        time: Date.now(),
        cached: false,
        error: aborted ? "context canceled" : error instanceof Error ? error.message : String(error),
        result: undefined,
      });
      throw error;
    }
  }

  #of(id: number): StepProgress {
    const emit = this.#emit;
    let room = MOST_OUTPUT;
    const log = (stream: 1 | 2, data: Uint8Array) =>
      emit({ kind: "log", id, stream, data, time: Date.now() });
    return {
      id,
      log: (stream, data) => {
        if (room <= 0) return;
        log(stream, data.subarray(0, room));
        room -= data.length;
        if (room <= 0) log(2, new TextEncoder().encode("\n[output clipped, log limit 16MiB reached]\n"));
      },
      status: (name, current, total, done) =>
        emit({ kind: "status", id, name, current, total, done, time: Date.now() }),
      container: (container) => emit({ kind: "container", id, container }),
    };
  }
}
