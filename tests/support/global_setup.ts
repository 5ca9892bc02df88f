import { removeTree } from "./engine.ts";

/**
 * Before all tests: a directory that every test user can enter, with a copy of dist/berth (the checkout itself may be
 * closed to others). It is handed to the tests in BERTH_TEST_DIR and removed at the end.
 */
export default function setup(): (() => Promise<void>) | undefined {
  if (Deno.env.get("BERTH_TEST_DIR")) return undefined;
  // Short, because paths of unix sockets below it must stay below 100 bytes.
  const dir = Deno.makeTempDirSync({ dir: "/tmp", prefix: "bt-" });
  Deno.chmodSync(dir, 0o755);
  const built = new URL("../../dist/berth", import.meta.url);
  try {
    Deno.copyFileSync(built, `${dir}/berth`);
    Deno.chmodSync(`${dir}/berth`, 0o755);
  } catch (error) {
    // Unit tests need no executable; what needs it says so.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  Deno.env.set("BERTH_TEST_DIR", dir);
  return () => removeTree(dir);
}
