/**
 * A seccomp profile as a BPF program.
 *
 * The program looks at the machine (a 32-bit program on a 64-bit kernel has numbers of its own), then finds the call
 * by binary search over ranges of numbers that share a fate, then compares arguments where a rule has some.
 */
import { EngineError, invalid } from "../../base/errors.ts";
import { Assembler, BPF, BPF_MAXINSNS, Label } from "./bpf.ts";
import type {
  SeccompAction,
  SeccompArgument,
  SeccompCondition,
  SeccompProfile,
  SeccompRule,
} from "./profile.ts";
import { type FilterArch, syscallNumber } from "./syscall_table.ts";

export interface SeccompTarget {
  readonly arch: "x86_64" | "aarch64";
  /** The container's capabilities, "CAP_…"; Docker compares with its bounding set. */
  readonly caps: readonly string[];
  /** The kernel's version, [6, 1]. */
  readonly kernel: readonly [number, number];
}

// offsets in struct seccomp_data: nr, arch, instruction pointer, six 64-bit arguments
const NR = 0;
const ARCH = 4;
const ARGS = 16;

/** AUDIT_ARCH_* (linux/audit.h). */
const AUDIT_ARCH: Readonly<Record<FilterArch, number>> = {
  x86_64: 0xc000_003e,
  x86: 0x4000_0003,
  aarch64: 0xc000_00b7,
  arm: 0x4000_0028,
};

const SCMP_ARCH: Readonly<Record<string, FilterArch>> = {
  SCMP_ARCH_X86_64: "x86_64",
  SCMP_ARCH_X86: "x86",
  SCMP_ARCH_AARCH64: "aarch64",
  SCMP_ARCH_ARM: "arm",
};

/** Machines that a profile may name and that never execute here. */
const OTHER_ARCH =
  /^SCMP_ARCH_(X32|MIPS|MIPS64|MIPS64N32|MIPSEL|MIPSEL64|MIPSEL64N32|PPC|PPC64|PPC64LE|S390|S390X|PARISC|PARISC64|RISCV64|LOONGARCH64|M68K|SH|SHEB)$/;

/** Docker's names of the machines, as `includes.arches` has them. */
const DOCKER_ARCH = { x86_64: "amd64", aarch64: "arm64" } as const;

/** Bit 30 of a call's number marks the x32 calls, which otherwise look like x86-64's. */
const X32_BIT = 0x4000_0000;

const RET_KILL_PROCESS = 0x8000_0000;
const RET_ERRNO = 0x0005_0000;
const EPERM = 1;
const ENOSYS = 38;

/** SECCOMP_RET_* (linux/seccomp.h). ERRNO and TRACE carry a number, EPERM when the profile gives none. */
function returnValue(action: SeccompAction, errnoRet: number | undefined): number {
  const data = (errnoRet ?? EPERM) & 0xffff;
  switch (action) {
    case "SCMP_ACT_ALLOW":
      return 0x7fff_0000;
    case "SCMP_ACT_LOG":
      return 0x7ffc_0000;
    case "SCMP_ACT_TRACE":
      return 0x7ff0_0000 | data;
    case "SCMP_ACT_ERRNO":
      return RET_ERRNO | data;
    case "SCMP_ACT_TRAP":
      return 0x0003_0000;
    case "SCMP_ACT_KILL":
    case "SCMP_ACT_KILL_THREAD":
      return 0;
    case "SCMP_ACT_KILL_PROCESS":
      return RET_KILL_PROCESS;
  }
}

/**
 * Arguments that the kernel reads as 32-bit integers, by name of the call. Only their low half is compared: with all 64
 * bits, `socket(38 | 1 << 32, …)` would pass for a family above 40 and still open AF_ALG.
 */
