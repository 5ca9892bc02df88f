/** What a cgroup uses, read from its files. */
import { controlNumber, flatKeyed, nestedKeyed } from "./control_file.ts";

/** Pressure stall information: shares of time in percent, total in microseconds. */
export interface Pressure {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  readonly total: number;
}

/** Absent: the controller is not there. */
export interface CgroupStats {
  /** cpu.stat, in microseconds and counts; usage is there without any controller. */
  readonly cpu?: Readonly<Record<string, number>>;
  readonly memory?: {
    /** Bytes. */
    readonly usage: number;
    /** Bytes; Infinity without a limit. */
    readonly limit: number;
    /** What of memory.stat Docker passes on: bytes and counts. */
    readonly stat: Readonly<Record<string, number>>;
    /** memory.events: counts. */
    readonly events: Readonly<Record<string, number>>;
  };
  /** `limit` is Infinity without one. */
  readonly pids?: { readonly current: number; readonly limit: number };
  /** io.stat by "major:minor": rbytes, wbytes, rios, wios and others. */
  readonly io?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly pressure?: Readonly<Record<"cpu" | "memory" | "io", { some?: Pressure; full?: Pressure }>>;
}

const FILES = [
  "cpu.stat",
  "memory.current",
  "memory.stat",
  "memory.max",
  "memory.events",
  "pids.current",
  "pids.max",
  "io.stat",
  "cpu.pressure",
  "memory.pressure",
  "io.pressure",
] as const;
type FileName = typeof FILES[number];

/** What of memory.stat Docker passes on: half of it. */
const MEMORY_STATS: ReadonlySet<string> = new Set(
  `anon file kernel_stack slab sock shmem file_mapped file_dirty file_writeback anon_thp inactive_anon active_anon
  inactive_file active_file unevictable slab_reclaimable slab_unreclaimable pgfault pgmajfault workingset_refault
  workingset_activate workingset_nodereclaim pgrefill pgscan pgsteal pgactivate pgdeactivate pglazyfree pglazyfreed
  thp_fault_alloc thp_collapse_alloc`.split(/\s+/),
);

/** Larger than any of the files, but io.stat of a machine with a hundred disks. */
const BUFFER = 16 * 1024;
const shared = new Uint8Array(BUFFER);
const decoder = new TextDecoder();

/**
 * Reads a cgroup again and again: the files stay open, each is read by one system call (two when it is longer than 16 KiB).
 */
export class CgroupStatsReader implements Disposable {
  readonly #files = new Map<FileName, Deno.FsFile>();

  /** @param path the cgroup's directory; files that it does not have are left out. */
  constructor(path: string) {
    for (const name of FILES) {
      try {
        this.#files.set(name, Deno.openSync(`${path}/${name}`));
      } catch {
        // The controller is not there, or the kernel is older.
      }
    }
  }

  /** undefined when the cgroup is gone. */
  read(): CgroupStats | undefined {
    const texts = new Map<FileName, string>();
    for (const [name, file] of this.#files) {
      const text = readWhole(file);
      // Pressure may be switched off (ENOTSUP), a cgroup may be removed (ENODEV).
      if (text !== undefined) texts.set(name, text);
    }
    return texts.size === 0 ? undefined : parseStats((name) => texts.get(name));
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }
}

function readWhole(file: Deno.FsFile): string | undefined {
  try {
    file.seekSync(0, Deno.SeekMode.Start);
    let text = "";
    for (;;) {
      const count = file.readSync(shared);
      if (count === null) return text;
      text += decoder.decode(shared.subarray(0, count));
      if (count < shared.length) return text;
    }
  } catch {
    return undefined;
  }
}

/** Pure: statistics from the texts of the files. */
export function parseStats(text: (file: FileName) => string | undefined): CgroupStats {
  const flat = (file: FileName) => flatKeyed(text(file) ?? "");
  const number = (file: FileName, missing: number) => {
    const value = controlNumber(text(file) ?? "");
    return Number.isNaN(value) ? missing : value;
  };
  const stats: { -readonly [K in keyof CgroupStats]: CgroupStats[K] } = {};
  if (text("cpu.stat") !== undefined) stats.cpu = flat("cpu.stat");
  if (text("memory.current") !== undefined) {
    stats.memory = {
      usage: number("memory.current", 0),
      limit: number("memory.max", Infinity),
      stat: flatKeyed(text("memory.stat") ?? "", MEMORY_STATS),
      events: flat("memory.events"),
    };
  }
  if (text("pids.current") !== undefined) {
    stats.pids = { current: number("pids.current", 0), limit: number("pids.max", Infinity) };
  }
  const io = text("io.stat");
  if (io !== undefined) stats.io = nestedKeyed(io);
  if (text("cpu.pressure") !== undefined) {
    stats.pressure = {
      cpu: parsePressure(text("cpu.pressure")),
      memory: parsePressure(text("memory.pressure")),
      io: parsePressure(text("io.pressure")),
    };
  }
  return stats;
}

function parsePressure(text: string | undefined): { some?: Pressure; full?: Pressure } {
  return nestedKeyed(text ?? "") as unknown as { some?: Pressure; full?: Pressure };
}
