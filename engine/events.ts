import { TIMER_LIMIT_MS } from "../base/timer_limit.ts";
import { nowNanos } from "./clock.ts";
import { matchesLabels } from "./container_filters.ts";
import type { EngineEvent, Filters } from "./types.ts";

/** Events that are kept for `since`. */
const HISTORY = 1000;
/** A reader that is this far behind is cut off: it must not hold the engine's memory. */
const QUEUE_LIMIT = 10_000;

type Subscriber = (event: EngineEvent) => void;

/** The engine's events: a ring of the last 1,000 and whoever listens now. */
export class EventLog {
  #ring: EngineEvent[] = [];
  #next = 0;
  readonly #subscribers = new Set<Subscriber>();

  publish(
    type: string,
    action: string,
    id: string,
    attributes: Readonly<Record<string, string>>,
  ): EngineEvent {
    const timeNano = nowNanos();
    const event: EngineEvent = {
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope: "local",
      time: Number(timeNano / 1_000_000_000n),
      timeNano,
    };
    if (this.#ring.length < HISTORY) this.#ring.push(event);
    else this.#ring[this.#next] = event;
    this.#next = (this.#next + 1) % HISTORY;
    for (const subscriber of this.#subscribers) subscriber(event);
    return event;
  }

  /** Number of open streams, shown by `info`. */
  get listeners(): number {
    return this.#subscribers.size;
  }

  /** Kept events, oldest first. */
  history(): EngineEvent[] {
    return this.#ring.length < HISTORY
      ? this.#ring.slice()
      : [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
  }

  /**
   * Kept events from `since` on (without it all of them where there is an `until`, else none), then live ones until `until` or `signal`.
   * Times in nanoseconds.
   * Subscribed before it returns: no event between the call and the first read is lost. A reader that falls
   * 10,000 events behind sees the stream end.
   */
  stream(
    options: { since: bigint | undefined; until: bigint | undefined; filters: Filters },
    signal: AbortSignal,
  ): AsyncIterable<EngineEvent> {
    const { since, until, filters } = options;
    const wanted = eventFilter(filters);
    const inTime = (event: EngineEvent) => until === undefined || event.timeNano <= until;
    const from = since ?? (until === undefined ? undefined : 0n);
    const queue = from === undefined
      ? []
      : this.history().filter((event) => event.timeNano >= from && inTime(event) && wanted(event));
    let wake: (() => void) | undefined;
    let ended = signal.aborted;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = () => {
      ended = true;
      this.#subscribers.delete(subscriber);
      if (timer !== undefined) clearTimeout(timer);
      signal.removeEventListener("abort", end);
      wake?.();
    };
    const subscriber: Subscriber = (event) => {
      if (!inTime(event)) return end();
      if (!wanted(event)) return;
      queue.push(event);
      if (queue.length > QUEUE_LIMIT) return end();
      wake?.();
    };
    if (!ended) {
      this.#subscribers.add(subscriber);
      signal.addEventListener("abort", end);
      if (until !== undefined) {
        const left = Number((until - nowNanos()) / 1_000_000n);
        if (left <= 0) end();
        // A later end than that is no end.
        else if (left <= TIMER_LIMIT_MS) timer = setTimeout(end, left);
      }
    }
    return (async function* () {
      try {
        while (true) {
          const event = queue.shift();
          if (event !== undefined) yield event;
          else if (ended) return;
          else {
            await new Promise<void>((resolve) => wake = resolve);
            wake = undefined;
          }
        }
      } finally {
        end();
      }
    })();
  }
}

/** moby: daemon/events/filter.go; "node", "service", "secret" and "config" are a swarm's. */
const EVENT_FILTERS = new Set(
  "config container daemon event image label network node plugin scope secret service type volume".split(" "),
);

/** Docker's filters of GET /events; values of one key are alternatives but for labels, keys must all match. Unknown keys are passed over. */
export function eventFilter(filters: Filters): (event: EngineEvent) => boolean {
  const tests: ((event: EngineEvent) => boolean)[] = [];
  for (const [key, values] of filters) {
    if (values.length === 0 || !EVENT_FILTERS.has(key)) continue;
    tests.push(
      key === "label"
        ? ({ Actor }) => matchesLabels(values, Actor.Attributes)
        : (event) => values.some((value) => matches(event, key, value)),
    );
  }
  return (event) => tests.every((test) => test(event));
}

function matches(event: EngineEvent, key: string, value: string): boolean {
  const { ID, Attributes } = event.Actor;
  switch (key) {
    case "type":
      return event.Type === value;
    case "event":
      // "exec_start" matches "exec_start: sh", "health_status" matches "health_status: healthy".
      return event.Action === value || event.Action.startsWith(`${value}:`);
    case "scope":
      return event.scope === value;
    case "image":
      return event.Type === "image"
        ? sameImage(ID, value) || sameImage(Attributes["name"] ?? "", value)
        : sameImage(Attributes["image"] ?? "", value);
    case "container":
    case "network":
    case "volume":
    case "daemon":
    case "plugin":
      // The beginning of an id or of a name is enough.
      return event.Type === key && (ID.startsWith(value) || (Attributes["name"] ?? "").startsWith(value));
    default:
      return false;
  }
}

function sameImage(name: string, wanted: string): boolean {
  const bare = name.replace(/:[^/:]*$/, "");
  return name === wanted || bare === wanted;
}