const INT_ARGUMENTS: Readonly<Record<string, readonly number[]>> = {
  bpf: [0],
  fcntl: [0, 1],
  ioctl: [0, 1],
  keyctl: [0],
  kill: [0, 1],
  madvise: [2],
  open: [1, 2],
  openat: [0, 2, 3],
  personality: [0],
  prctl: [0],
  ptrace: [0],
  seccomp: [0, 1],
  setns: [0, 1],
  setsockopt: [0, 1, 2],
  getsockopt: [0, 1, 2],
  socket: [0, 1, 2],
  socketpair: [0, 1, 2],
};

/** One alternative of a call: when all tests hold, `value` is returned. */
interface Alternative {
  readonly tests: readonly (SeccompArgument & { readonly narrow: boolean })[];
  readonly value: number;
}

/** What happens to one call: an ordered list, the last of which has no tests. */
type Fate = readonly Alternative[];

function holds(condition: SeccompCondition, target: SeccompTarget, quantifier: "some" | "every"): boolean[] {
  const newEnough = condition.minKernel === undefined
    ? undefined
    : atLeast(target.kernel, condition.minKernel);
  return [
    ...(condition.arches.length > 0 ? [condition.arches.includes(DOCKER_ARCH[target.arch])] : []),
    ...(condition.caps.length > 0 ? [condition.caps[quantifier]((cap) => target.caps.includes(cap))] : []),
    ...(newEnough === undefined ? [] : [newEnough]),
  ];
}

function atLeast(kernel: readonly [number, number], wanted: readonly [number, number]): boolean {
  return kernel[0] > wanted[0] || (kernel[0] === wanted[0] && kernel[1] >= wanted[1]);
}

/** Whether a rule counts here: nothing of `excludes` holds and everything of `includes` does. */
function applies(rule: SeccompRule, target: SeccompTarget): boolean {
  if (rule.excludes !== undefined && holds(rule.excludes, target, "some").includes(true)) return false;
  return rule.includes === undefined || !holds(rule.includes, target, "every").includes(false);
}

/** Machines the filter knows, the native one first. */
function filterArches(profile: SeccompProfile, target: SeccompTarget): FilterArch[] {
  const native = profile.archMap.find((entry) => SCMP_ARCH[entry.architecture] === target.arch);
  const named = [
    ...profile.architectures,
    ...(native ? [native.architecture, ...native.subArchitectures] : []),
  ];
  const arches = new Set<FilterArch>([target.arch]);
  const family: readonly FilterArch[] = target.arch === "x86_64" ? ["x86_64", "x86"] : ["aarch64", "arm"];
  for (const name of named) {
    const arch = SCMP_ARCH[name];
    if (arch === undefined && !OTHER_ARCH.test(name)) {
      throw invalid(`string ${name} is not a valid arch for seccomp`);
    }
    if (arch !== undefined && family.includes(arch)) arches.add(arch);
  }
  return [...arches];
}

/**
 * The alternatives that a rule adds to a call. When a rule tests one argument twice the runtimes take its tests as
 * alternatives instead of a conjunction, because libseccomp knows one test an argument.
 */
function alternatives(rule: SeccompRule, name: string): Alternative[] {
  const value = returnValue(rule.action, rule.errnoRet);
  const narrow = INT_ARGUMENTS[name] ?? [];
  const tests = rule.args.map((arg) => ({ ...arg, narrow: narrow.includes(arg.index) }));
  const repeated = new Set(tests.map((test) => test.index)).size < tests.length;
  return repeated ? tests.map((test) => ({ tests: [test], value })) : [{ tests, value }];
}

/** Fate by number. A rule without tests outdoes those with, the first such wins, and tests are tried in the profile's order. */
function fates(rules: readonly SeccompRule[], arch: FilterArch, fallback: number): Map<number, Fate> {
  const collected = new Map<number, Alternative[]>();
  for (const rule of rules) {
    for (const name of rule.names) {
      const number = syscallNumber(arch, name);
      if (number === undefined) continue;
      const known = collected.get(number) ?? [];
      collected.set(number, known);
      known.push(...alternatives(rule, name));
    }
  }
  const result = new Map<number, Fate>();
  for (const [number, list] of collected) {
    // as libseccomp: rules that say what happens anyway are no rules
    const rulesThatMatter = list.filter((alternative) => alternative.value !== fallback);
    const flat = rulesThatMatter.find((alternative) => alternative.tests.length === 0);
    result.set(number, flat ? [flat] : [...rulesThatMatter, { tests: [], value: fallback }]);
  }
  return result;
}

