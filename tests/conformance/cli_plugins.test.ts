/** buildx and compose v2 as plugins of berth's command line. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildkitClient, BUILDX } from "../support/buildkit_clients.ts";
import { busyboxEngine } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { type RunResult, testDir, type User, usersToTest } from "../support/users.ts";

const PROJECT = `services:
  web:
    image: busybox
    command: httpd -f -h /etc
    stop_grace_period: 200ms
    healthcheck: {test: wget -q -O /dev/null http://127.0.0.1/passwd, interval: 200ms, retries: 50}
  client:
    image: busybox
    command: sh -c "wget -q -O - http://web/passwd | head -1"
    depends_on: {web: {condition: service_healthy}}
`;

describeWith(BUSYBOX, BUILDX).each(usersToTest())("plugins of the command line as $name", (user: User) => {
  const { config } = buildkitClient();
  let engine: Engine;
  let dir: string;
  const berth = (...args: string[]): Promise<RunResult> =>
    engine.berth(args, { env: { DOCKER_CONFIG: config }, cwd: dir, timeout: 120_000 });

  beforeAll(async () => {
    engine = await busyboxEngine({ user });
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "plugins" });
    Deno.chmodSync(dir, 0o755);
    Deno.writeTextFileSync(`${dir}/compose.yaml`, PROJECT);
  });
  afterAll(() => engine?.[Symbol.asyncDispose]());

  it("berth buildx shows the engine as a builder", async () => {
    expect((await berth("buildx", "version")).stdout).toMatch(/^github\.com\/docker\/buildx /);
    const { code, stdout } = await berth("buildx", "inspect");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Driver:\s+docker$/m);
    expect(stdout).toMatch(/^Status:\s+running$/m);
  });

  it("berth compose brings a project up, shows it, and takes it down", async () => {
    const up = await berth("compose", "-p", "plug", "up", "--quiet-pull", "--exit-code-from", "client");
    expect(up.stderr + up.stdout).toContain("root:x:0:0");
    expect(up.code).toBe(0);
    const listed = await berth("compose", "-p", "plug", "ps", "-a", "--format", "{{.Service}} {{.State}}");
    expect(listed.stdout.trim().split("\n").map((line) => line.split(" ")[0]).sort()).toEqual([
      "client",
      "web",
    ]);
    const down = await berth("compose", "-p", "plug", "down", "-t", "1");
    expect(down.code).toBe(0);
    expect((await berth("ps", "-aq")).stdout).toBe("");
    const wrong = await berth("compose", "no-such-command");
    expect(wrong.code).not.toBe(0);
  });
});
