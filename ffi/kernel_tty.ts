import { O_NOCTTY, O_RDWR, TIOCGPTN, TIOCGWINSZ, TIOCSCTTY, TIOCSPTLCK, TIOCSWINSZ } from "./constants.ts";
import { descriptorCalls } from "./kernel_descriptor.ts";
import { SIZEOF } from "./layout.ts";
import { check, raw } from "./libc.ts";
import { block } from "./memory.ts";
import { NR } from "./syscall_numbers.ts";
import type { Syscalls } from "./syscalls.ts";

type Calls = Pick<Syscalls, "openPtyMaster" | "setWindowSize" | "getWindowSize" | "setControllingTerminal">;

/** Pseudo terminals (pty(7)). */
export const ttyCalls: Calls = {
  openPtyMaster(ptmxPath) {
    const master = descriptorCalls.open(ptmxPath, O_RDWR | O_NOCTTY);
    try {
      // one block for both: lock state 0 = unlocked, then the number of the slave
      const value = block(4);
      check(raw(NR.ioctl, master, TIOCSPTLCK, value.address), "unlockpt", ptmxPath);
      check(raw(NR.ioctl, master, TIOCGPTN, value.address), "ptsname", ptmxPath);
      return { master, index: value.view.getUint32(0, true) };
    } catch (error) {
      descriptorCalls.close(master);
      throw error;
    }
  },
  setWindowSize(fd, size) {
    const winsize = block(SIZEOF.winsize);
    winsize.view.setUint16(0, size.rows, true);
    winsize.view.setUint16(2, size.cols, true);
    check(raw(NR.ioctl, fd, TIOCSWINSZ, winsize.address), "TIOCSWINSZ");
  },
  getWindowSize(fd) {
    const winsize = block(SIZEOF.winsize);
    check(raw(NR.ioctl, fd, TIOCGWINSZ, winsize.address), "TIOCGWINSZ");
    return { rows: winsize.view.getUint16(0, true), cols: winsize.view.getUint16(2, true) };
  },
  setControllingTerminal(fd) {
    check(raw(NR.ioctl, fd, TIOCSCTTY, 0), "TIOCSCTTY");
  },
};
