/** Seccomp profiles in Docker's JSON format, which is the OCI runtime's with conditions added. */
import { invalid, messageOf } from "../../base/errors.ts";

export type SeccompAction =
  | "SCMP_ACT_ALLOW"
  | "SCMP_ACT_ERRNO"
  | "SCMP_ACT_KILL"
  | "SCMP_ACT_KILL_THREAD"
  | "SCMP_ACT_KILL_PROCESS"
  | "SCMP_ACT_TRAP"
  | "SCMP_ACT_LOG"
  | "SCMP_ACT_TRACE";

export type SeccompOperator =
  | "SCMP_CMP_NE"
  | "SCMP_CMP_LT"
  | "SCMP_CMP_LE"
  | "SCMP_CMP_EQ"
  | "SCMP_CMP_GE"
  | "SCMP_CMP_GT"
  | "SCMP_CMP_MASKED_EQ";

/** A condition on one argument of a call. For MASKED_EQ `value` is the mask and `valueTwo` what the rest must be. */
export interface SeccompArgument {
  /** 0…5 */
  readonly index: number;
  readonly value: bigint;
  readonly valueTwo: bigint;
  readonly op: SeccompOperator;
}

/** When a rule is part of the filter at all. */
export interface SeccompCondition {
  readonly caps: readonly string[];
  /** Docker's names: amd64, x86, arm64, arm … */
  readonly arches: readonly string[];
  readonly minKernel: readonly [number, number] | undefined;
}

export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: SeccompAction;
  readonly errnoRet: number | undefined;
  /** All must hold. */
  readonly args: readonly SeccompArgument[];
  readonly includes: SeccompCondition | undefined;
  readonly excludes: SeccompCondition | undefined;
}

export interface SeccompProfile {
  /** Undefined in a profile that says nothing at all, which means no filter. */
  readonly defaultAction: SeccompAction | undefined;
  readonly defaultErrnoRet: number | undefined;
  /** `archMap`: a machine and those whose programs it also runs. */
  readonly archMap: readonly {
    readonly architecture: string;
    readonly subArchitectures: readonly string[];
  }[];
  /** The older form of `archMap`. */
  readonly architectures: readonly string[];
  readonly flags: readonly string[];
  readonly syscalls: readonly SeccompRule[];
}

// deno-fmt-ignore
const ACTIONS: ReadonlySet<string> = new Set<SeccompAction>([
  "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP",
  "SCMP_ACT_LOG", "SCMP_ACT_TRACE",
]);
// deno-fmt-ignore
const OPERATORS: ReadonlySet<string> = new Set<SeccompOperator>([
  "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ",
]);

class ProfileError extends Error {}

type Json = Readonly<Record<string, unknown>>;

function object(value: unknown, at: string): Json {
  if (kindOf(value) === "object" && value !== null) return value as Json;
  throw new ProfileError(`json: cannot unmarshal ${kindOf(value)} into Go struct field ${at} of type object`);
}

/** JSON's word for a value, as Go's decoder reports it. */
function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (value instanceof BigNumber) return "number";
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** Missing and null are an empty list, as in Go. */
function list<T>(value: unknown, at: string, element: (value: unknown, at: string) => T): T[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    throw new ProfileError(`json: cannot unmarshal ${kindOf(value)} into Go struct field ${at} of type []`);
  }
  return value.map((entry) => element(entry, at));
}

function text(value: unknown, at: string): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") return value;
  throw new ProfileError(`json: cannot unmarshal ${kindOf(value)} into Go struct field ${at} of type string`);
}

/** An unsigned integer, as {@link parseJson} has left it. */
function unsigned(value: unknown, at: string, bits: 32 | 64): bigint | undefined {
  if (value === undefined || value === null) return undefined;
  const number = value instanceof BigNumber ? value.value : value;
  if (typeof number === "bigint" && number >= 0n && number < 1n << BigInt(bits)) return number;
  const shown = typeof number === "bigint" ? `number ${number}` : kindOf(value);
  throw new ProfileError(`json: cannot unmarshal ${shown} into Go struct field ${at} of type uint${bits}`);
}

/** Marks a JSON number that is an integer, with all its digits. */
class BigNumber {
  readonly value: bigint;
  constructor(value: bigint) {
    this.value = value;
  }
}

