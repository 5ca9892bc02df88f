/** One thing that containers need or can use, and whether it works here. */
export interface Check {
  readonly name: string;
  readonly works: boolean;
  readonly detail: string;
  /** What to type. */
  readonly hint?: string;
}

/** A check whose hint is shown only when it does not work. */
export function check(name: string, works: boolean, detail: string, hint?: string): Check {
  return { name, works, detail, ...(works || hint === undefined ? {} : { hint }) };
}
