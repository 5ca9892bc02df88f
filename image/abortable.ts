/** The chunks of a stream; an abort also ends a read that waits. @throws the signal's reason */
export async function* chunksOf(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  signal?.throwIfAborted();
  const reader = stream.getReader();
  const abort = () => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener("abort", abort);
  let ended = false;
  try {
    for (;;) {
      const next = await reader.read();
      signal?.throwIfAborted();
      if (next.done) break;
      yield next.value;
    }
    ended = true;
  } finally {
    signal?.removeEventListener("abort", abort);
    if (!ended) abort();
    reader.releaseLock();
  }
}
