import { CLOCK_MONOTONIC } from "./constants.ts";
import { check, raw } from "./libc.ts";
import { block } from "./memory.ts";
import { NR } from "./syscall_numbers.ts";

/** `struct timespec`: two 64-bit words. */
const TIMESPEC = 16;

/** CLOCK_MONOTONIC in microseconds, as systemd counts. */
export function monotonicMicroseconds(): bigint {
  const time = block(TIMESPEC);
  check(raw(NR.clock_gettime, CLOCK_MONOTONIC, time.address), "clock_gettime");
  return time.view.getBigInt64(0, true) * 1_000_000n + time.view.getBigInt64(8, true) / 1000n;
}
