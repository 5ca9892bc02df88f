/** Debian's registry, to pull from. */

import { runAs, spawnAs, type User } from "../tests/support/users.ts";

export interface LocalRegistry extends AsyncDisposable {
  /** `127.0.0.1:5000` */
  readonly host: string;
}

/** A registry on a free port of loopback, with its files in `dir`; undefined when there is none here. */
export async function startRegistry(user: User, dir: string): Promise<LocalRegistry | undefined> {
  if ((await runAs(user, ["sh", "-c", "command -v docker-registry"])).code !== 0) return undefined;
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const host = `127.0.0.1:${port}`;
  await runAs(user, ["mkdir", "-p", `${dir}/registry`]);
  const config = `${dir}/registry.yml`;
  await Deno.writeTextFile(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${dir}/registry}, delete: {enabled: true}}\nhttp: {addr: "${host}"}\n`,
  );
  const child = spawnAs(user, ["docker-registry", "serve", config], { stdout: "null", stderr: "null" });
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      const answer = await fetch(`http://${host}/v2/`);
      await answer.body?.cancel();
      if (answer.ok) break;
    } catch {
      // not listening yet
    }
    if (performance.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error("the registry does not answer");
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    host,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}
