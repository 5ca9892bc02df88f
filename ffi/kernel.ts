import { credentialCalls } from "./kernel_credentials.ts";
import { descriptorCalls } from "./kernel_descriptor.ts";
import { eventCalls } from "./kernel_event.ts";
import { fileCalls } from "./kernel_file.ts";
import { mountCalls } from "./kernel_mount.ts";
import { namespaceCalls } from "./kernel_namespace.ts";
import { processCalls } from "./kernel_process.ts";
import { socketCalls } from "./kernel_socket.ts";
import { ttyCalls } from "./kernel_tty.ts";
import { spawn } from "./kernel_spawn.ts";
import { type Machine, thread } from "./machine.ts";
import type { ProcessSyscalls, Syscalls } from "./syscalls.ts";

/** The calls, made at `machine`. */
export function callsAt(machine: Machine): ProcessSyscalls {
  const files = descriptorCalls(machine);
  return {
    ...namespaceCalls(machine),
    ...mountCalls(machine),
    ...processCalls(machine),
    ...credentialCalls(machine),
    ...files,
    ...fileCalls(machine),
    ...socketCalls(machine, files),
    ...ttyCalls(machine),
  };
}

const calls = callsAt(thread);

/** The kernel itself. Importing it costs nothing; the C library is opened by the first call. */
export const kernel: Syscalls = {
  ...calls,
  ...eventCalls,
  spawn: (options) => spawn(calls, options),
};
