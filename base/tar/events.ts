import type { TarEvent } from "./entry.ts";
import { TarReader, type TarReaderOptions } from "./reader.ts";

/**
 * Reads a whole archive from a stream. Data events are views of the stream's chunks: use them before asking for
 * the next event.
 *
 * @throws {TarError} also when the stream ends too early.
 */
export async function* tarEvents(
  chunks: AsyncIterable<Uint8Array>,
  options: TarReaderOptions = {},
): AsyncGenerator<TarEvent, void, undefined> {
  const reader = new TarReader(options);
  for await (const chunk of chunks) yield* reader.feed(chunk);
  reader.finish();
}
