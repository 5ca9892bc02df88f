import { SECCOMP_SET_MODE_FILTER } from "./constants.ts";
import { SIZEOF } from "./layout.ts";
import { check } from "./libc.ts";
import type { Machine } from "./machine.ts";
import { NR } from "./syscall_numbers.ts";
import type { Syscalls } from "./syscalls.ts";

type Calls = Pick<
  Syscalls,
  "newSessionKeyring" | "capget" | "capset" | "seccompSetFilter" | "setresuid" | "setresgid" | "setgroups"
>;

const KEYCTL_JOIN_SESSION_KEYRING = 1;
const LINUX_CAPABILITY_VERSION_3 = 0x20080522;

function capHeader({ block }: Machine): number {
  const header = block(SIZEOF.capHeader);
  header.view.setUint32(0, LINUX_CAPABILITY_VERSION_3, true);
  return header.address;
}

/**
 * Who the calling thread is and what it may do. Credentials are per thread in the kernel; libc's wrappers would
 * signal every other thread to follow, these do not.
 */
export const credentialCalls = (machine: Machine): Calls => {
  const { block, lend, raw } = machine;
  return {
    newSessionKeyring() {
      check(raw(NR.keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0), "keyctl");
    },
    capget() {
      const data = block(2 * SIZEOF.capData);
      check(raw(NR.capget, capHeader(machine), data.address), "capget");
      const both = (offset: number): bigint =>
        BigInt(data.view.getUint32(offset, true)) |
        BigInt(data.view.getUint32(offset + SIZEOF.capData, true)) << 32n;
      return { effective: both(0), permitted: both(4), inheritable: both(8) };
    },
    capset(sets) {
      const data = block(2 * SIZEOF.capData);
      for (
        const [offset, mask] of [[0, sets.effective], [4, sets.permitted], [8, sets.inheritable]] as const
      ) {
        data.view.setUint32(offset, Number(mask & 0xffff_ffffn), true);
        data.view.setUint32(offset + SIZEOF.capData, Number(mask >> 32n), true);
      }
      check(raw(NR.capset, capHeader(machine), data.address), "capset");
    },
    seccompSetFilter(program, flags) {
      if (program.byteLength % SIZEOF.sockFilter !== 0) {
        throw new TypeError("Filter is not a whole number of instructions");
      }
      const prog = block(SIZEOF.sockFprog);
      prog.view.setUint16(0, program.byteLength / SIZEOF.sockFilter, true);
      prog.view.setBigUint64(8, BigInt(lend(program)), true);
      check(raw(NR.seccomp, SECCOMP_SET_MODE_FILTER, flags, prog.address), "seccomp");
    },
    setresuid(r, e, s) {
      check(raw(NR.setresuid, r, e, s), "setresuid");
    },
    setresgid(r, e, s) {
      check(raw(NR.setresgid, r, e, s), "setresgid");
    },
    setgroups(gids) {
      const list = block(gids.length * 4);
      for (const [index, gid] of gids.entries()) list.view.setUint32(index * 4, gid, true);
      check(raw(NR.setgroups, gids.length, list.address), "setgroups");
    },
  };
};