/** The JSON text with every integer as an exact {@link BigNumber}: argument values use all 64 bits. */
function parseJson(json: string): unknown {
  return JSON.parse(json, (_, value: unknown, context?: { source?: string }) => {
    if (typeof value !== "number") return value;
    const source = context?.source ?? String(value);
    return /^-?\d+$/.test(source) ? new BigNumber(BigInt(source)) : value;
  });
}

function small(value: unknown, at: string): number | undefined {
  const number = unsigned(value, at, 32);
  return number === undefined ? undefined : Number(number);
}

function action(value: unknown, at: string): SeccompAction {
  const name = text(value, at);
  if (ACTIONS.has(name)) return name as SeccompAction;
  throw invalid(`string ${name} is not a valid action for seccomp`);
}

function argument(value: unknown, at: string): SeccompArgument {
  const fields = object(value, at);
  const op = text(fields["op"], "LinuxSeccompArg.op");
  if (!OPERATORS.has(op)) throw invalid(`string ${op} is not a valid operator for seccomp`);
  const index = small(fields["index"], "LinuxSeccompArg.index") ?? 0;
  if (index > 5) throw invalid(`seccomp syscall argument index ${index} is out of range`);
  return {
    index,
    value: unsigned(fields["value"], "LinuxSeccompArg.value", 64) ?? 0n,
    valueTwo: unsigned(fields["valueTwo"], "LinuxSeccompArg.valueTwo", 64) ?? 0n,
    op: op as SeccompOperator,
  };
}

function condition(value: unknown, at: string): SeccompCondition | undefined {
  if (value === undefined || value === null) return undefined;
  const fields = object(value, at);
  const minKernel = text(fields["minKernel"], "Filter.minKernel");
  const version = /^(\d+)\.(\d+)$/.exec(minKernel);
  if (minKernel !== "" && !version) {
    throw new ProfileError(
      `invalid kernel version: ${JSON.stringify(minKernel)}: expected "<kernel>.<major>"`,
    );
  }
  return {
    caps: list(fields["caps"], "Filter.caps", text),
    arches: list(fields["arches"], "Filter.arches", text),
    minKernel: version ? [Number(version[1]), Number(version[2])] : undefined,
  };
}

function rule(value: unknown, at: string): SeccompRule {
  const fields = object(value, at);
  const name = text(fields["name"], "Syscall.name");
  const names = list(fields["names"], "Syscall.names", text);
  if (name !== "" && names.length > 0) {
    throw invalid(
      "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
    );
  }
  return {
    names: name === "" ? names : [name],
    action: action(fields["action"], "Syscall.action"),
    errnoRet: small(fields["errnoRet"], "Syscall.errnoRet"),
    args: list(fields["args"], "Syscall.args", argument),
    includes: condition(fields["includes"], "Syscall.includes"),
    excludes: condition(fields["excludes"], "Syscall.excludes"),
  };
}

function profile(json: Json): SeccompProfile {
  const syscalls = list(json["syscalls"], "Seccomp.syscalls", rule);
  const defaultAction = text(json["defaultAction"], "Seccomp.defaultAction");
  const archMap = list(json["archMap"], "Seccomp.archMap", (entry, at) => {
    const fields = object(entry, at);
    return {
      architecture: text(fields["architecture"], "Architecture.architecture"),
      subArchitectures: list(fields["subArchitectures"], "Architecture.subArchitectures", text),
    };
  });
  const architectures = list(json["architectures"], "Seccomp.architectures", text);
  if (architectures.length > 0 && archMap.length > 0) {
    throw invalid(
      "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
    );
  }
  return {
    defaultAction: defaultAction === "" && syscalls.length === 0 ? undefined : action(defaultAction, ""),
    defaultErrnoRet: small(json["defaultErrnoRet"], "Seccomp.defaultErrnoRet"),
    archMap,
    architectures,
    flags: list(json["flags"], "Seccomp.flags", text),
    syscalls,
  };
}

/**
 * Reads a profile as `--security-opt seccomp=FILE` passes it.
 *
 * @throws {EngineError} invalid, in the words of Docker and of its runtime.
 */
export function parseSeccompProfile(json: string): SeccompProfile {
  try {
    return profile(object(parseJson(json), "Seccomp"));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof ProfileError)) throw error;
    throw invalid(`Decoding seccomp profile failed: ${messageOf(error)}`, error);
  }
}
