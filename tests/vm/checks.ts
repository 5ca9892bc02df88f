/**
 * A test runner for a slow machine: in the virtual machine Deno takes ten times as long, and vitest would take half a minute to
 * start. Each check is one line of output, `ok NAME` or `FAILED NAME: why`, which scripts/test_vm counts.
 */
export class Failure extends Error {}

let failed = 0;

const textOf = (error: unknown): string =>
  String(error instanceof Failure ? error.message : error instanceof Error ? error.stack : error)
    .replaceAll("\n", "\n    ");

/**
 * Runs one check. Those after it run also when it fails. One that fails is tried once more, since the machine is emulated beside whatever else
 * runs: whoever passes then is named as unsteady.
 */
export async function check(name: string, body: () => Promise<void> | void): Promise<void> {
  const started = performance.now();
  const took = () => `(${Math.round(performance.now() - started)} ms)`;
  let first = "";
  for (const last of [false, true]) {
    try {
      await body();
      const unsteady = first === "" ? "" : `; unsteady, failed once: ${first}`;
      console.log(`ok ${name} ${took()}${unsteady}`);
      return;
    } catch (error) {
      const text = textOf(error);
      if (!last) {
        first = text;
        continue;
      }
      failed++;
      console.log(`FAILED ${name} ${took()}: ${first}\n    and then: ${text}`);
    }
  }
}

export function skip(name: string, reason: string): void {
  console.log(`skipped ${name}: ${reason}`);
}

/** To be called at the end: the exit code of this part. */
export function finish(): never {
  Deno.exit(failed === 0 ? 0 : 1);
}

export function assert(condition: boolean, what: string): void {
  if (!condition) throw new Failure(what);
}

export function equal(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Failure(`${what}: ${a}, expected ${b}`);
}

export function within(actual: number, low: number, high: number, what: string): void {
  if (!(actual >= low && actual <= high)) throw new Failure(`${what}: ${actual}, expected ${low} to ${high}`);
}

/** Polls until `condition` is true. @throws {Failure} */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  seconds = 20,
): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!await condition()) {
    if (performance.now() > end) {
      throw new Failure(`not within ${seconds} s: ${typeof what === "string" ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Polls until two readings, 100 ms apart, are the same: the kernel's counts of time come late. @throws {Failure} */
export async function settled(read: () => number | Promise<number>, what: string): Promise<void> {
  let last = NaN;
  await eventually(async () => {
    const before = last;
    await new Promise((resolve) => setTimeout(resolve, 100));
    last = await read();
    return last === before;
  }, what);
}

export async function rejects(promise: Promise<unknown>, pattern: RegExp): Promise<void> {
  try {
    await promise;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (!pattern.test(text)) throw new Failure(`wrong error: ${text}`);
    return;
  }
  throw new Failure(`no error, expected ${pattern}`);
}
