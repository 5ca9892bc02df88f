/** Which devices a container may use, and how systemd is told. Pure. */

/** One thing that is allowed. */
export interface DeviceRule {
  readonly type: "c" | "b";
  /** -1: every one. */
  readonly major: number;
  readonly minor: number;
  /** Of "r", "w" and "m" (mknod). */
  readonly access: string;
}

/** What every container may use, as runc and moby have it (moby: oci.DefaultSpec): to make any node is harmless without using it. */
export const DEFAULT_DEVICE_RULES: readonly DeviceRule[] = [
  { type: "c", major: -1, minor: -1, access: "m" },
  { type: "b", major: -1, minor: -1, access: "m" },
  { type: "c", major: 1, minor: 3, access: "rwm" }, // null
  { type: "c", major: 1, minor: 5, access: "rwm" }, // zero
  { type: "c", major: 1, minor: 7, access: "rwm" }, // full
  { type: "c", major: 1, minor: 8, access: "rwm" }, // random
  { type: "c", major: 1, minor: 9, access: "rwm" }, // urandom
  { type: "c", major: 5, minor: 0, access: "rwm" }, // tty
  { type: "c", major: 5, minor: 1, access: "rwm" }, // console
  { type: "c", major: 5, minor: 2, access: "rwm" }, // ptmx
  { type: "c", major: 136, minor: -1, access: "rwm" }, // pts/N
];

/**
 * Reads a rule of `--device-cgroup-rule`: "c 1:3 mr", "b 8:* rw", "a *:* rwm" (which is two).
 *
 * @returns undefined for what is none.
 */
export function parseDeviceRule(text: string): DeviceRule[] | undefined {
  const [, type = "", major = "", minor = "", access = ""] =
    /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(text) ?? [];
  if (type === "") return undefined;
  const number = (word: string) => word === "*" ? -1 : Number(word);
  const types = type === "a" ? ["c", "b"] as const : [type as "c" | "b"];
  return types.map((each) => ({ type: each, major: number(major), minor: number(minor), access }));
}

/** A unit's DeviceAllow: what, and how. */
export type DeviceAllow = readonly [device: string, access: string];

/**
 * The rules in systemd's words, and those that it has no words for: one minor number of every major one, and all of a major number
 * that no driver has.
 *
 * @param known text of /proc/devices, where a major number's name is.
 */
export function deviceAllow(
  rules: readonly DeviceRule[],
  known: string,
): { readonly allow: readonly DeviceAllow[]; readonly untold: readonly DeviceRule[] } {
  const allow: DeviceAllow[] = [];
  const untold: DeviceRule[] = [];
  for (const rule of rules) {
    const { type, major, minor, access } = rule;
    const kind = type === "c" ? "char" : "block";
    if (major >= 0 && minor >= 0) allow.push([`/dev/${kind}/${major}:${minor}`, access]);
    else if (minor >= 0) untold.push(rule);
    else {
      const name = major < 0 ? "*" : driverOf(type, major, known);
      if (name === undefined) untold.push(rule);
      else allow.push([`${kind}-${name}`, access]);
    }
  }
  return { allow, untold };
}

/** The name of a major number in /proc/devices, which has the two kinds below two headings. */
function driverOf(type: "c" | "b", major: number, known: string): string | undefined {
  const [characters = "", blocks = ""] = known.split(/^Block devices:$/m);
  return new RegExp(`^ *${major} (\\S+)$`, "m").exec(type === "c" ? characters : blocks)?.[1];
}
