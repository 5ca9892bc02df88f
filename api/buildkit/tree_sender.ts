import { type TarEntry, tarEvents } from "../../base/tar/mod.ts";
import { GO_MODE } from "./diff_copy.ts";
import { type ClientCall, CODE, GrpcError } from "./grpc.ts";
import { decode, encode, PACKET, type Stat } from "./protocol.ts";

/** Bytes of a file in one message. */
const PIECE = 256 * 1024;

/**
 * Sends the files of an archive to a client by fsutil's protocol, which lets the client ask for contents in any order: they
 * are spooled meanwhile.
 *
 * @param tar names sorted, directories before what is in them.
 * @param spool path of a file to be made, and removed at the end.
 */
export async function sendTree(
  call: ClientCall,
  tar: AsyncIterable<Uint8Array>,
  spool: string,
): Promise<void> {
  using file = Deno.openSync(spool, { createNew: true, read: true, write: true });
  Deno.removeSync(spool);
  const places = new Map<number, { readonly offset: number; readonly size: number }>();
  const wanted: number[] = [];
  let told = false;
  let finished = false;
  let wake: () => void = () => {};

  const serve = async () => {
    for (;;) {
      const id = wanted.shift();
      if (id !== undefined) {
        await sendFile(call, file, id, places.get(id));
      } else if (finished && told) {
        await call.send(encode("Packet", { type: PACKET.end }));
        call.end();
        return;
      } else {
        await new Promise<void>((resolve) => wake = resolve);
      }
    }
  };
  const listen = async () => {
    for await (const message of call.messages) {
      const packet = decode("Packet", message);
      if (packet.type === PACKET.error) {
        throw new GrpcError(CODE.unknown, `error from receiver: ${new TextDecoder().decode(packet.data)}`);
      }
      if (packet.type === PACKET.request) wanted.push(packet.ID);
      if (packet.type === PACKET.end) finished = true;
      wake();
    }
    if (!finished) throw new GrpcError(CODE.unavailable, "the client's session has ended");
  };
  // A file is told once its contents are in the spool: the client may ask for them at once.
  const tell = async () => {
    let id = 0;
    let end = 0;
    let start = 0;
    let stat: Stat | undefined;
    for await (const event of tarEvents(tar)) {
      if (event.kind === "entry") {
        stat = statOf(event.entry);
        start = end;
      } else if (event.kind === "data") {
        for (let written = 0; written < event.chunk.length;) {
          written += file.writeSync(event.chunk.subarray(written));
        }
        end += event.chunk.length;
      } else if (stat !== undefined && stat.path !== "") {
        places.set(id++, { offset: start, size: end - start });
        await call.send(encode("Packet", { type: PACKET.stat, stat: { ...stat, size: end - start } }));
      }
    }
    await call.send(encode("Packet", { type: PACKET.stat }));
    told = true;
    wake();
  };
  await Promise.all([tell(), listen(), serve()]);
}

async function sendFile(
  call: ClientCall,
  file: Deno.FsFile,
  id: number,
  place: { readonly offset: number; readonly size: number } | undefined,
): Promise<void> {
  if (place === undefined) throw new GrpcError(CODE.invalidArgument, `invalid file id ${id}`);
  const buffer = new Uint8Array(PIECE);
  for (let sent = 0; sent < place.size;) {
    const piece = buffer.subarray(0, Math.min(PIECE, place.size - sent));
    sent += readAt(file, piece, place.offset + sent);
    await call.send(encode("Packet", { type: PACKET.data, ID: id, data: piece }));
  }
  await call.send(encode("Packet", { type: PACKET.data, ID: id }));
}

/** Fills the piece. Synchronous: nothing else moves the file's position between seeking, reading and appending. */
function readAt(file: Deno.FsFile, piece: Uint8Array, offset: number): number {
  const before = file.seekSync(0, Deno.SeekMode.Current);
  file.seekSync(offset, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < piece.length) {
    const count = file.readSync(piece.subarray(filled));
    if (count === null) throw new GrpcError(CODE.internal, "the spool of an export is shorter than it was");
    filled += count;
  }
  file.seekSync(before, Deno.SeekMode.Start);
  return filled;
}

function statOf(
  { name, type, mode, uid, gid, mtime, linkName, deviceMajor, deviceMinor, xattrs }: TarEntry,
): Stat {
  const kind = {
    file: 0,
    hardlink: 0,
    directory: GO_MODE.directory,
    symlink: GO_MODE.symlink,
    fifo: GO_MODE.pipe,
    block: GO_MODE.device,
    char: GO_MODE.device | GO_MODE.charDevice,
  }[type];
  const bits = (mode & 0o4000 ? GO_MODE.setuid : 0) | (mode & 0o2000 ? GO_MODE.setgid : 0) |
    (mode & 0o1000 ? GO_MODE.sticky : 0);
  return {
    path: name.replaceAll(/^(?:\.?\/)+|\/+$|^\.$/g, ""),
    mode: (kind | bits | mode & 0o777) >>> 0,
    uid,
    gid,
    size: 0,
    modTime: mtime[0] * 1e9 + mtime[1],
    linkname: linkName,
    devmajor: deviceMajor,
    devminor: deviceMinor,
    xattrs: Object.fromEntries(xattrs),
  };
}
