/**
 * A response whose body ends with the signal for certain. Deno 2.9 (ext/fetch, createResponseBodyStream) lets go of a body by a signal of
 * its own that follows the one given to `fetch`, and nobody but that one, weakly, refers to it: after a garbage collection an abort ends
 * neither the reading nor the connection.
 */
export function abortableResponse(response: Response, signal: AbortSignal | undefined): Response {
  if (signal === undefined || response.body === null) return response;
  const { status, statusText, headers, url } = response;
  const guarded = new Response(abortableStream(response.body, signal), { status, statusText, headers });
  Object.defineProperty(guarded, "url", { value: url });
  return guarded;
}

/** The same bytes; an abort cancels the source, and makes reads fail with the signal's reason. */
function abortableStream(
  source: ReadableStream<Uint8Array<ArrayBuffer>>,
  signal: AbortSignal,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = source.getReader();
  let forget = () => {};
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      const abort = () => {
        controller.error(signal.reason);
        void reader.cancel(signal.reason).catch(() => {});
      };
      forget = () => signal.removeEventListener("abort", abort);
      if (signal.aborted) abort();
      else signal.addEventListener("abort", abort, { once: true });
    },
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        // what comes after the abort belongs to nobody
        if (signal.aborted) return;
        if (!done) return controller.enqueue(value);
        forget();
        controller.close();
      } catch (error) {
        forget();
        throw error;
      }
    },
    cancel(reason) {
      forget();
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}
