/**
 * fsutil's protocol for files, both ends: the sender tells what there is (`stat`, in the order of a walk), the receiver
 * asks for the contents it wants by number (`request`), they come in pieces (`data`, an empty one is the end).
 */
import { TAR_END, tarHeader, tarPadding, type TarTime } from "../../base/tar/mod.ts";
import type { ClientCall } from "./grpc.ts";
import { CODE, GrpcError } from "./grpc.ts";
import { decode, encode, PACKET, type Stat } from "./protocol.ts";

/** Go's os.FileMode: kinds and bits beyond the permissions (go: io/fs). */
export const GO_MODE = {
  directory: 1 << 31 >>> 0,
  symlink: 1 << 27,
  device: 1 << 26,
  pipe: 1 << 25,
  socket: 1 << 24,
  setuid: 1 << 23,
  setgid: 1 << 22,
  charDevice: 1 << 21,
  sticky: 1 << 20,
} as const;
const KINDS = GO_MODE.directory | GO_MODE.symlink | GO_MODE.device | GO_MODE.pipe | GO_MODE.socket |
  GO_MODE.charDevice;

/** Asked for ahead of the file that is being read: enough to keep the sender busy, little enough to hold. */
const AHEAD_BYTES = 4 * 1024 * 1024;
const AHEAD_FILES = 1024;

/** No context has more. */
const MAX_ENTRIES = 5_000_000;

interface Entry {
  readonly stat: Stat;
  /** Its contents are to be asked for. */
  readonly hasData: boolean;
  requested: boolean;
  complete: boolean;
  chunks: Uint8Array[];
  received: number;
}

/** A regular file that is no hard link to one before. */
function hasData({ mode, linkname }: Stat): boolean {
  return (mode & KINDS) === 0 && linkname === "";
}

/**
 * Receives what the other side sends, as a tar archive: whoever unpacks it treats every name in it as hostile. Sockets are left out, as
 * Docker does.
 *
 * @param progress is told the bytes that have come so far.
 * @throws {GrpcError}
 */
export function receiveAsTar(
  call: ClientCall,
  progress: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  return new TreeReceiver(call, progress).archive();
}

/** The receiving end of one transfer: all of it as it comes, or a list first and then what is wanted of it. */
export class TreeReceiver {
  readonly #call: ClientCall;
  readonly #messages: AsyncIterator<Uint8Array>;
  readonly #progress: (bytes: number) => void;
  readonly #entries = new Map<number, Entry>();
  #wanted: ReadonlySet<number> | undefined;
  #head = 0;
  /** The first that was not asked for yet. */
  #next = 0;
  #aheadFiles = 0;
  #aheadBytes = 0;
  #count = 0;
  #total = 0;
  #told = false;
  #headerOut = false;
  #ended = false;

  constructor(call: ClientCall, progress: (bytes: number) => void) {
    this.#call = call;
    this.#messages = call.messages[Symbol.asyncIterator]();
    this.#progress = progress;
  }

  /**
   * Everything that there is, before any of it is asked for. To be called before {@link archive}, if at all.
   *
   * @returns undefined: there is more than `most`.
   * @throws {GrpcError}
   */
  async list(most: number): Promise<readonly Stat[] | undefined> {
    while (!this.#told && !this.#ended) {
      if (this.#count > most) return undefined;
      const { value, done } = await this.#messages.next();
      if (done === true) break;
      this.#take(value);
    }
    return this.#entries.values().map(({ stat }) => stat).toArray();
  }

  /**
   * @param wanted numbers of the list; undefined: everything.
   * @throws {GrpcError}
   */
  async *archive(wanted?: ReadonlySet<number>): AsyncGenerator<Uint8Array> {
    this.#wanted = wanted;
    for (;;) {
      yield* this.#ready();
      await this.#request();
      if (this.#told && this.#head === this.#count) {
        this.#told = false;
        await this.#call.send(encode("Packet", { type: PACKET.end }));
      }
      const { value, done } = await this.#messages.next();
      if (done === true) break;
      this.#take(value);
    }
    if (!this.#ended || this.#head < this.#count) {
      throw new GrpcError(CODE.unavailable, "the client's session has ended");
    }
    yield TAR_END;
  }

  #take(bytes: Uint8Array): void {
    const packet = decode("Packet", bytes);
    this.#total += bytes.length;
    this.#progress(this.#total);
    if (packet.type === PACKET.error) {
      throw new GrpcError(CODE.unknown, `error from sender: ${new TextDecoder().decode(packet.data)}`);
    } else if (packet.type === PACKET.stat) {
      const { stat } = packet;
      if (stat === null) this.#told = true;
      else this.#add(stat);
    } else if (packet.type === PACKET.data) {
      const entry = this.#entries.get(packet.ID);
      if (entry === undefined || !entry.requested || entry.complete) {
        throw new GrpcError(CODE.invalidArgument, `data for a file that was not asked for: ${packet.ID}`);
      }
      if (packet.data.length === 0) entry.complete = true;
      else {
        entry.chunks.push(packet.data);
        entry.received += packet.data.length;
        if (entry.received > Math.max(AHEAD_BYTES, entry.stat.size) * 2) {
          throw new GrpcError(CODE.failedPrecondition, `file ${entry.stat.path} changed while it was sent`);
        }
      }
    } else if (packet.type === PACKET.end) {
      this.#ended = true;
      this.#call.end();
    }
  }

