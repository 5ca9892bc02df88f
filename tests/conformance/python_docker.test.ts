/** Debian's python3-docker, by which Ansible and many scripts work: one program that fails at its first surprise. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxEngine, PYTHON, PYTHON_DOCKER } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { runAs, type User, usersToTest } from "../support/users.ts";

const PROGRAM = Deno.readTextFileSync(new URL("python_docker.py", import.meta.url));

describeWith(BUSYBOX, PYTHON_DOCKER).each(usersToTest())("python3-docker as $name", (user: User) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await busyboxEngine({ user });
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  // What it speaks by itself, the oldest that it passes an exec's environment to, and the newest that there is.
  it.each(["1.41", "1.25", "auto"])("does everything with API %s", async (version) => {
    const { code, stdout, stderr } = await runAs(user, [PYTHON, "-c", PROGRAM, engine.host, version]);
    expect([code, stderr, stdout]).toEqual([0, "", "all good\n"]);
  });
});
