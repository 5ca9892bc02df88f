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
  readonly id: number;
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
export async function* receiveAsTar(
  call: ClientCall,
  progress: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const entries = new Map<number, Entry>();
  let head = 0;
  /** The first that was not asked for yet. */
  let next = 0;
  let aheadFiles = 0;
  let aheadBytes = 0;
  let count = 0;
  let total = 0;
  let told = false;
  let headerOut = false;
  let ended = false;

  const request = async () => {
    for (; next < count; next++) {
      const entry = entries.get(next);
      if (entry === undefined || !entry.hasData) continue;
      if (next > head && (aheadFiles >= AHEAD_FILES || aheadBytes + entry.stat.size > AHEAD_BYTES)) break;
      entry.requested = true;
      aheadFiles++;
      aheadBytes += entry.stat.size;
      await call.send(encode("Packet", { type: PACKET.request, ID: next }));
    }
  };

  /** What can be written of the entries at the head. */
  function* ready(): Generator<Uint8Array> {
    for (;;) {
      const entry = entries.get(head);
      if (entry === undefined) return;
      const { stat } = entry;
      if (entry.hasData) {
        if (!headerOut) {
          // a small file is waited for, because it may have changed since it was told
          if (!entry.complete && stat.size <= AHEAD_BYTES) return;
          const size = entry.complete ? entry.received : stat.size;
          yield tarHeader({ ...common(stat), type: "file", size });
          headerOut = true;
        }
        yield* entry.chunks.splice(0);
        if (!entry.complete) return;
        if (entry.received !== stat.size && stat.size > AHEAD_BYTES) {
          throw new GrpcError(CODE.failedPrecondition, `file ${stat.path} changed while it was sent`);
        }
        yield tarPadding(entry.received);
        aheadFiles--;
        aheadBytes -= stat.size;
      } else {
        const other = withoutData(stat);
        if (other !== undefined) yield other;
      }
      headerOut = false;
      entries.delete(head);
      head++;
    }
  }

  for await (const bytes of call.messages) {
    const packet = decode("Packet", bytes);
    total += bytes.length;
    progress(total);
    if (packet.type === PACKET.error) {
      throw new GrpcError(CODE.unknown, `error from sender: ${new TextDecoder().decode(packet.data)}`);
    } else if (packet.type === PACKET.stat) {
      const { stat } = packet;
      if (stat === null) {
        told = true;
      } else {
        if (count >= MAX_ENTRIES) {
          throw new GrpcError(CODE.resourceExhausted, `the context has more than ${MAX_ENTRIES} entries`);
        }
        entries.set(count, {
          stat,
          id: count,
          hasData: hasData(stat),
          requested: false,
          complete: false,
          chunks: [],
          received: 0,
        });
        count++;
      }
    } else if (packet.type === PACKET.data) {
      const entry = entries.get(packet.ID);
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
      ended = true;
      call.end();
    }
    yield* ready();
    await request();
    if (told && head === count) {
      told = false;
      await call.send(encode("Packet", { type: PACKET.end }));
    }
  }
  if (!ended || head < count) throw new GrpcError(CODE.unavailable, "the client's session has ended");
  yield TAR_END;
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
