/** Capabilities by name, and Docker's rules for which of them a container gets. */
import { invalid } from "../base/errors.ts";

/** Names in the kernel's order: the index is the number (linux/capability.h, Linux 5.9 and later). */
// deno-fmt-ignore
export const CAPABILITIES = [
  "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
  "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
  "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
  "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
  "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
  "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
  "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
] as const;

export type CapabilityName = typeof CAPABILITIES[number];

/** What a container has when nothing is said (moby, daemon/pkg/oci/caps/defaults.go). */
// deno-fmt-ignore
export const DEFAULT_CAPABILITIES: readonly CapabilityName[] = [
  "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
  "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
];

const NUMBER = new Map<string, number>(CAPABILITIES.map((name, index) => [name, index]));

/** Number of a capability by its full name, undefined for an unknown one. */
export function capabilityNumber(name: string): number | undefined {
  return NUMBER.get(name);
}

let lastKnown: number | undefined;

/** Highest capability number of the running kernel; the newest one known here when /proc does not tell. */
export function lastCapability(): number {
  return lastKnown ??= readLastCapability();
}

function readLastCapability(): number {
  try {
    const number = Number.parseInt(Deno.readTextFileSync("/proc/sys/kernel/cap_last_cap"), 10);
    if (Number.isInteger(number)) return number;
  } catch {
    // no /proc here: the table's end is the best guess
  }
  return CAPABILITIES.length - 1;
}

/** One bit for each name, the kernel's numbering. */
export function capabilityMask(names: readonly string[]): bigint {
  let mask = 0n;
  for (const name of names) {
    const number = NUMBER.get(name);
    if (number !== undefined) mask |= 1n << BigInt(number);
  }
  return mask;
}

/** Names of the bits that are set, in the kernel's order; bits without a name are left out. */
export function capabilityNames(mask: bigint): CapabilityName[] {
  return CAPABILITIES.filter((_, number) => (mask >> BigInt(number) & 1n) === 1n);
}

/** A mask as /proc/<pid>/status shows it: 16 hexadecimal digits. */
export function capabilityHex(mask: bigint): string {
  return mask.toString(16).padStart(16, "0");
}

/** What a container's first process gets. Docker sets neither inheritable nor ambient capabilities. */
export interface ContainerCapabilities {
  /** Full names, the input of a seccomp profile's `caps` conditions. */
  readonly names: readonly CapabilityName[];
  readonly bounding: bigint;
  readonly permitted: bigint;
  readonly effective: bigint;
  readonly inheritable: bigint;
  readonly ambient: bigint;
}

const ALL = "ALL";

/** Full upper case names; "ALL" stays. `supported` is how many capabilities the kernel has. */
function normalise(field: "CapAdd" | "CapDrop", names: readonly string[], supported: number): string[] {
  return names.map((given) => {
    const upper = given.toUpperCase();
    if (upper === ALL) return ALL;
    const name = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
    const number = NUMBER.get(name);
    if (number === undefined) throw invalid(`invalid ${field}: unknown capability: "${name}"`);
    if (number >= supported) {
      throw invalid(
        `invalid ${field}: capability not supported by your kernel or not available in the current environment: "${name}"`,
      );
    }
    return name;
  });
}

/**
 * A container's capabilities from `--cap-add`, `--cap-drop` and `--privileged`, by Docker's rules: privileged is
 * everything whatever else is said; adding ALL is everything less what is dropped; dropping ALL leaves what is
 * added; else the defaults less the dropped plus the added.
 *
 * @param lastCap highest capability number of the kernel, for tests.
 * @throws {EngineError} invalid, in Docker's words, for a name that does not exist or that the kernel lacks.
 */
export function resolveCapabilities(
  capAdd: readonly string[],
  capDrop: readonly string[],
  privileged: boolean,
  lastCap: number = lastCapability(),
): ContainerCapabilities {
  // Docker checks both lists when the container is created, before it asks whether it is privileged
  const add = normalise("CapAdd", capAdd, lastCap + 1);
  const drop = normalise("CapDrop", capDrop, lastCap + 1);
  const everything = CAPABILITIES.slice(0, lastCap + 1);
  let names: readonly string[];
  if (privileged) names = everything;
  else if (add.includes(ALL)) names = everything.filter((name) => !drop.includes(name));
  else if (drop.includes(ALL)) names = add;
  else names = [...DEFAULT_CAPABILITIES.filter((name) => !drop.includes(name)), ...add];
  const mask = capabilityMask(names);
  return {
    names: capabilityNames(mask),
    bounding: mask,
    permitted: mask,
    effective: mask,
    inheritable: 0n,
    ambient: 0n,
  };
}
