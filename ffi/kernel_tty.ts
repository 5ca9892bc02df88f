import {
  O_CLOEXEC,
  O_NOCTTY,
  O_RDWR,
  TIOCGPTPEER,
  TIOCGWINSZ,
  TIOCSCTTY,
  TIOCSPTLCK,
  TIOCSWINSZ,
} from "./constants.ts";
import { SIZEOF } from "./layout.ts";
import { check } from "./libc.ts";
import type { Machine } from "./machine.ts";
import { NR } from "./syscall_numbers.ts";
import type { Syscalls } from "./syscalls.ts";

type Calls = Pick<
  Syscalls,
  "unlockPty" | "openPtyPeer" | "setWindowSize" | "getWindowSize" | "setControllingTerminal"
>;

/** Pseudo terminals (pty(7)). */
export const ttyCalls = ({ block, raw }: Machine): Calls => ({
  unlockPty(master) {
    const unlocked = block(4);
    check(raw(NR.ioctl, master, TIOCSPTLCK, unlocked.address), "unlockpt");
  },
  openPtyPeer(master) {
    return check(raw(NR.ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), "TIOCGPTPEER");
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
});
