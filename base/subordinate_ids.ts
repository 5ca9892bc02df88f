/**
 * The subordinate ids of a user, as newuidmap(1) and newgidmap(1) will grant them.
 */
import { findProgram } from "./find_program.ts";

/** `count` ids from `first` on, in the parent namespace. */
export interface SubordinateRange {
  readonly first: number;
  readonly count: number;
}

/**
 * Reads the ranges of one user from the text of /etc/subuid or /etc/subgid (subuid(5): `name-or-uid:first:count`).
 * Lines that make no sense are passed over, as newuidmap does.
 */
export function parseSubordinateIds(text: string, user: string, uid: number): SubordinateRange[] {
  const ranges: SubordinateRange[] = [];
  for (const line of text.split("\n")) {
    const [owner, first, count] = line.trim().split(":");
    if (owner !== user && owner !== String(uid)) continue;
    const range = { first: Number(first), count: Number(count) };
    if (Number.isSafeInteger(range.first) && Number.isSafeInteger(range.count) && range.count > 0) {
      ranges.push(range);
    }
  }
  return ranges;
}

/** Output of getsubids(1): `0: name 100000 65536`, one range a line. */
export function parseGetsubids(text: string): SubordinateRange[] {
  return [...text.matchAll(/^\d+:\s+\S+\s+(\d+)\s+(\d+)\s*$/gm)].map((match) => ({
    first: Number(match[1]),
    count: Number(match[2]),
  })).filter((range) => range.count > 0);
}

/**
 * Arguments for newuidmap or newgidmap after the pid: the user's own id becomes 0, the subordinate ids follow from 1 on
 * without a gap, so that a range of 65,536 covers the ids that images use.
 */
export function idMapArguments(ownId: number, ranges: readonly SubordinateRange[]): string[] {
  const words = ["0", String(ownId), "1"];
  let next = 1;
  for (const { first, count } of ranges) {
    words.push(String(next), String(first), String(count));
    next += count;
  }
  return words;
}

/** The login name of a user id; the id itself when /etc/passwd does not have it (LDAP: getsubids takes names and ids). */
export function userName(uid: number): string {
  try {
    for (const line of Deno.readTextFileSync("/etc/passwd").split("\n")) {
      const [name, , id] = line.split(":");
      if (id === String(uid) && name !== undefined) return name;
    }
  } catch {
    // No passwd file: the number will do.
  }
  const fromEnvironment = Deno.env.get("USER");
  return fromEnvironment === undefined || fromEnvironment === "" ? String(uid) : fromEnvironment;
}

/** getsubids(1) knows directory services as well; the files are read where it is not installed. */
export function subordinateIds(user: string, uid: number, kind: "user" | "group"): SubordinateRange[] {
  const getsubids = findProgram("getsubids");
  if (getsubids !== undefined) {
    const { success, stdout } = new Deno.Command(getsubids, {
      args: kind === "group" ? ["-g", user] : [user],
      stdin: "null",
      stderr: "null",
    })
      .outputSync();
    if (success) {
      const ranges = parseGetsubids(new TextDecoder().decode(stdout));
      if (ranges.length > 0) return ranges;
    }
  }
  try {
    return parseSubordinateIds(
      Deno.readTextFileSync(kind === "group" ? "/etc/subgid" : "/etc/subuid"),
      user,
      uid,
    );
  } catch {
    return [];
  }
}
