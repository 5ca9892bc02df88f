/** Waits that have an end. What is waited for goes on: only the wait is given up. */
import { TIMER_LIMIT_MS } from "./timer_limit.ts";

/**
 * Whether the work is done in time.
 *
 * @param ms at most {@link TIMER_LIMIT_MS} of them count.
 * @throws the work's failure, if it comes in time.
 */
export async function isDoneWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.min(ms, TIMER_LIMIT_MS));
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * What the work comes to.
 *
 * @param late makes the error of work that takes longer; it may end what the work waits for.
 * @throws the work's failure, or `late`'s error.
 */
export async function withDeadline<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
  if (!await isDoneWithin(work, ms)) throw late();
  return await work;
}

/** What shared work comes to, or the signal's reason when that comes first: the work goes on, for those who still want it. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  let leave = () => {};
  const left = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave);
  });
  try {
    return await Promise.race([work, left]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}
