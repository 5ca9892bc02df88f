/** Streams of JSON values, as events and progress come: one after another, usually but not always one a line. */

/** Yields each value, parsed, as soon as it is whole. Throws SyntaxError for what is no JSON. */
export async function* jsonValues(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<unknown, void, void> {
  for await (const text of jsonTexts(bytes)) yield JSON.parse(text);
}

/** Yields the text of each value as soon as it is whole; numbers beyond 2^53 are still exact in it. */
export async function* jsonTexts(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let pending = "";
  for await (const chunk of bytes) {
    pending += decoder.decode(chunk, { stream: true });
    for (let end = valueEnd(pending); end > 0; end = valueEnd(pending)) {
      yield pending.slice(0, end).trim();
      pending = pending.slice(end);
    }
  }
  pending += decoder.decode();
  if (pending.trim() !== "") yield pending.trim();
}

/** Where the first object of `text` ends, 0 while it is not whole. */
function valueEnd(text: string): number {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (inString) {
      if (char === "\\") i++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === "{" || char === "[") depth++;
    else if ((char === "}" || char === "]") && --depth === 0) return i + 1;
  }
  return 0;
}