interface Range {
  /** First number; the range goes on to the next one's. */
  readonly start: number;
  readonly fate: Fate;
}

/** The private calls of 32-bit ARM start here, far above the ordinary ones. */
const ARM_PRIVATE = 0xf_0000;

/**
 * What happens to all numbers from 0 on, neighbours of one fate put together: `fallback` for those the profile does not
 * name, `beyond` for those above every ordinary call that it names.
 */
function ranges(byNumber: ReadonlyMap<number, Fate>, fallback: number, beyond: number): Range[] {
  const newest = Math.max(-1, ...[...byNumber.keys()].filter((number) => number < ARM_PRIVATE));
  const list: Range[] = [];
  const add = (start: number, fate: Fate): void => {
    const last = list.at(-1)?.fate;
    const same = last?.length === 1 && fate.length === 1 && last[0]?.value === fate[0]?.value;
    if (!same) list.push({ start, fate });
  };
  // a profile without any call says nothing about which are new
  const unnamed = (
    number: number,
  ): Fate => [{ tests: [], value: newest >= 0 && number > newest ? beyond : fallback }];
  let next = 0;
  for (const [number, fate] of [...byNumber].sort(([a], [b]) => a - b)) {
    if (number > next) add(next, unnamed(next));
    add(number, fate);
    next = number + 1;
  }
  add(next, unnamed(next));
  return list;
}

const low = (value: bigint): number => Number(value & 0xffff_ffffn);
const high = (value: bigint): number => Number(value >> 32n & 0xffff_ffffn);

/** One test of an argument: goes on to `yes` or `no`. */
function emitTest(asm: Assembler, test: Alternative["tests"][number], yes: Label, no: Label): void {
  const lowOffset = ARGS + 8 * test.index;
  const highOffset = lowOffset + 4;
  const masked = test.op === "SCMP_CMP_MASKED_EQ";
  const mask = masked ? test.value : 0xffff_ffff_ffff_ffffn;
  const value = masked ? test.valueTwo & mask : test.value;
  // x != v is not (x == v); x < v is not (x >= v); x <= v is not (x > v)
  const negated = test.op === "SCMP_CMP_NE" || test.op === "SCMP_CMP_LT" || test.op === "SCMP_CMP_LE";
  const [pass, fail] = negated ? [no, yes] : [yes, no];
  const lowHalf = new Label();
  const ordered = test.op === "SCMP_CMP_GE" || test.op === "SCMP_CMP_GT" || test.op === "SCMP_CMP_LT" ||
    test.op === "SCMP_CMP_LE";
  if (!test.narrow && !(masked && high(mask) === 0)) {
    asm.load(highOffset);
    if (masked && high(mask) !== 0xffff_ffff) asm.and(high(mask));
    if (ordered) {
      const notAbove = new Label();
      asm.jump(BPF.JGT, high(value), pass, notAbove);
      asm.label(notAbove);
    }
    asm.jump(BPF.JEQ, high(value), lowHalf, fail);
  }
  asm.label(lowHalf);
  asm.load(lowOffset);
  if (masked && low(mask) !== 0xffff_ffff) asm.and(low(mask));
  const inclusive = test.op === "SCMP_CMP_GE" || test.op === "SCMP_CMP_LT";
  asm.jump(ordered ? (inclusive ? BPF.JGE : BPF.JGT) : BPF.JEQ, low(value), pass, fail);
}

function emitFate(asm: Assembler, fate: Fate): void {
  for (const { tests, value } of fate) {
    const nextAlternative = new Label();
    for (const test of tests) {
      const nextTest = new Label();
      emitTest(asm, test, nextTest, nextAlternative);
      asm.label(nextTest);
    }
    asm.ret(value);
    asm.label(nextAlternative);
  }
}

