/** Small files, read and written through the system call interface. */
import { O_CREAT, O_NONBLOCK, O_TRUNC, O_WRONLY, S_IFMT, S_IFREG } from "../ffi/constants.ts";
import { ERRNO, SysError } from "../ffi/errno.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";

/** Writes all of `data`; the descriptor is a blocking one. */
export function writeAll(kernel: ProcessSyscalls, fd: number, data: Uint8Array): void {
  for (let done = 0; done < data.length;) {
    const count = kernel.write(fd, data.subarray(done));
    if (count <= 0) throw new SysError("write", ERRNO.EIO);
    done += count;
  }
}

/** Replaces a file as one step: readers, and a crash, see the old content or the new. */
export function replaceFile(kernel: ProcessSyscalls, path: string, text: string, mode: number): void {
  const temporary = `${path}.tmp`;
  const fd = kernel.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode);
  try {
    writeAll(kernel, fd, new TextEncoder().encode(text));
  } finally {
    kernel.close(fd);
  }
  kernel.rename(temporary, path);
}

/** One write(2) to a file of /proc or of a cgroup. */
export function writeProc(kernel: ProcessSyscalls, path: string, text: string): void {
  const fd = kernel.open(path, O_WRONLY);
  try {
    kernel.write(fd, new TextEncoder().encode(text));
  } finally {
    kernel.close(fd);
  }
}

/**
 * Text of a regular file, at most `limit` bytes of it; undefined when there is none. Never waits: a FIFO or a device
 * that an image has put there counts as nothing.
 */
export function readText(
  kernel: ProcessSyscalls,
  path: string,
  limit = 16 * 1024 * 1024,
): string | undefined {
  let fd: number;
  try {
    fd = kernel.open(path, O_NONBLOCK);
  } catch (error) {
    if (error instanceof SysError && error.is("ENOENT", "ENOTDIR", "ELOOP", "EACCES", "ENXIO")) {
      return undefined;
    }
    throw error;
  }
  try {
    if ((kernel.fstat(fd).mode & S_IFMT) !== S_IFREG) return undefined;
    return readDescriptor(kernel, fd, limit);
  } finally {
    kernel.close(fd);
  }
}

function readDescriptor(kernel: ProcessSyscalls, fd: number, limit: number): string {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(16 * 1024);
  let text = "";
  for (let total = 0; total < limit;) {
    const count = kernel.read(fd, buffer);
    if (count <= 0) break;
    total += count;
    text += decoder.decode(buffer.subarray(0, count), { stream: true });
  }
  return text + decoder.decode();
}

/** Field 22 of /proc/PID/stat: with the pid it names a process for ever. Undefined when there is no such process. */
export function processStartTime(kernel: ProcessSyscalls, pid: number | "self"): string | undefined {
  const stat = readText(kernel, `/proc/${pid}/stat`);
  // The second field is the command in parentheses and may itself hold any byte.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
