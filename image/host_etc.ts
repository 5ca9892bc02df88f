import type { TarEntryInput } from "../fs/tar/mod.ts";

/** Made for each container by the engine, or a secret, or about hardware that a container does not have. */
const LEFT_OUT = new Set([
  "hostname",
  "hosts",
  "resolv.conf",
  "mtab",
  "machine-id",
  "fstab",
  "crypttab",
  "shadow",
  "shadow-",
  "gshadow",
  "gshadow-",
  "ssl/private",
  "krb5.keytab",
]);

const SECRET = /(?:^|\/)(?:ssh_host_[^/]*_key|[^/]*\.(?:key|keytab))$/;

const MAX_FILE = 8 * 1024 * 1024;
const MAX_TOTAL = 64 * 1024 * 1024;

export interface EtcEntry {
  readonly entry: TarEntryInput;
  readonly data?: Uint8Array;
}

/**
 * What everybody on this machine may read in /etc, as archive entries. Owners that this user namespace does not know
 * become root. Synchronous: hundreds of small files that are in the page cache would take ten times as long by other threads.
 *
 * @param root another directory, for tests.
 */
export function* hostEtc(root = "/etc"): Generator<EtcEntry, void, undefined> {
  const budget = { left: MAX_TOTAL };
  const overflow = Number(Deno.readTextFileSync("/proc/sys/kernel/overflowuid"));
  const owner = (id: number | null) => id === null || id === overflow ? 0 : id;
  function* walk(dir: string): Generator<EtcEntry, void, undefined> {
    const names = namesIn(`${root}/${dir}`).sort();
    for (const name of names) {
      const path = dir === "" ? name : `${dir}/${name}`;
      if (LEFT_OUT.has(path) || SECRET.test(path)) continue;
      let info: Deno.FileInfo;
      try {
        info = Deno.lstatSync(`${root}/${path}`);
      } catch {
        continue;
      }
      const mode = (info.mode ?? 0) & 0o1777;
      const mtime = [Math.floor((info.mtime?.getTime() ?? 0) / 1000), 0] as const;
      const common = { name: `etc/${path}`, mode, uid: owner(info.uid), gid: owner(info.gid), mtime };
      if (info.isSymlink) {
        const linkName = readLink(`${root}/${path}`);
        if (linkName !== undefined) yield { entry: { ...common, type: "symlink", linkName } };
      } else if (info.isDirectory && (mode & 0o005) === 0o005) {
        yield { entry: { ...common, type: "directory" } };
        yield* walk(path);
      } else if (info.isFile && (mode & 0o004) !== 0 && info.size <= Math.min(MAX_FILE, budget.left)) {
        const data = readFile(`${root}/${path}`);
        if (data === undefined) continue;
        budget.left -= data.length;
        yield { entry: { ...common, type: "file", size: data.length }, data };
      }
    }
  }
  yield* walk("");
}

/** None where something else than the mode keeps us out: a security module, a file system of its own. */
function namesIn(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)].map(({ name }) => name);
  } catch {
    return [];
  }
}

function readFile(path: string): Uint8Array | undefined {
  try {
    return Deno.readFileSync(path);
  } catch {
    return undefined;
  }
}

function readLink(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return undefined;
  }
}
