/** What the kernel's records have in common: numbers that stand for words, and fields that may be missing. */

/** The words of a table of numbers, by number. */
export const wordsOf = <Word extends string>(
  numbers: Readonly<Record<Word, number>>,
): ReadonlyMap<number, Word> =>
  new Map((Object.keys(numbers) as Word[]).map((word) => [numbers[word], word]));

type Given<Fields> = { [Key in keyof Fields]?: Exclude<Fields[Key], undefined> };

/** The fields that have a value. */
export const given = <Fields extends object>(fields: Fields): Given<Fields> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<Fields>;
