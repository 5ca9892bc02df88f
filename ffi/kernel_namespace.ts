import { check } from "./libc.ts";
import type { Machine } from "./machine.ts";
import { fromCString } from "./memory.ts";
import { NR } from "./syscall_numbers.ts";
import type { Syscalls } from "./syscalls.ts";

type Calls = Pick<
  Syscalls,
  | "unshare"
  | "setns"
  | "pivotRoot"
  | "chroot"
  | "chdir"
  | "fchdir"
  | "getcwd"
  | "sethostname"
  | "setdomainname"
>;

/** Length in bytes, as sethostname(2) wants it. */
const byteLength = (text: string): number => new TextEncoder().encode(text).length;

/** Namespaces, roots and host names of the calling thread. */
export const namespaceCalls = ({ block, cString, raw }: Machine): Calls => ({
  unshare(flags) {
    check(raw(NR.unshare, flags), "unshare");
  },
  setns(fd, nstype) {
    check(raw(NR.setns, fd, nstype), "setns");
  },
  pivotRoot(newRoot, putOld) {
    check(raw(NR.pivot_root, cString(newRoot), cString(putOld)), "pivot_root", newRoot);
  },
  chroot(path) {
    check(raw(NR.chroot, cString(path)), "chroot", path);
  },
  chdir(path) {
    check(raw(NR.chdir, cString(path)), "chdir", path);
  },
  fchdir(fd) {
    check(raw(NR.fchdir, fd), "fchdir");
  },
  getcwd() {
    const { address, bytes } = block(4096);
    check(raw(NR.getcwd, address, 4096), "getcwd");
    return fromCString(bytes);
  },
  sethostname(name) {
    check(raw(NR.sethostname, cString(name), byteLength(name)), "sethostname", name);
  },
  setdomainname(name) {
    check(raw(NR.setdomainname, cString(name), byteLength(name)), "setdomainname", name);
  },
});