/** Binary search for the accumulator, which holds the call's number. */
function emitSearch(asm: Assembler, list: readonly Range[]): void {
  const middle = list.length >> 1;
  const upper = list[middle];
  if (upper === undefined || list.length === 1) {
    emitFate(asm, list[0]?.fate ?? []);
    return;
  }
  const yes = new Label();
  const no = new Label();
  asm.jump(BPF.JGE, upper.start, yes, no);
  asm.label(no);
  emitSearch(asm, list.slice(0, middle));
  asm.label(yes);
  emitSearch(asm, list.slice(middle));
}

/** Whether new calls are let through by the default action, so that ENOSYS for them would be a restriction. */
function letsThrough(action: SeccompAction): boolean {
  return action === "SCMP_ACT_ALLOW" || action === "SCMP_ACT_LOG" || action === "SCMP_ACT_TRACE";
}

/**
 * Compiles a profile for one machine and container. Like runc, calls newer than every one that the profile names
 * fail with ENOSYS instead of the default action, so that programs fall back to older ones. x32 calls fail with ENOSYS
 * always, unknown machines kill the process.
 *
 * @returns `struct sock_filter[]`; empty for a profile that asks for no filter.
 * @throws {EngineError} invalid for an unknown machine or a profile too large for the kernel.
 */
export function compileSeccomp(profile: SeccompProfile, target: SeccompTarget): Uint8Array {
  if (profile.defaultAction === undefined) return new Uint8Array();
  const fallback = returnValue(profile.defaultAction, profile.defaultErrnoRet);
  const beyond = letsThrough(profile.defaultAction) ? fallback : RET_ERRNO | ENOSYS;
  const rules = profile.syscalls.filter((rule) => applies(rule, target));
  const asm = new Assembler();
  asm.load(ARCH);
  for (const arch of filterArches(profile, target)) {
    const yes = new Label();
    const no = new Label();
    asm.jump(BPF.JEQ, AUDIT_ARCH[arch], yes, no);
    asm.label(yes);
    asm.load(NR);
    if (arch === "x86_64") {
      const x32 = new Label();
      const plain = new Label();
      asm.jump(BPF.JGE, X32_BIT, x32, plain);
      asm.label(x32);
      asm.ret(RET_ERRNO | ENOSYS);
      asm.label(plain);
    }
    emitSearch(asm, ranges(fates(rules, arch, fallback), fallback, beyond));
    asm.label(no);
  }
  asm.ret(RET_KILL_PROCESS);
  const program = asm.assemble();
  if (program.length > BPF_MAXINSNS * 8) {
    throw new EngineError(
      "invalid",
      `seccomp profile is too large: ${program.length / 8} instructions, ${BPF_MAXINSNS} at most`,
    );
  }
  return program;
}

/** SECCOMP_FILTER_FLAG_* (linux/seccomp.h). */
const FLAG_LOG = 2;
const FLAG_SPEC_ALLOW = 4;

/**
 * Flags to load a profile with. One that names none gets SPEC_ALLOW, as with runc: before Linux 5.16 programs would be slower below a filter
 * otherwise. TSYNC is left out, because init loads the filter just before execve.
 *
 * @throws {EngineError} invalid: a flag that is not known.
 */
export function seccompFlags(profile: SeccompProfile): number {
  if (profile.flags.length === 0) return FLAG_SPEC_ALLOW;
  let flags = 0;
  for (const name of profile.flags) {
    if (name === "SECCOMP_FILTER_FLAG_LOG") flags |= FLAG_LOG;
    else if (name === "SECCOMP_FILTER_FLAG_SPEC_ALLOW") flags |= FLAG_SPEC_ALLOW;
    else if (name !== "SECCOMP_FILTER_FLAG_TSYNC") {
      throw invalid(`seccomp flag ${JSON.stringify(name)} is not supported`);
    }
  }
  return flags;
}
