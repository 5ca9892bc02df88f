/**
 * Where a run of the tests has its files: one directory, `BERTH_TEST_DIR`, and a few beside it whose paths have to be shorter. All of it goes at
 * the end; what a killed run has left goes when the same user's next run begins, with the processes that still use it.
 */
import { identify, isAlive, type ProcessIdentity } from "../../base/process_identity.ts";
import { leftovers, waitFor } from "./processes.ts";
import { currentUser, runAs, testDir } from "./users.ts";
import { lexists } from "../../base/exists.ts";

const ROOT = "/tmp";
const PREFIX = "bt-";
/** In the directory: who runs the tests (JSON of a ProcessIdentity). */
const OWNER = "owner";
/** In the directory: paths of the others, one a line. */
const ELSEWHERE = "elsewhere";

/** Makes the directory, every test user's to enter, and the one for temporary files in it. */
export async function makeRunDirectory(): Promise<string> {
  await sweep();
  // Short, because paths of unix sockets below it must stay below 100 bytes.
  const dir = Deno.makeTempDirSync({ dir: ROOT, prefix: PREFIX });
  Deno.writeTextFileSync(`${dir}/${OWNER}`, JSON.stringify(identify(Deno.pid)));
  Deno.chmodSync(dir, 0o755);
  Deno.mkdirSync(temporaryIn(dir));
  Deno.chmodSync(temporaryIn(dir), 0o1777);
  return dir;
}

/** TMPDIR of the tests. */
export const temporaryIn = (dir: string): string => `${dir}/t`;

/** A directory with the shortest path that can be had: for what has sockets far below it. Whoever makes it removes it. */
export function makeShortDirectory(prefix: string): string {
  const path = Deno.makeTempDirSync({ dir: ROOT, prefix });
  Deno.writeTextFileSync(`${testDir()}/${ELSEWHERE}`, `${path}\n`, { append: true });
  return path;
}

/** What the tests of a run have made and not removed. */
export function leftBehind(dir: string): string[] {
  const temporary = temporaryIn(dir);
  const names = lexists(temporary) ? [...Deno.readDirSync(temporary)].map(({ name }) => name) : [];
  return [...names.map((name) => `${temporary}/${name}`), ...elsewhere(dir).filter(lexists)];
}

/** Removes a run's directories, whoever's files are in them. */
export async function removeRunDirectory(dir: string): Promise<void> {
  // The list goes last: a removal that is cut short is continued by the next run.
  for (const path of elsewhere(dir)) if (lexists(path)) await removeTree(path);
  await removeTree(dir);
}

/** Ends and removes what killed runs of this user have left. */
async function sweep(): Promise<void> {
  for (const { name } of Deno.readDirSync(ROOT)) {
    const dir = `${ROOT}/${name}`;
    if (!name.startsWith(PREFIX) || !abandoned(dir)) continue;
    for (const path of [dir, ...elsewhere(dir)]) {
      for (const { pid } of leftovers(path)) {
        try {
          Deno.kill(pid, "SIGKILL");
        } catch {
          // It has ended, or is another user's.
        }
      }
      await waitFor(() => leftovers(path).length === 0, 5_000).catch(() => {});
    }
    await removeRunDirectory(dir).catch((error: Error) => console.error(`${dir} stays: ${error.message}`));
  }
}

/** Made by this user, for a run that has ended. */
function abandoned(dir: string): boolean {
  try {
    if (Deno.lstatSync(dir).uid !== Deno.uid()) return false;
    return !isAlive(JSON.parse(Deno.readTextFileSync(`${dir}/${OWNER}`)) as ProcessIdentity);
  } catch {
    return false;
  }
}

function elsewhere(dir: string): string[] {
  try {
    return Deno.readTextFileSync(`${dir}/${ELSEWHERE}`).split("\n").filter((line) =>
      line.startsWith(`${ROOT}/`)
    );
  } catch {
    return [];
  }
}

/** Files of subordinate ids can be removed by root, or in a user namespace that maps them. */
export async function removeTree(dir: string): Promise<void> {
  try {
    await Deno.remove(dir, { recursive: true });
  } catch (error) {
    if (Deno.uid() === 0) throw error;
    const inside = ["unshare", "--user", "--map-root-user", "--map-auto", "--", "rm", "-rf", dir];
    const { code, stderr } = await runAs(currentUser(), inside, { cwd: "/" });
    if (code !== 0) throw new Error(`cannot remove ${dir}: ${stderr}`);
  }
}
