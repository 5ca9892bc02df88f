import { jsonLine, stream, streamError } from "./reply.ts";

/**
 * A response of what `work` sends, line by line as it comes. As in Docker, what fails before the first line is an
 * ordinary error, and what fails afterwards is the last line.
 *
 * @param failuresAreLines every failure is a line. The 200 waits for the first line all the same: containers/image takes it to mean that
 *   its archive has been read, and stops sending.
 */
export async function messageStream(
  work: (send: (message: Record<string, unknown>) => void, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
  failuresAreLines = false,
): Promise<Response> {
  const queue: Record<string, unknown>[] = [];
  let wake = () => {};
  let finished = false;
  let failure: { readonly error: unknown } | undefined;
  const done = work((message) => {
    queue.push(message);
    wake();
  }, signal).catch((error) => {
    failure = { error };
  }).finally(() => {
    finished = true;
    wake();
  });
  while (queue.length === 0 && !finished) await new Promise<void>((resolve) => wake = resolve);
  if (queue.length === 0 && failure !== undefined && !failuresAreLines) throw failure.error;
  async function* lines(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const message = queue.shift();
      if (message !== undefined) yield jsonLine(message);
      else if (finished) break;
      else await new Promise<void>((resolve) => wake = resolve);
    }
    await done;
    if (failure !== undefined && !signal.aborted) yield jsonLine(streamError(failure.error));
  }
  return stream(lines(), "application/json");
}
