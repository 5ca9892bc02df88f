import { realPath } from "../base/real_path.ts";

/** Mount points and file system types of this process's mount namespace, in the kernel's order (later ones on top). */
export function mountTable(): { readonly target: string; readonly type: string }[] {
  return Deno.readTextFileSync("/proc/self/mountinfo").split("\n").flatMap((line) => {
    const fields = line.split(" ");
    const separator = fields.indexOf("-", 6);
    const target = fields[4];
    if (separator < 0 || target === undefined) return [];
    return [{ target: unescape(target), type: fields[separator + 1] ?? "" }];
  });
}

/** The type of what is mounted at exactly `path`; undefined when it is no mount point. */
export function mountedAt(path: string): string | undefined {
  return mountTable().findLast(({ target }) => target === path)?.type;
}

/** A mount point at or below `dir`, which is taken for no symbolic link; undefined when there is none. */
export function mountedBelow(dir: string): string | undefined {
  const slash = dir.lastIndexOf("/");
  const real = `${realPath(dir.slice(0, slash))}${dir.slice(slash)}`;
  return mountTable().find(({ target }) => target === real || target.startsWith(`${real}/`))?.target;
}

/** The kernel writes space, tab, newline and backslash as octal numbers (seq_escape in fs/proc_namespace.c). */
function unescape(text: string): string {
  return text.includes("\\")
    ? text.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8)))
    : text;
}
