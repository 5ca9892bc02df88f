/**
 * Who a container's process is: names looked up in the container's own /etc/passwd and /etc/group, by the rules and with
 * the messages of Docker (github.com/moby/sys/user, GetExecUser).
 */
import { InitFailure } from "./init_failure.ts";

export interface ExecUser {
  readonly uid: number;
  readonly gid: number;
  /** The primary group first, then the supplementary ones. */
  readonly groups: readonly number[];
  readonly home: string;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

const MAX_ID = 0x7fff_ffff;

function lines(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
}

/** Entries with numbers where numbers belong; comments and broken lines are passed over, as libc does. */
export function parsePasswd(text: string): PasswdEntry[] {
  return lines(text).flatMap((line) => {
    const [name = "", , uid = "", gid = "", , home = ""] = line.split(":");
    return isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid), home }] : [];
  });
}

export function parseGroup(text: string): GroupEntry[] {
  return lines(text).flatMap((line) => {
    const [name = "", , gid = "", members = ""] = line.split(":");
    return isId(gid) ? [{ name, gid: Number(gid), members: members === "" ? [] : members.split(",") }] : [];
  });
}

const isId = (text: string): boolean => /^\d+$/.test(text);

/** Go's strconv.Atoi: undefined when the text is no number. */
function number(text: string): number | undefined {
  return /^[+-]?\d+$/.test(text) ? Number(text) : undefined;
}

function inRange(value: number): number {
  if (value < 0 || value > MAX_ID) {
    throw new InitFailure("user", `uids and gids must be in range 0-${MAX_ID}`);
  }
  return value;
}

/**
 * @param spec "", "name", "uid", "name:group", "uid:gid"
 * @param additional names or ids of further groups
 * @param passwd text of /etc/passwd, "" when there is none; `group` likewise
 * @throws {InitFailure} stage "user": `unable to find user x: no matching entries in passwd file`
 */
export function lookupUser(
  spec: string,
  additional: readonly string[],
  passwd: string,
  group: string,
): ExecUser {
  const colon = spec.indexOf(":");
  const userPart = colon < 0 ? spec : spec.slice(0, colon);
  const groupPart = colon < 0 ? "" : spec.slice(colon + 1);
  const wanted = number(userPart);
  const users = parsePasswd(passwd);
  const user = users.find((entry) =>
    userPart === "" ? entry.uid === 0 : wanted === undefined ? entry.name === userPart : entry.uid === wanted
  );
  if (user === undefined && userPart !== "" && wanted === undefined) {
    throw new InitFailure("user", `unable to find user ${userPart}: no matching entries in passwd file`);
  }
  const uid = user?.uid ?? inRange(wanted ?? 0);
  const groups = parseGroup(group);
  const gid = groupPart === "" ? user?.gid ?? 0 : findGroup(groupPart, groups);
  // A group that was named stands alone; otherwise the user is in all groups that list it.
  const memberOf = groupPart === "" && user !== undefined
    ? groups.filter((entry) => entry.members.includes(user.name)).map((entry) => entry.gid)
    : [];
  const added = additional.map((name) => additionalGroup(name, groups));
  return {
    uid,
    gid,
    groups: [...new Set([gid, ...memberOf, ...added])],
    home: user?.home || "/",
  };
}

function findGroup(name: string, groups: readonly GroupEntry[]): number {
  const wanted = number(name);
  const found = groups.find((entry) => wanted === undefined ? entry.name === name : entry.gid === wanted);
  if (found !== undefined) return found.gid;
  if (wanted === undefined) {
    throw new InitFailure("user", `unable to find group ${name}: no matching entries in group file`);
  }
  return inRange(wanted);
}

function additionalGroup(name: string, groups: readonly GroupEntry[]): number {
  const wanted = number(name);
  const found = groups.find((entry) => entry.name === name || (wanted !== undefined && entry.gid === wanted));
  if (found !== undefined) return found.gid;
  if (wanted === undefined) throw new InitFailure("user", `Unable to find group ${name}`);
  return inRange(wanted);
}
