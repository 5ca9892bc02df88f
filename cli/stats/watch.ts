/** Follows what containers use. */

import { isDoneWithin } from "../../base/deadline.ts";
import { type ApiClient, segment } from "../api_client.ts";
import { describeError } from "../errors.ts";
import { jsonTexts } from "../json_lines.ts";
import type { StatsAnswer, StatsEntry } from "./entry.ts";

/** An answer older than this is not shown: the engine sends one every second. */
const STALE_MS = 2000;

interface Watched {
  answer?: StatsAnswer;
  /** When the newest answer came, in milliseconds; 0 when it no longer counts. */
  at: number;
  error?: unknown;
  readonly stop: AbortController;
}

/** The containers that are watched, in the order in which they were added. */
export class StatsWatch implements Disposable {
  readonly #client: ApiClient;
  readonly #stream: boolean;
  readonly #watched = new Map<string, Watched>();
  #first: Promise<void>[] = [];

  /** @param stream goes on asking; otherwise one answer of each container is fetched */
  constructor(client: ApiClient, stream: boolean) {
    this.#client = client;
    this.#stream = stream;
  }

  add(name: string): void {
    if (this.#watched.has(name)) return;
    const watched: Watched = { at: 0, stop: new AbortController() };
    this.#watched.set(name, watched);
    const first = Promise.withResolvers<void>();
    this.#first.push(first.promise);
    void this.#collect(name, watched, first.resolve).catch((error: unknown) => watched.error = error)
      .finally(() => {
        watched.at = 0;
        first.resolve();
      });
  }

  remove(name: string): void {
    this.#watched.get(name)?.stop.abort();
    this.#watched.delete(name);
  }

  /** Waits until every container has given an answer or an error, at most as long as an answer counts. */
  async settled(): Promise<void> {
    const first = this.#first;
    this.#first = [];
    if (!this.#stream) return void await Promise.all(first);
    await isDoneWithin(Promise.all(first), STALE_MS);
  }

  /** What went wrong, one text for each container. */
  errors(): string[] {
    return [...this.#watched.values()].flatMap(({ error }) =>
      error === undefined ? [] : [describeError(error)]
    );
  }

  entries(): StatsEntry[] {
    const oldest = Date.now() - STALE_MS;
    return [...this.#watched].map(([container, { answer, at }]) => ({
      container,
      ...(answer === undefined ? {} : { answer }),
      isStale: this.#stream ? at < oldest : answer === undefined,
    }));
  }

  [Symbol.dispose](): void {
    for (const name of [...this.#watched.keys()]) this.remove(name);
  }

  async #collect(name: string, watched: Watched, answered: () => void): Promise<void> {
    const { signal } = watched.stop;
    const response = await this.#client.request("GET", `/containers/${segment(name, "container")}/stats`, {
      query: { stream: this.#stream },
      signal,
    });
    try {
      for await (const text of jsonTexts(response.body())) {
        watched.answer = JSON.parse(text) as StatsAnswer;
        watched.at = Date.now();
        answered();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
