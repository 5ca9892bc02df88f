import { makeRunDirectory, removeRunDirectory, temporaryIn } from "./run_directory.ts";

/** Where Debian has nft, tc, rsyslogd and more of what tests compare with; the PATH of `su -` leaves them out. */
const SYSTEM_PROGRAMS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

function completePath(): void {
  const path = (Deno.env.get("PATH") ?? "/usr/bin:/bin").split(":");
  Deno.env.set("PATH", [...path, ...SYSTEM_PROGRAMS.filter((dir) => !path.includes(dir))].join(":"));
}

/**
 * Before all tests: a directory that every test user can enter, with a copy of dist/berth (the checkout itself may be
 * closed to others). It is handed to the tests in BERTH_TEST_DIR and removed at the end. Temporary files are in it as well, so that none stay.
 */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  completePath();
  if (Deno.env.get("BERTH_TEST_DIR")) return undefined;
  const dir = await makeRunDirectory();
  const built = new URL("../../dist/berth", import.meta.url);
  try {
    Deno.copyFileSync(built, `${dir}/berth`);
    Deno.chmodSync(`${dir}/berth`, 0o755);
  } catch (error) {
    // Unit tests need no executable; what needs it says so.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  Deno.env.set("BERTH_TEST_DIR", dir);
  Deno.env.set("TMPDIR", temporaryIn(dir));
  return () => removeRunDirectory(dir);
}