  #add(stat: Stat): void {
    if (this.#count >= MAX_ENTRIES) {
      throw new GrpcError(CODE.resourceExhausted, `the context has more than ${MAX_ENTRIES} entries`);
    }
    this.#entries.set(this.#count, {
      stat,
      hasData: hasData(stat),
      requested: false,
      complete: false,
      chunks: [],
      received: 0,
    });
    this.#count++;
  }

  async #request(): Promise<void> {
    for (; this.#next < this.#count; this.#next++) {
      const entry = this.#entries.get(this.#next);
      if (entry === undefined || !entry.hasData || !this.#isWanted(this.#next)) continue;
      const { size } = entry.stat;
      const isEnough = this.#aheadFiles >= AHEAD_FILES || this.#aheadBytes + size > AHEAD_BYTES;
      if (this.#next > this.#head && isEnough) break;
      entry.requested = true;
      this.#aheadFiles++;
      this.#aheadBytes += size;
      await this.#call.send(encode("Packet", { type: PACKET.request, ID: this.#next }));
    }
  }

  #isWanted(number: number): boolean {
    return this.#wanted?.has(number) ?? true;
  }

  /** What can be written of the entries at the head. */
  *#ready(): Generator<Uint8Array> {
    for (;;) {
      const entry = this.#entries.get(this.#head);
      if (entry === undefined) return;
      const { stat } = entry;
      if (!this.#isWanted(this.#head)) {
        // it is there already
      } else if (entry.hasData) {
        if (!this.#headerOut) {
          // a small file is waited for, because it may have changed since it was told
          if (!entry.complete && stat.size <= AHEAD_BYTES) return;
          const size = entry.complete ? entry.received : stat.size;
          yield tarHeader({ ...common(stat), type: "file", size });
          this.#headerOut = true;
        }
        yield* entry.chunks.splice(0);
        if (!entry.complete) return;
        if (entry.received !== stat.size && stat.size > AHEAD_BYTES) {
          throw new GrpcError(CODE.failedPrecondition, `file ${stat.path} changed while it was sent`);
        }
        yield tarPadding(entry.received);
        this.#aheadFiles--;
        this.#aheadBytes -= stat.size;
      } else {
        const other = withoutData(stat);
        if (other !== undefined) yield other;
      }
      this.#headerOut = false;
      this.#entries.delete(this.#head);
      this.#head++;
    }
  }
}

/** A file that was changed this short a time ago may be changed again within the same tick of its clock. */
const SETTLED_NS = 2e9;

/**
 * Names the state that a file is in, from what the protocol tells: there is neither an inode nor a ctime. "" where that is too little, which it is
 * for a file whose time was set to a whole second, as archives and installers do: another one of the same size may have the same.
 *
 * @param now nanoseconds since 1970.
 */
export function stateOf(stat: Stat, now: number): string {
  const { mode, uid, gid, size, modTime, linkname, devmajor, devminor, xattrs } = stat;
  if (hasData(stat) && (modTime % 1e9 === 0 || modTime + SETTLED_NS > now)) return "";
  const attributes = Object.entries(xattrs).map(([name, value]) => [name, value.toHex()]);
  return JSON.stringify([mode, uid, gid, size, modTime, linkname, devmajor, devminor, attributes]);
}

function common({ path, mode, uid, gid, modTime, xattrs }: Stat) {
  return {
    name: path.replaceAll(/^\/+/g, ""),
    mode: mode & 0o777 | (mode & GO_MODE.setuid ? 0o4000 : 0) | (mode & GO_MODE.setgid ? 0o2000 : 0) |
      (mode & GO_MODE.sticky ? 0o1000 : 0),
    uid,
    gid,
    mtime: timeOf(modTime),
    xattrs: new Map(Object.entries(xattrs)),
  };
}

function timeOf(nanoseconds: number): TarTime {
  const seconds = Math.floor(nanoseconds / 1e9);
  return [seconds, nanoseconds - seconds * 1e9];
}

/** The tar header of what has no contents; undefined for a socket. */
function withoutData(stat: Stat): Uint8Array | undefined {
  const { mode, linkname, devmajor, devminor } = stat;
  const entry = common(stat);
  if (mode & GO_MODE.directory) {
    return entry.name === "" ? undefined : tarHeader({ ...entry, type: "directory" });
  }
  if (mode & GO_MODE.symlink) return tarHeader({ ...entry, type: "symlink", linkName: linkname });
  if (mode & GO_MODE.pipe) return tarHeader({ ...entry, type: "fifo" });
  if (mode & GO_MODE.device) {
    const type = mode & GO_MODE.charDevice ? "char" : "block";
    return tarHeader({ ...entry, type, deviceMajor: devmajor, deviceMinor: devminor });
  }
  if (mode & GO_MODE.socket) return undefined;
  return tarHeader({ ...entry, type: "hardlink", linkName: linkname.replaceAll(/^\/+/g, "") });
}
