/** Farther away than this, a name is not what was meant (BuildKit, util/suggest). */
const TOO_FAR = 3;

/**
 * The option that was most likely meant by `text`; undefined when none is near, or when it is one of them.
 *
 * @param caseSensitive false: the answer is written as `text` is, all lower or all upper case.
 */
export function nearest(text: string, options: Iterable<string>, caseSensitive = true): string | undefined {
  const wanted = caseSensitive ? text : text.toLowerCase();
  let found: string | undefined;
  let least = TOO_FAR;
  for (const option of options) {
    const candidate = caseSensitive ? option : option.toLowerCase();
    if (candidate === wanted) return undefined;
    // the difference in length is a lower bound: most options are ruled out by it
    if (Math.abs(candidate.length - wanted.length) >= least) continue;
    const distance = editDistance(wanted, candidate);
    if (distance >= least) continue;
    least = distance;
    found = caseSensitive || text === text.toLowerCase() ? candidate : candidate.toUpperCase();
    if (!caseSensitive && text !== text.toLowerCase() && text !== text.toUpperCase()) found = candidate;
  }
  return found;
}

/** `message (did you mean NAME?)`, or the message alone. */
export function withSuggestion(
  message: string,
  text: string,
  options: Iterable<string>,
  caseSensitive = true,
): string {
  const found = nearest(text, options, caseSensitive);
  return found === undefined ? message : `${message} (did you mean ${found}?)`;
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
