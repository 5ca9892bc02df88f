/** A container's limits, and what they are in the files of cgroup v2 and in systemd's properties. Pure. */

/** A limit of one block device. */
export interface DeviceLimit {
  /** "major:minor" */
  readonly device: string;
  readonly value: number;
}

/** In Docker's terms; absent or 0 is "nothing said". Sizes in bytes. */
export interface CgroupLimits {
  /** -1: unlimited, here and in the next. */
  readonly memory?: number;
  /** Memory and swap together. */
  readonly memorySwap?: number;
  readonly memoryReservation?: number;
  /** 2 to 262144, of which 1024 is what everybody has. */
  readonly cpuShares?: number;
  /** Microseconds in each period; -1: unlimited. */
  readonly cpuQuota?: number;
  /** Microseconds. */
  readonly cpuPeriod?: number;
  /** Lists as "0-2,7". */
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  /** 0 or -1: unlimited. */
  readonly pids?: number;
  /** 10 to 1000. */
  readonly blkioWeight?: number;
  readonly blkioWeightDevice?: readonly DeviceLimit[];
  /** Bytes per second. */
  readonly readBps?: readonly DeviceLimit[];
  readonly writeBps?: readonly DeviceLimit[];
  /** Operations per second. */
  readonly readIops?: readonly DeviceLimit[];
  readonly writeIops?: readonly DeviceLimit[];
  /** Names of files and what to write there, after everything else. */
  readonly unified?: Readonly<Record<string, string>>;
}

/** One write(2). */
export interface CgroupWrite {
  readonly file: string;
  readonly value: string;
  /** What the user asked for, for messages: "memory limit". */
  readonly what: string;
  /** What to write instead where the kernel does not have the file. */
  readonly otherwise?: CgroupWrite;
}

/** The kernel's own period, in microseconds. */
export const DEFAULT_CPU_PERIOD = 100_000;

const MIN_SHARES = 2;
const MAX_SHARES = 262_144;
const MAX_WEIGHT = 10_000;

/**
 * cpu.weight for cgroup v1's shares: 2 becomes 1, 1024 becomes 100, 262144 becomes 10000, and between them a curve through
 * these three points (as runc since 1.3.2 and crun since 1.23; before, 1024 became 39 and containers got less than other programs).
 */
export function cpuWeight(shares: number): number {
  if (shares <= MIN_SHARES) return 1;
  if (shares >= MAX_SHARES) return MAX_WEIGHT;
  const log = Math.log2(shares);
  const exponent = (log * log + 125 * log) / 612 - 7 / 34;
  // Rounding up, but not for the last bit of a floating-point number.
  return Math.min(MAX_WEIGHT, Math.ceil(10 ** exponent - 1e-9));
}

/** io.weight (1 to 10000) for Docker's block I/O weight (10 to 1000), linear as runc's. */
export function ioWeight(weight: number): number {
  return Math.floor(1 + (weight - 10) * 9999 / 990);
}

/** cpu.max: "quota period" in microseconds, quota "max" when there is none. */
function cpuMax(limits: CgroupLimits): string | undefined {
  const { cpuQuota: quota = 0, cpuPeriod: period = 0 } = limits;
  if (quota === 0 && period === 0) return undefined;
  return `${quota > 0 ? quota : "max"} ${period > 0 ? period : DEFAULT_CPU_PERIOD}`;
}

/** Swap alone, as cgroup v2 counts it: bytes, -1 unlimited, undefined: nothing said. */
function swapOnly({ memory = 0, memorySwap = 0 }: CgroupLimits): number | undefined {
  if (memorySwap === 0) return undefined;
  if (memorySwap < 0) return -1;
  return memory > 0 ? Math.max(0, memorySwap - memory) : undefined;
}

const orMax = (value: number): string => value < 0 ? "max" : String(value);

