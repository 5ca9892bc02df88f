/** One way in that a registry offers, of its WWW-Authenticate header (RFC 9110, 11.6.1). */
export interface Challenge {
  /** In lower case: "bearer", "basic". */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;

/** Takes a WWW-Authenticate header apart; what cannot be understood ends the list. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(header);
    if (found) at = pattern.lastIndex;
    return found;
  };
  for (;;) {
    match(/[\s,]*/y);
    const name = match(TOKEN)?.[0];
    if (name === undefined) return challenges;
    const current = challenges.at(-1);
    if (match(/\s*=\s*/y) && current !== undefined) {
      const quoted = match(QUOTED);
      const value = quoted ? (quoted[1] ?? "").replace(/\\(.)/g, "$1") : match(TOKEN)?.[0];
      if (value === undefined) return challenges;
      current.parameters[name.toLowerCase()] = value;
    } else {
      challenges.push({ scheme: name.toLowerCase(), parameters: {} });
    }
  }
}
