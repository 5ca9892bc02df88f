import {
  CLOCK_MONOTONIC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  O_CLOEXEC,
  O_NONBLOCK,
  SIG_BLOCK,
} from "./constants.ts";
import { ERRNO } from "./errno.ts";
import { writeSigset } from "./kernel_process.ts";
import { LAYOUT, SIZEOF } from "./layout.ts";
import { check, raw, rawOnce } from "./libc.ts";
import { addressOf, block } from "./memory.ts";
import { NR } from "./syscall_numbers.ts";
import type { EpollEvent, EventSyscalls } from "./syscalls.ts";

/** Events taken from the kernel at a time; more wait for the next call. */
const MAX_EVENTS = 64;
/** Where the event of epoll_ctl lies, behind those. */
const CONTROL_EVENT = MAX_EVENTS * LAYOUT.epollEvent.size;

interface EventBuffer {
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly address: number;
  readonly slots: { fd: number; events: number }[];
  readonly ready: EpollEvent[];
}

let events: EventBuffer | undefined;

function eventBuffer(): EventBuffer {
  if (events !== undefined) return events;
  const memory = new Uint8Array(CONTROL_EVENT + LAYOUT.epollEvent.size);
  events = {
    memory,
    view: new DataView(memory.buffer),
    address: addressOf(memory),
    slots: Array.from({ length: MAX_EVENTS }, () => ({ fd: -1, events: 0 })),
    ready: [],
  };
  return events;
}

function epollControl(epfd: number, op: number, fd: number, mask: number): void {
  const { view, address } = eventBuffer();
  view.setUint32(CONTROL_EVENT, mask >>> 0, true);
  view.setInt32(CONTROL_EVENT + LAYOUT.epollEvent.data, fd, true);
  check(raw(NR.epoll_ctl, epfd, op, fd, address + CONTROL_EVENT), "epoll_ctl");
}

/** What one event loop sleeps on. */
export const eventCalls: EventSyscalls = {
  epollCreate: () => check(raw(NR.epoll_create1, O_CLOEXEC), "epoll_create"),
  epollAdd(epfd, fd, mask) {
    epollControl(epfd, EPOLL_CTL_ADD, fd, mask);
  },
  epollModify(epfd, fd, mask) {
    epollControl(epfd, EPOLL_CTL_MOD, fd, mask);
  },
  epollDelete(epfd, fd) {
    epollControl(epfd, EPOLL_CTL_DEL, fd, 0);
  },
  epollWait(epfd, timeoutMs) {
    const { view, address, slots, ready } = eventBuffer();
    ready.length = 0;
    const count = rawOnce(NR.epoll_pwait, epfd, address, MAX_EVENTS, timeoutMs, 0, SIZEOF.kernelSigset);
    if (count === -ERRNO.EINTR) return ready;
    check(count, "epoll_wait");
    for (let index = 0; index < count; index++) {
      const offset = index * LAYOUT.epollEvent.size;
      const slot = slots[index];
      if (slot === undefined) break;
      slot.events = view.getUint32(offset, true);
      slot.fd = view.getInt32(offset + LAYOUT.epollEvent.data, true);
      ready.push(slot);
    }
    return ready;
  },
  signalfd(signals) {
    const set = block(SIZEOF.kernelSigset);
    writeSigset(set.view, 0, signals);
    check(raw(NR.rt_sigprocmask, SIG_BLOCK, set.address, 0, SIZEOF.kernelSigset), "sigprocmask");
    return check(
      raw(NR.signalfd4, -1, set.address, SIZEOF.kernelSigset, O_NONBLOCK | O_CLOEXEC),
      "signalfd",
    );
  },
  timerfdCreate: () =>
    check(raw(NR.timerfd_create, CLOCK_MONOTONIC, O_NONBLOCK | O_CLOEXEC), "timerfd_create"),
  timerfdSet(fd, ms) {
    const spec = block(SIZEOF.itimerspec);
    const seconds = Math.floor(ms / 1000);
    spec.view.setBigInt64(16, BigInt(seconds), true);
    spec.view.setBigInt64(24, BigInt(Math.round((ms - seconds * 1000) * 1e6)), true);
    check(raw(NR.timerfd_settime, fd, 0, spec.address, 0), "timerfd_settime");
  },
};
