/**
 * Suites and tests that need something of the machine. Where it is missing they are skipped, and the reason stands in
 * the summary at the end (summary_reporter.ts): `describe.skipIf` and `it.runIf` have no place for one.
 *
 *     describeWith(BUSYBOX).each(usersToTest())("… as $name", (user) => { … });
 *     itWith(ROOT)("…", async () => { … });
 */
import { describe, it, type TestContext } from "vitest";
import { hasBusybox } from "./busybox_image.ts";

declare module "vitest" {
  interface TaskMeta {
    /** Why the suite or the test is skipped. */
    skipReason?: string;
  }
}

export interface Need {
  /** What to say when it is not there; "" when it is. */
  readonly missing: string;
  /** Makes the tests findable by `vitest --tags-filter`. */
  readonly tag?: string;
}

/** Something that is `there`, or else the `reason` of the skip, with what to type against it. */
export function need(there: boolean, reason: string): Need {
  return { missing: there ? "" : reason };
}

/**
 * Owners of all ids, chroot, mounts. For an ordinary user scripts/test runs these in a second go, as root of a user
 * namespace with the user's subordinate ids; this reason remains where that cannot be made.
 */
export const ROOT: Need = {
  missing: Deno.uid() === 0
    ? ""
    : "needs root, or subordinate ids: sudo usermod --add-subuids … --add-subgids …",
  tag: "root",
};

/** What no user namespace gives: trusted.* attributes, the owners of the system's own files. */
export const MACHINE_ROOT: Need = need(
  Deno.uid() === 0 && /^\s*0\s+0\s+4294967295\s*$/.test(Deno.readTextFileSync("/proc/self/uid_map")),
  "needs the machine's root",
);

export const BUSYBOX: Need = need(
  hasBusybox(),
  "busybox-static is not installed: sudo apt-get install busybox-static",
);

/** Whether `program` is on PATH; a `package` of Debian's has it. */
export function program(name: string, debianPackage: string): Need {
  const there = new Deno.Command("sh", { args: ["-c", 'command -v "$1"', "sh", name] }).outputSync().success;
  return need(there, `${name} is not installed: sudo apt-get install ${debianPackage}`);
}

function optionsFor(needs: readonly Need[]) {
  const skipReason = needs.map(({ missing }) => missing).filter((text) => text !== "").join("; ");
  const tags = needs.flatMap(({ tag }) => tag ?? []);
  return { tags, ...(skipReason === "" ? {} : { skip: true, meta: { skipReason } }) };
}

/** `describe` and `describe.each` for tests with these needs. */
export function describeWith(...needs: Need[]) {
  const options = optionsFor(needs);
  const one = (name: string, body: () => void) => describe(name, options, body);
  const each = <T>(cases: readonly T[]) => (name: string, body: (value: T) => void) =>
    describe.each([...cases])(name, options, body as (...args: unknown[]) => void);
  return Object.assign(one, { each });
}

/** `it` for a test with these needs. */
export function itWith(...needs: Need[]) {
  const options = optionsFor(needs);
  return (name: string, body: (context: TestContext) => void | Promise<void>) => it(name, options, body);
}
