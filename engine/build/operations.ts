/** The operations of one build: each is looked up, waited for, or carried out. */
import { type BuildCache, keyOf } from "./cache.ts";
import { restackLayer } from "./commit_layer.ts";
import type { ImportedCache } from "./imported_cache.ts";
import type { StepProgress } from "./progress.ts";
import { NOTHING, type Outcome, type StageFiles, topOf, withLayer } from "./stage_files.ts";
import type { PreparedStep, StepTools } from "./steps.ts";

export interface OperationTools extends StepTools {
  readonly cache: BuildCache;
  /** Operations that are being carried out, by key: another build waits and takes the result. */
  readonly underWay: Map<string, Promise<unknown>>;
}

/** One operation, and what is told of it. */
export interface Operation {
  readonly step: PreparedStep;
  /** `[build 2/5] RUN make` */
  readonly description: string;
  /** Line of the history. */
  readonly createdBy: string;
  /** The line tells what the operation depends on: an image of `--cache-from` that has it has the same layer. */
  readonly isToldByHistory: boolean;
  /** False with `--no-cache` and `--no-cache-filter`. */
  readonly isCacheUsed: boolean;
}

export interface OperationsInput {
  readonly tools: OperationTools;
  readonly imported: ImportedCache;
  /** Takes what the build relies on. */
  readonly held: DisposableStack;
  readonly signal: AbortSignal;
}

export class Operations {
  readonly #tools: OperationTools;
  readonly #imported: ImportedCache;
  readonly #held: DisposableStack;
  readonly #signal: AbortSignal;
  /** The same for everything of one build: then the pruning takes what is on top first. */
  readonly #started = new Date().toISOString();

  constructor({ tools, imported, held, signal }: OperationsInput) {
    this.#tools = tools;
    this.#imported = imported;
    this.#held = held;
    this.#signal = signal;
  }

  /** The files below and what the operation has made of them. */
  async run(operation: Operation, below: StageFiles, progress: StepProgress): Promise<StageFiles> {
    const { step, createdBy } = operation;
    const outcome = step.isLinked
      ? await this.#link(operation, below, progress)
      : await this.#carryOut(operation, below, progress);
    const { layers, tables } = this.#tools.store;
    return withLayer(
      below,
      outcome,
      { createdBy, key: step.key },
      (chainId) => (layers.known(chainId) ?? tables.layer(chainId))?.diffId ?? "",
    );
  }

  /** Looks the operation up, or waits for whoever carries it out, or does it. */
  async #carryOut(
    { step: { key, type, make }, description, createdBy, isToldByHistory, isCacheUsed }: Operation,
    below: StageFiles,
    progress: StepProgress,
  ): Promise<Outcome> {
    const { cache, underWay } = this.#tools;
    const parent = topOf(below);
    const row = { id: key, parent, type, description, usedAt: this.#started };
    this.#held.use(cache.hold(key));
    while (isCacheUsed) {
      const hit = cache.find(key, this.#started);
      if (hit !== undefined && hit.parent === parent) {
        this.#holdLayer(hit.chainId);
        return { chainId: hit.chainId, createdAt: hit.createdAt, cached: true };
      }
      const running = underWay.get(key);
      if (running === undefined) break;
      await running.catch(() => {});
      this.#signal.throwIfAborted();
    }
    const found = isCacheUsed
      ? this.#imported.findKey(key, parent) ??
        (isToldByHistory ? this.#imported.find(below, createdBy) : undefined)
      : undefined;
    if (found !== undefined) {
      this.#holdLayer(found.chainId);
      cache.put({ ...row, ...found });
      return { ...found, cached: true };
    }
    const making = make(progress);
    underWay.set(key, making);
    try {
      const { chainId, hold } = await making;
      this.#held.use(hold);
      const createdAt = new Date().toISOString();
      cache.put({ ...row, chainId, createdAt });
      return { chainId, createdAt, cached: false };
    } finally {
      if (underWay.get(key) === making) underWay.delete(key);
    }
  }

  /** Carries an operation out on nothing, and puts its layer on what is below. */
  async #link(operation: Operation, below: StageFiles, progress: StepProgress): Promise<Outcome> {
    const { ctx, store, cache } = this.#tools;
    const { step, description, isCacheUsed } = operation;
    const parent = topOf(below);
    const row = {
      id: keyOf(["link", step.key, parent]),
      parent,
      type: step.type,
      description,
      usedAt: this.#started,
    };
    this.#held.use(cache.hold(row.id));
    const imported = isCacheUsed ? this.#imported.findKey(step.key, parent) : undefined;
    if (imported !== undefined) {
      this.#holdLayer(imported.chainId);
      cache.put({ ...row, ...imported });
      return { ...imported, cached: true };
    }
    const alone = await this.#carryOut({ ...operation, isToldByHistory: false }, NOTHING, progress);
    if (alone.chainId === "") return { ...alone, chainId: parent };
    if (parent === "") return alone;
    const { chainId, hold } = await restackLayer(ctx, store, alone.chainId, below.stack, this.#signal);
    this.#held.use(hold);
    // the layers of later steps have this one below: it must be known to the store as they are
    if (cache.find(row.id, this.#started)?.chainId !== chainId) {
      cache.put({ ...row, chainId, createdAt: alone.createdAt });
    }
    return { ...alone, chainId };
  }

  #holdLayer(chainId: string): void {
    this.#held.use(this.#tools.store.layers.hold([chainId]));
  }
}
