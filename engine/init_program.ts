/** `--init`: the small program that becomes PID 1, forwards signals and reaps. berth takes the machine's own. */
import { EngineError } from "../base/errors.ts";

/** Where distributions put one, best known first: Docker's own, tini, catatonit (podman's). */
const CANDIDATES = ["docker-init", "tini-static", "tini", "catatonit"].flatMap((name) =>
  ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/usr/libexec/docker", "/usr/libexec/podman"].map((
    dir,
  ) => `${dir}/${name}`)
);

const PT_INTERP = 3;

/** A static program has no interpreter segment, so it runs in a root file system without libraries. */
export function isStaticElf(bytes: Uint8Array): boolean {
  if (bytes.length < 64 || bytes[0] !== 0x7f || bytes[1] !== 0x45 || bytes[4] !== 2) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Elf64_Ehdr: e_phoff at 32, e_phentsize at 54, e_phnum at 56.
  const offset = Number(view.getBigUint64(32, true));
  const size = view.getUint16(54, true);
  const count = view.getUint16(56, true);
  for (let i = 0; i < count; i++) {
    const at = offset + i * size;
    if (at + 4 > bytes.length || view.getUint32(at, true) === PT_INTERP) return false;
  }
  return true;
}

/**
 * Host path of a static init program.
 *
 * @throws EngineError invalid, naming what to install.
 */
export function findInitProgram(candidates: readonly string[] = CANDIDATES): string {
  for (const path of candidates) {
    try {
      using file = Deno.openSync(path);
      // The program headers follow the ELF header: one page is more than enough.
      const head = new Uint8Array(4096);
      const length = file.readSync(head) ?? 0;
      if (isStaticElf(head.subarray(0, length))) return path;
    } catch {
      continue;
    }
  }
  throw new EngineError(
    "invalid",
    "no static init program found for --init (tini, docker-init or catatonit)",
    {
      hint: "Install one:  sudo apt-get install tini",
    },
  );
}