/** Everything that `limits` say, in the order in which it is to be written. */
export function cgroupWrites(limits: CgroupLimits): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const add = (file: string, value: string, what: string, otherwise?: CgroupWrite) =>
    writes.push({ file, value, what, ...(otherwise === undefined ? {} : { otherwise }) });
  const swap = swapOnly(limits);
  if (swap !== undefined) add("memory.swap.max", orMax(swap), "swap limit");
  if (limits.memory) add("memory.max", orMax(limits.memory), "memory limit");
  if (limits.memoryReservation) add("memory.low", orMax(limits.memoryReservation), "memory reservation");
  if (limits.cpuShares) add("cpu.weight", String(cpuWeight(limits.cpuShares)), "CPU shares");
  const max = cpuMax(limits);
  if (max !== undefined) add("cpu.max", max, "CPU quota");
  if (limits.cpusetCpus) add("cpuset.cpus", limits.cpusetCpus, "CPU set");
  if (limits.cpusetMems) add("cpuset.mems", limits.cpusetMems, "memory nodes");
  if (limits.pids !== undefined) {
    add("pids.max", limits.pids > 0 ? String(limits.pids) : "max", "PIDs limit");
  }
  const weight = (prefix: string, value: number, what: string) =>
    add("io.bfq.weight", `${prefix}${value}`, what, {
      file: "io.weight",
      value: `${prefix || "default "}${ioWeight(value)}`,
      what,
    });
  if (limits.blkioWeight) weight("", limits.blkioWeight, "block I/O weight");
  for (const { device, value } of limits.blkioWeightDevice ?? []) {
    weight(`${device} `, value, "block I/O weight of a device");
  }
  const throttles: [keyof CgroupLimits, string][] = [
    ["readBps", "rbps"],
    ["writeBps", "wbps"],
    ["readIops", "riops"],
    ["writeIops", "wiops"],
  ];
  for (const [key, word] of throttles) {
    for (const { device, value } of (limits[key] ?? []) as readonly DeviceLimit[]) {
      add("io.max", `${device} ${word}=${value > 0 ? value : "max"}`, "block I/O limit");
    }
  }
  for (const [file, value] of Object.entries(limits.unified ?? {})) add(file, value, file);
  return writes;
}

/** systemd's "infinity". */
export const INFINITY = 2n ** 64n - 1n;

/** A property of a unit: its type in D-Bus's letters, its value. */
export type UnitProperty = readonly [name: string, type: string, value: bigint | boolean | Uint8Array];

/** systemd counts CPUQuota in hundredths of a CPU. */
const QUOTA_STEP = 10_000n;

/**
 * The limits as properties of a systemd unit, so that systemd does not undo them when it next looks after the unit. What it does
 * not know (io.max by numbers, raw files) is missing.
 *
 * @param version of systemd: properties that it does not have would make it refuse all.
 */
export function unitProperties(limits: CgroupLimits, version: number): UnitProperty[] {
  const properties: UnitProperty[] = [];
  const size = (value: number): bigint => value < 0 ? INFINITY : BigInt(value);
  if (limits.memory) properties.push(["MemoryMax", "t", size(limits.memory)]);
  const swap = swapOnly(limits);
  if (swap !== undefined) properties.push(["MemorySwapMax", "t", size(swap)]);
  if (limits.memoryReservation) properties.push(["MemoryLow", "t", size(limits.memoryReservation)]);
  if (limits.cpuShares) properties.push(["CPUWeight", "t", BigInt(cpuWeight(limits.cpuShares))]);
  const { cpuQuota: quota = 0, cpuPeriod = 0 } = limits;
  const period = cpuPeriod > 0 ? cpuPeriod : DEFAULT_CPU_PERIOD;
  if (quota !== 0) {
    const perSecond = BigInt(Math.max(0, quota)) * 1_000_000n / BigInt(period);
    const rounded = (perSecond + QUOTA_STEP - 1n) / QUOTA_STEP * QUOTA_STEP;
    properties.push(["CPUQuotaPerSecUSec", "t", quota > 0 ? rounded : INFINITY]);
  }
  if (cpuPeriod > 0 && version >= 242) properties.push(["CPUQuotaPeriodUSec", "t", BigInt(cpuPeriod)]);
  if (version >= 244) {
    if (limits.cpusetCpus) properties.push(["AllowedCPUs", "ay", cpuMask(limits.cpusetCpus)]);
    if (limits.cpusetMems) properties.push(["AllowedMemoryNodes", "ay", cpuMask(limits.cpusetMems)]);
  }
  // Without a word systemd takes its own default, 15 % of what the kernel allows.
  properties.push(["TasksMax", "t", (limits.pids ?? 0) > 0 ? BigInt(limits.pids ?? 0) : INFINITY]);
  if (limits.blkioWeight) properties.push(["IOWeight", "t", BigInt(ioWeight(limits.blkioWeight))]);
  return properties;
}

/** A list as "0-2,7" as a mask, lowest number first. */
export function cpuMask(list: string): Uint8Array {
  const bits: number[] = [];
  for (const range of list.split(",")) {
    const [first = NaN, last = first] = range.split("-").map(Number);
    for (let bit = first; bit <= last; bit++) bits.push(bit);
  }
  const mask = new Uint8Array(Math.floor(Math.max(0, ...bits) / 8) + 1);
  for (const bit of bits) mask[bit >> 3] = (mask[bit >> 3] ?? 0) | (1 << (bit & 7));
  return mask;
}
