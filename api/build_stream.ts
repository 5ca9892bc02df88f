/** What a build tells, in the lines of Docker's classic builder (moby: builder/dockerfile), which its clients take apart. */
import type { BuildEvent, BuildVertex } from "../engine/build/types.ts";
import { jsonMessage } from "../engine/image_transfer.ts";

type Message = Record<string, unknown>;
export type Send = (message: Message) => void;

const SHORT_ID = 12;
const shortId = (id: string): string => id.replace(/^sha256:/, "").slice(0, SHORT_ID);

interface Step {
  readonly vertex: BuildVertex;
  /** What it has said, as long as an earlier step has the word. */
  readonly waiting: Message[];
  readonly decoders: Map<number, TextDecoder>;
  begun: boolean;
  done: boolean;
  container: string | undefined;
}

/**
 * Steps in the order of the Dockerfile, one after the other, though they may run at the same time: what a later one says waits until the
 * earlier ones are through.
 */
export class ClassicStream {
  readonly #send: Send;
  readonly #steps: Step[] = [];
  readonly #byVertex = new Map<number, Step>();
  /** Index of the step that has the word. */
  #current = 0;

  constructor(send: Send) {
    this.#send = send;
  }

  /** The instruction that has failed. */
  failed: string | undefined;

  take(event: BuildEvent): void {
    switch (event.kind) {
      case "plan":
        for (const vertex of event.vertices) this.#add(vertex);
        break;
      case "vertex":
        this.#add(event.vertex);
        break;
      case "warning":
        // the classic builder has no checks
        return;
      default:
        this.#tell(event);
    }
    this.#flush();
  }

  /** Lets every step that has begun say the rest. @param imageId of the image that the last step has made. */
  end(imageId?: string): void {
    const last = this.#steps.at(-1);
    if (imageId !== undefined && last?.done) last.waiting.push({ stream: ` ---> ${shortId(imageId)}\n` });
    for (const { waiting } of this.#steps) {
      for (const message of waiting.splice(0)) this.#send(message);
    }
  }

  #add(vertex: BuildVertex): void {
    if (vertex.instruction === undefined || this.#byVertex.has(vertex.id)) return;
    const step = {
      vertex,
      waiting: [],
      decoders: new Map(),
      begun: false,
      done: false,
      container: undefined,
    };
    this.#byVertex.set(vertex.id, step);
    const later = this.#steps.findIndex((other) => other.vertex.id > vertex.id);
    // one that comes late never stands before what was shown
    if (later < 0) this.#steps.push(step);
    else this.#steps.splice(Math.max(later, this.#current), 0, step);
  }

  #tell(event: Exclude<BuildEvent, { kind: "plan" | "vertex" | "warning" }>): void {
    const step = this.#byVertex.get(event.id);
    if (step === undefined) {
      // what is exported is said at the end
      if (event.kind !== "status") return;
      if (event.total > 0 || LAYER.test(event.name)) this.#send(statusMessage(event));
      return;
    }
    this.#begin(step);
    const say = (text: string) => void step.waiting.push({ stream: text });
    switch (event.kind) {
      case "container":
        step.container = event.container;
        say(` ---> Running in ${shortId(event.container)}\n`);
        break;
      case "log":
        say(logText(step, event));
        break;
      case "status":
        step.waiting.push(statusMessage(event));
        break;
      case "done": {
        step.done = true;
        if (event.error !== undefined) this.failed ??= step.vertex.instruction;
        if (event.error !== undefined) break;
        const isFrom = /^from\s/i.test(step.vertex.instruction ?? "");
        if (event.cached && !isFrom) say(" ---> Using cache\n");
        if (step.container !== undefined) {
          say(` ---> Removed intermediate container ${shortId(step.container)}\n`);
        }
        // what the last one makes is the image, which is made now
        if (step === this.#steps.at(-1)) break;
        if (event.result !== undefined || isFrom) say(` ---> ${shortId(event.result ?? "")}\n`);
        break;
      }
    }
  }

  #begin(step: Step): void {
    if (step.begun) return;
    step.begun = true;
    const place = this.#steps.indexOf(step) + 1;
    step.waiting.unshift({ stream: `Step ${place}/${this.#steps.length} : ${step.vertex.instruction}\n` });
  }

  #flush(): void {
    for (;;) {
      const step = this.#steps[this.#current];
      if (step === undefined) return;
      for (const message of step.waiting.splice(0)) this.#send(message);
      if (!step.done) return;
      this.#current++;
    }
  }
}

/** Standard error is red, as the classic builder has it. */
function logText(step: Step, { stream, data }: Extract<BuildEvent, { kind: "log" }>): string {
  let decoder = step.decoders.get(stream);
  if (decoder === undefined) step.decoders.set(stream, decoder = new TextDecoder());
  const text = decoder.decode(data, { stream: true });
  return stream === 2 ? `\x1b[91m${text}\x1b[0m` : text;
}

/** What a pull says of a layer, as the planner tells it (plan.ts): "sha256:0123456789ab Extracting". */
const LAYER = /^sha256:([0-9a-f]{12}) (.+)$/s;

/** A layer that is being pulled is named by its digest, and says what a pull says; everything else by what it is called. */
function statusMessage({ name, current, total }: Extract<BuildEvent, { kind: "status" }>): Message {
  const progress = { current, total };
  const [, id, status] = LAYER.exec(name) ?? [];
  if (id === undefined || status === undefined) return jsonMessage({ status: name, progress });
  return jsonMessage({ id, status, progress });
}
