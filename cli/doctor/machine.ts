/** What this machine gives its user, looked at from the command line: it can be told when no engine starts. */
import { findProgram } from "../../base/find_program.ts";
import { hints } from "../../base/hints.ts";
import { selfExecutable } from "../../base/self.ts";
import { subordinateIds, userName } from "../../base/subordinate_ids.ts";
import { explainUserNamespaceRefusal } from "../../base/user_namespaces.ts";
import { type Check, check } from "./check.ts";
import { lexists } from "../../base/exists.ts";

/** Images use as many ids. */
const IDS_WANTED = 65536;

export function machineChecks(uid: number): Check[] {
  return [userNamespaces(), ...(uid === 0 ? [] : [subordinates(uid)]), fuse(), ...linger(uid)];
}

function userNamespaces(): Check {
  const name = "user-namespaces";
  const unshare = findProgram("unshare");
  if (unshare === undefined || findProgram("nsenter") === undefined) {
    return check(name, false, "unshare and nsenter are not installed", hints.utilLinuxMissing);
  }
  const { success, stderr } = new Deno.Command(unshare, {
    args: ["--user", "--mount", "--propagation", "unchanged", "true"],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (success) return check(name, true, `Linux ${Deno.osRelease()} makes them for this user`);
  const reason = new TextDecoder().decode(stderr).trim().split("\n")[0] ?? "";
  return check(name, false, reason, explainUserNamespaceRefusal(selfExecutable()));
}

function subordinates(uid: number): Check {
  const name = "subordinate-ids";
  const user = userName(uid);
  if (findProgram("newuidmap") === undefined || findProgram("newgidmap") === undefined) {
    return check(name, false, "newuidmap and newgidmap are not installed", hints.uidmapMissing);
  }
  const count = (kind: "user" | "group") =>
    subordinateIds(user, uid, kind).reduce((sum, range) => sum + range.count, 0);
  const [users, groups] = [count("user"), count("group")];
  const detail = `${users} user and ${groups} group ids for ${user}`;
  return check(name, Math.min(users, groups) >= IDS_WANTED, detail, hints.noSubordinateIds(user));
}

/** Only where the kernel's overlay does not work is it needed. */
function fuse(): Check {
  const name = "fuse-overlayfs";
  const program = findProgram("fuse-overlayfs");
  if (program === undefined) return check(name, false, "not installed", hints.fuseOverlayfsMissing);
  try {
    Deno.openSync("/dev/fuse", { read: true, write: true }).close();
    return check(name, true, `${program}, /dev/fuse`);
  } catch (error) {
    return check(name, false, error instanceof Error ? error.message : String(error), hints.fuseDevice);
  }
}

/** Under systemd a user's processes end with the last session, unless they may linger. */
function linger(uid: number): Check[] {
  if (uid === 0 || !lexists("/run/systemd/system")) return [];
  const user = userName(uid);
  const lingers = lexists(`/var/lib/systemd/linger/${user}`);
  const detail = lingers ? "containers go on after logout" : "containers end with the last session";
  return [check("linger", lingers, detail, hints.linger(user))];
}
