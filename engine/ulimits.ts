/** Names of `--ulimit` and the kernel's numbers (asm-generic/resource.h: the same on x86-64 and arm64). */
import * as c from "../ffi/constants.ts";

export const RLIMIT_NUMBERS: Readonly<Record<string, number>> = {
  core: c.RLIMIT_CORE,
  cpu: c.RLIMIT_CPU,
  data: c.RLIMIT_DATA,
  fsize: c.RLIMIT_FSIZE,
  locks: c.RLIMIT_LOCKS,
  memlock: c.RLIMIT_MEMLOCK,
  msgqueue: c.RLIMIT_MSGQUEUE,
  nice: c.RLIMIT_NICE,
  nofile: c.RLIMIT_NOFILE,
  nproc: c.RLIMIT_NPROC,
  rss: c.RLIMIT_RSS,
  rtprio: c.RLIMIT_RTPRIO,
  rttime: c.RLIMIT_RTTIME,
  sigpending: c.RLIMIT_SIGPENDING,
  stack: c.RLIMIT_STACK,
};
