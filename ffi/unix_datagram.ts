import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM } from "./constants.ts";
import { ERRNO, SysError } from "./errno.ts";
import { SIZEOF } from "./layout.ts";
import { check, raw } from "./libc.ts";
import { addressOf } from "./memory.ts";
import { NR } from "./syscall_numbers.ts";

const FAMILY_BYTES = 2;

/**
 * Sends one datagram to a unix socket, as sd_notify(3) does; Deno has these sockets behind a flag only.
 *
 * @param path absolute path, or `@name` in the abstract namespace (systemd's spelling).
 * @param flags of send(2): with MSG_DONTWAIT a receiver that does not keep up is EAGAIN, otherwise it is waited for.
 * @throws {SysError} nobody receives there, or the path does not fit into sun_path.
 */
export function sendUnixDatagram(path: string, data: Uint8Array, flags = 0): void {
  const name = new TextEncoder().encode(path);
  if (FAMILY_BYTES + name.length >= SIZEOF.sockaddrUn) throw new SysError("sendto", ERRNO.ENAMETOOLONG, path);
  const address = new Uint8Array(SIZEOF.sockaddrUn);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, FAMILY_BYTES);
  const abstract = path.startsWith("@");
  if (abstract) address[FAMILY_BYTES] = 0;
  const length = FAMILY_BYTES + name.length + (abstract ? 0 : 1);
  const copy = new Uint8Array(data);
  const fd = check(raw(NR.socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  try {
    const sent = raw(NR.sendto, fd, addressOf(copy), copy.length, flags, addressOf(address), length);
    check(sent, "sendto", path);
  } finally {
    raw(NR.close, fd);
  }
}
