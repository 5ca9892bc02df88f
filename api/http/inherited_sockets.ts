/** Sockets that systemd has opened for the engine: socket activation, sd_listen_fds(3). */
import type { Syscalls } from "../../ffi/syscalls.ts";

/** A listening socket that came with the process. */
export interface InheritedSocket {
  /** FileDescriptorName= of the unit; "unknown" without one. */
  readonly name: string;
  /** The number it had: 3, 4 and so on. */
  readonly number: number;
  readonly fd: number;
  readonly address:
    | { readonly kind: "unix"; readonly path: string }
    | { readonly kind: "tcp"; readonly hostname: string; readonly port: number };
}

const FIRST = 3;
/** Copies go above everything that the bootstrap names by number. */
const ABOVE = 20;

/**
 * Takes over what was handed over, and takes its description out of the environment: whoever is started from here on
 * gets neither. Must run before the first child is started. Numbers are kept across `berth serve`'s way to the engine, as the pid is.
 */
export function takeInheritedSockets(
  kernel: Pick<Syscalls, "dupCloexec" | "close">,
): InheritedSocket[] {
  const value = (name: string) => Deno.env.get(name) ?? "";
  const ours = value("LISTEN_PID") === String(Deno.pid);
  const count = ours ? Number(value("LISTEN_FDS")) || 0 : 0;
  const names = value("LISTEN_FDNAMES").split(":");
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) Deno.env.delete(name);
  const sockets: InheritedSocket[] = [];
  for (let number = FIRST; number < FIRST + count; number++) {
    const address = addressOfSocket(number);
    const fd = kernel.dupCloexec(number, ABOVE);
    kernel.close(number);
    if (address === undefined) kernel.close(fd);
    else sockets.push({ name: names[number - FIRST] || "unknown", number, fd, address });
  }
  return sockets;
}

/** What a descriptor listens on, by the kernel's tables; undefined when it is no listening stream socket. */
function addressOfSocket(fd: number): InheritedSocket["address"] | undefined {
  let inode: string | undefined;
  try {
    inode = /^socket:\[(\d+)\]$/.exec(Deno.readLinkSync(`/proc/self/fd/${fd}`))?.[1];
  } catch {
    return undefined;
  }
  if (inode === undefined) return undefined;
  for (const row of rows("unix")) {
    // Num RefCount Protocol Flags Type St Inode Path
    if (row[6] === inode && row[7] !== undefined) return { kind: "unix", path: row.slice(7).join(" ") };
  }
  for (const table of ["tcp", "tcp6"] as const) {
    for (const row of rows(table)) {
      // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
      if (row[9] === inode && row[3] === LISTENING) return { kind: "tcp", ...parseEnd(row[1] ?? "") };
    }
  }
  return undefined;
}

/** TCP_LISTEN in /proc/net/tcp. */
const LISTENING = "0A";

function rows(table: "unix" | "tcp" | "tcp6"): string[][] {
  try {
    return Deno.readTextFileSync(`/proc/self/net/${table}`).split("\n").slice(1).map((line) =>
      line.trim().split(/\s+/)
    );
  } catch {
    return [];
  }
}

/** `0100007F:0947`, and 32 digits for IPv6: words of 32 bits in the machine's order, little-endian on both of ours. */
export function parseEnd(text: string): { hostname: string; port: number } {
  const [digits = "", port = ""] = text.split(":");
  const bytes: number[] = [];
  for (let word = 0; word + 8 <= digits.length; word += 8) {
    for (let at = 6; at >= 0; at -= 2) bytes.push(parseInt(digits.slice(word + at, word + at + 2), 16));
  }
  const hostname = bytes.length === 4
    ? bytes.join(".")
    : new URL(`http://[${groups(bytes).join(":")}]`).hostname.slice(1, -1);
  return { hostname, port: parseInt(port, 16) };
}

const groups = (bytes: readonly number[]): string[] =>
  Array.from(
    { length: 8 },
    (_, index) => ((bytes[index * 2] ?? 0) << 8 | (bytes[index * 2 + 1] ?? 0)).toString(16),
  );
