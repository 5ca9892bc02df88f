import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, S_IFDIR, S_IFMT } from "../ffi/constants.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { ContentXattrs } from "./content_xattrs.ts";

/**
 * Makes a second directory of a layer's files, which are the same files under another name: layers never change. Directories are made anew,
 * with the attributes and times of the first.
 *
 * @param from a layer's directory, in a form that has no whiteouts.
 * @param to does not exist yet.
 * @param check called now and then; throws to give up.
 */
export function linkLayer(sys: Syscalls, from: string, to: string, check: () => void): void {
  const xattrs = new ContentXattrs(sys);
  const directory = (source: string, target: string) => {
    check();
    const stat = sys.stat(source, false);
    sys.mkdir(target, 0o700);
    for (const name of namesIn(sys, source)) {
      const path = `${source}/${name}`;
      if ((sys.stat(path, false).mode & S_IFMT) === S_IFDIR) directory(path, `${target}/${name}`);
      else sys.link(path, `${target}/${name}`);
    }
    sys.lchown(target, stat.uid, stat.gid);
    sys.chmod(target, stat.mode & 0o7777);
    for (const [name, value] of xattrs.of(source, stat)) sys.lsetxattr(target, name, value);
    const time: [number, number] = [stat.mtimeSec, stat.mtimeNsec];
    sys.lutimes(target, time, time);
  };
  directory(from, to);
}

function namesIn(sys: Syscalls, directory: string): string[] {
  const fd = sys.open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  try {
    return sys.readDirectory(fd);
  } finally {
    sys.close(fd);
  }
}
