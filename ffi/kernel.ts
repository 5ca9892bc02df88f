import { credentialCalls } from "./kernel_credentials.ts";
import { descriptorCalls } from "./kernel_descriptor.ts";
import { eventCalls } from "./kernel_event.ts";
import { fileCalls } from "./kernel_file.ts";
import { mountCalls } from "./kernel_mount.ts";
import { namespaceCalls } from "./kernel_namespace.ts";
import { processCalls } from "./kernel_process.ts";
import { socketCalls } from "./kernel_socket.ts";
import { ttyCalls } from "./kernel_tty.ts";
import type { Syscalls } from "./syscalls.ts";

/** The kernel itself. Importing it costs nothing; the C library is opened by the first call. */
export const kernel: Syscalls = {
  ...namespaceCalls,
  ...mountCalls,
  ...processCalls,
  ...credentialCalls,
  ...descriptorCalls,
  ...fileCalls,
  ...eventCalls,
  ...socketCalls,
  ...ttyCalls,
};
