/** `--filter name=value`, collected in the shape the API takes. */

import { custom, type Flag } from "./spec.ts";

/** Values wanted for each name, as the API's `filters` parameter spells them. */
export type Filters = Readonly<Record<string, Readonly<Record<string, true>>>>;

export function filter(help: string, options: { short?: string } = {}): Flag<Filters> {
  return custom<Filters>(help, {
    ...options,
    label: "filter",
    initial: {},
    parse(text, current) {
      if (text === "") return current;
      const at = text.indexOf("=");
      if (at < 0) throw new Error("bad format of filter (expected name=value)");
      const name = text.slice(0, at).trim().toLowerCase();
      return { ...current, [name]: { ...current[name], [text.slice(at + 1).trim()]: true } };
    },
  });
}

/** The query parameter, or undefined when there are no filters. */
export function filterQuery(filters: Filters): string | undefined {
  return Object.keys(filters).length === 0 ? undefined : JSON.stringify(filters);
}
