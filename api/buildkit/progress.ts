import { createHash } from "node:crypto";
import type { BuildEvent, BuildVertex } from "../../engine/build/types.ts";
import { encode, timestamp } from "./protocol.ts";

interface VertexState {
  readonly digest: string;
  readonly name: string;
  readonly inputs: readonly string[];
  started?: number;
  completed?: number;
  cached: boolean;
  error: string;
}

/** What holds a build up when nobody reads its progress: old messages are dropped beyond this many. */
const MAX_KEPT = 100_000;

/** Each warning comes with the whole Dockerfile, for its excerpt. Beyond so many bytes of that they come without. */
const MOST_SOURCE = 16 * 1024 * 1024;

/** A build's progress as BuildKit's Status tells it: to whoever asks, from the beginning. */
export class Progress {
  readonly #ref: string;
  readonly #source: { readonly name: string; readonly text: () => string };
  readonly #messages: Uint8Array[] = [];
  #dropped = 0;
  /** Bytes of the Dockerfile that warnings have brought so far. */
  #sourceBytes = 0;
  readonly #vertices = new Map<number, VertexState>();
  /** Steps that BuildKit does not show. */
  readonly #hidden = new Set<number>();
  #ended = false;
  /** A step of berth's own was told before the builder began. */
  #loaded = false;
  readonly #waiting = new Set<() => void>();

  /** @param source the Dockerfile, for warnings. */
  constructor(ref: string, source: { readonly name: string; readonly text: () => string }) {
    this.#ref = ref;
    this.#source = source;
  }

  /** Messages of Status until the build has ended. */
  async *messages(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for (let next = 0;; next++) {
      next = Math.max(next, this.#dropped);
      const message = this.#messages[next - this.#dropped];
      if (message !== undefined) {
        yield message;
        continue;
      }
      if (this.#ended || signal.aborted) return;
      next--;
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiting.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal.addEventListener("abort", wake, { once: true });
      });
    }
  }

  end(): void {
    this.#ended = true;
    for (const wake of this.#waiting) wake();
  }

  /** A step of berth's own, beside the builder's: runs `work`, which may tell how many bytes have come. */
  async step<T>(
    name: string,
    what: string,
    work: (bytes: (count: number) => void) => Promise<T>,
  ): Promise<T> {
    const id = -1 - this.#vertices.size;
    this.#loaded = true;
    this.#add({ id, name, instruction: undefined, stage: undefined, inputs: [] });
    const started = Date.now();
    this.take({ kind: "start", id, time: started });
    let told = 0;
    let count = 0;
    const status = (done: boolean) =>
      this.take({ kind: "status", id, name: what, current: count, total: 0, time: Date.now(), done });
    try {
      const result = await work((bytes) => {
        count = bytes;
        if (Date.now() - told < 100) return;
        told = Date.now();
        status(false);
      });
      status(true);
      this.take({ kind: "done", id, time: Date.now(), cached: false, error: undefined, result: undefined });
      return result;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.take({ kind: "done", id, time: Date.now(), cached: false, error: message, result: undefined });
      throw error;
    }
  }

  /** Takes an event of the builder's. */
  take(event: BuildEvent): void {
    switch (event.kind) {
      case "plan":
        for (const vertex of event.vertices) this.#addOrHide(vertex);
        this.#tell({
          vertexes: event.vertices.flatMap(({ id }) => this.#vertices.has(id) ? [this.#view(id)] : []),
        });
        return;
      case "vertex":
        this.#addOrHide(event.vertex);
        if (this.#vertices.has(event.vertex.id)) this.#tell({ vertexes: [this.#view(event.vertex.id)] });
        return;
      case "start":
        this.#change(event.id, (vertex) => vertex.started = event.time);
        return;
      case "done":
        this.#change(event.id, (vertex) => {
          vertex.started ??= event.time;
          vertex.completed = event.time;
          vertex.cached = event.cached;
          vertex.error = event.error ?? "";
        });
        return;
      case "log":
        if (this.#hidden.has(event.id)) return;
        this.#tell({
          logs: [{
            vertex: this.#digest(event.id),
            timestamp: timestamp(event.time),
            stream: event.stream,
            msg: event.data,
          }],
        });
        return;
      case "status": {
        if (this.#hidden.has(event.id)) return;
        const started = this.#vertices.get(event.id)?.started ?? event.time;
        this.#tell({
          statuses: [{
            ID: event.name,
            vertex: this.#digest(event.id),
            name: event.name,
            current: event.current,
            total: event.total,
            timestamp: timestamp(event.time),
            started: timestamp(started),
            ...(event.done ? { completed: timestamp(event.time) } : {}),
          }],
        });
        return;
      }
      case "warning": {
        const { warning } = event;
        this.#tell({
          warnings: [{
            vertex: this.#digest(event.id),
            level: 1,
            short: new TextEncoder().encode(
              `${warning.rule}: ${warning.message} (line ${warning.range.startLine})`,
            ),
            detail: [new TextEncoder().encode(warning.description)],
            url: warning.url,
            info: {
              filename: this.#source.name,
              data: this.#sourceData(),
              language: "Dockerfile",
            },
            ranges: [{
              start: { line: warning.range.startLine },
              end: { line: warning.range.endLine },
            }],
          }],
        });
        return;
      }
      case "container":
        // BuildKit does not show containers.
        return;
    }
  }

  /** Loading the Dockerfile is told already, as a step of the transfer. */
  #addOrHide(vertex: BuildVertex): void {
    const { id, name, configOnly } = vertex;
    if (configOnly === true || (this.#loaded && name.startsWith("[internal] load build definition"))) {
      this.#hidden.add(id);
    } else {
      this.#add(vertex);
    }
  }

  #add({ id, name, inputs }: BuildVertex): void {
    this.#vertices.set(id, {
      digest: `sha256:${createHash("sha256").update(`${this.#ref}\n${id}`).digest("hex")}`,
      name,
      inputs: inputs.map((input) => this.#digest(input)).filter((digest) => digest !== ""),
      cached: false,
      error: "",
    });
  }

  /** The Dockerfile, or nothing when it has come too often. */
  #sourceData(): Uint8Array {
    const text = this.#source.text();
    if (this.#sourceBytes + text.length > MOST_SOURCE) return new Uint8Array();
    const data = new TextEncoder().encode(text);
    this.#sourceBytes += data.length;
    return data;
  }

  #digest(id: number): string {
    return this.#vertices.get(id)?.digest ?? "";
  }

  #change(id: number, change: (vertex: VertexState) => void): void {
    const vertex = this.#vertices.get(id);
    if (vertex === undefined) return;
    change(vertex);
    this.#tell({ vertexes: [this.#view(id)] });
  }

  #view(id: number): Record<string, unknown> {
    const vertex = this.#vertices.get(id);
    if (vertex === undefined) return {};
    const { started, completed, ...rest } = vertex;
    return {
      ...rest,
      ...(started === undefined ? {} : { started: timestamp(started) }),
      ...(completed === undefined ? {} : { completed: timestamp(completed) }),
    };
  }

  #tell(message: Record<string, unknown>): void {
    this.#messages.push(encode("StatusResponse", message));
    if (this.#messages.length > MAX_KEPT) {
      this.#messages.splice(0, MAX_KEPT / 10);
      this.#dropped += MAX_KEPT / 10;
    }
    for (const wake of this.#waiting) wake();
  }
}
