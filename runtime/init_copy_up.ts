import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "../ffi/constants.ts";
import type { ProcessSyscalls, Stat } from "../ffi/syscalls.ts";
import { writeAll } from "./files.ts";

/**
 * Copies what is in directory `from` into directory `to`: directories, files and symbolic links with owner, mode and times
 * (Docker's tmpcopyup). Sockets, FIFOs and devices are left out. Nothing runs in the container yet that could exchange names.
 */
export function copyInto(kernel: ProcessSyscalls, from: string, to: string): void {
  const directory = kernel.open(`${from}/`, O_DIRECTORY);
  const names = kernel.readDirectory(directory);
  kernel.close(directory);
  for (const name of names) copy(kernel, `${from}/${name}`, `${to}/${name}`);
}

function copy(kernel: ProcessSyscalls, from: string, to: string): void {
  const stat = kernel.stat(from, false);
  switch (stat.mode & S_IFMT) {
    case S_IFDIR:
      kernel.mkdir(to, 0o700);
      copyInto(kernel, from, to);
      break;
    case S_IFREG:
      copyFile(kernel, from, to);
      break;
    case S_IFLNK:
      kernel.symlink(kernel.readlink(from), to);
      kernel.lchown(to, stat.uid, stat.gid);
      return;
    default:
      return;
  }
  copyAttributes(kernel, stat, to);
}

function copyFile(kernel: ProcessSyscalls, from: string, to: string): void {
  const source = kernel.open(from, O_NOFOLLOW);
  const target = kernel.open(to, O_WRONLY | O_CREAT | O_EXCL, 0o600);
  const buffer = new Uint8Array(64 * 1024);
  for (let count = kernel.read(source, buffer); count > 0; count = kernel.read(source, buffer)) {
    writeAll(kernel, target, buffer.subarray(0, count));
  }
  kernel.close(source);
  kernel.close(target);
}

function copyAttributes(kernel: ProcessSyscalls, stat: Stat, to: string): void {
  kernel.lchown(to, stat.uid, stat.gid);
  kernel.chmod(to, stat.mode & 0o7777);
  const time: [number, number] = [stat.mtimeSec, stat.mtimeNsec];
  kernel.lutimes(to, time, time);
}
