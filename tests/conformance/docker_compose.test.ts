/** Debian's docker-compose brings a project of three services up, changes it, and takes it down. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxEngine, call, COMPOSE } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { runAs, type RunResult, testDir, type User, usersToTest } from "../support/users.ts";

// The database serves its files: a web server is what busybox has.
const PROJECT = `
version: "2.4"
services:
  db:
    image: busybox
    command: sh -c 'echo db up; touch /data/ready; exec httpd -f -p 5432 -h /data'
    stop_signal: SIGKILL
    volumes: [data:/data, /scratch]
    networks: [back]
    healthcheck: {test: ["CMD", "test", "-f", "/data/ready"], interval: 0.2s, timeout: 5s, retries: 50}
  app:
    image: busybox
    command: sh -c 'mkdir /www; wget -q -O /www/index.html http://db:5432/ready && echo app has data; exec httpd -f -p 8080 -h /www'
    environment: {WORD: "\${WORD:-first}"}
    stop_signal: SIGKILL
    depends_on: {db: {condition: service_healthy}}
    networks: {back: {}, front: {aliases: [application]}}
    healthcheck: {test: ["CMD", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"], interval: 0.2s, timeout: 5s, retries: 50}
  web:
    image: busybox
    command: sh -c 'wget -q -O /dev/null http://application:8080/ && echo web has app; echo served >/index.html; exec httpd -f -p 80 -h /'
    stop_signal: SIGKILL
    depends_on: {app: {condition: service_healthy}}
    networks: [front]
    ports: ["127.0.0.1::80"]
volumes: {data: {}}
networks: {front: {}, back: {internal: true}}
`;

interface Container {
  Id: string;
  Names: string[];
  Labels: Record<string, string>;
  State: string;
}

describeWith(BUSYBOX, COMPOSE).each(usersToTest())("docker-compose as $name", (user: User) => {
  let engine: Engine;
  let dir: string;

  beforeAll(async () => {
    engine = await busyboxEngine({ user });
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "project" });
    Deno.chmodSync(dir, 0o755);
    Deno.writeTextFileSync(`${dir}/docker-compose.yml`, PROJECT);
  });
  afterAll(async () => {
    await compose(["down", "-v"]);
    await engine?.[Symbol.asyncDispose]();
  });

  const compose = (args: string[], env: Record<string, string> = {}): Promise<RunResult> =>
    runAs(user, ["docker-compose", "--ansi", "never", "-p", "shop", ...args], {
      cwd: dir,
      env: { DOCKER_HOST: engine.host, ...env },
      timeout: 100_000,
    });
  async function succeeds(args: string[], env: Record<string, string> = {}): Promise<RunResult> {
    const result = await compose(args, env);
    expect([result.code, args.join(" ")], result.stderr).toEqual([0, args.join(" ")]);
    return result;
  }
  async function containers(service?: string): Promise<Container[]> {
    const { body } = await call(engine.socket, "GET", "/containers/json?all=1");
    return (body as Container[]).filter(({ Labels }) =>
      service === undefined || Labels["com.docker.compose.service"] === service
    );
  }

  it("up waits for health, and the services reach each other by name", async () => {
    await succeeds(["up", "-d"]);
    expect((await containers()).map(({ Names, State }) => `${Names} ${State}`).sort()).toEqual([
      "/shop_app_1 running",
      "/shop_db_1 running",
      "/shop_web_1 running",
    ]);
    const { stdout } = await succeeds(["logs", "--no-color"]);
    expect(stdout).toMatch(/^db_1\s+\| db up$/m);
    expect(stdout).toMatch(/^app_1\s+\| app has data$/m);
    expect(stdout).toMatch(/^web_1\s+\| web has app$/m);
    const ps = (await succeeds(["ps"])).stdout;
    expect(ps).toMatch(/shop_app_1 .* Up \(healthy\)/);
    expect(ps).toMatch(/shop_web_1 .* 127\.0\.0\.1:\d+->80\/tcp/);
  });

  it("port, exec, run, top, and a published port that answers", async () => {
    const address = (await succeeds(["port", "web", "80"])).stdout.trim();
    expect(address).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(await (await fetch(`http://${address}/`)).text()).toBe("served\n");
    const exec = await compose(["exec", "-T", "app", "sh", "-c", "echo $WORD; exit 3"]);
    expect([exec.code, exec.stdout]).toEqual([3, "first\n"]);
    const unreachable = await compose(["exec", "-T", "web", "wget", "-q", "-T", "2", "http://db:5432/"]);
    expect(unreachable.code).not.toBe(0);
    expect((await succeeds(["run", "--rm", "app", "echo", "one-off"])).stdout).toContain("one-off");
    expect((await succeeds(["top", "db"])).stdout).toContain("httpd -f -p 5432");
  });

  it("a changed service is made anew, the others stay as they are", async () => {
    const before = await containers();
    await succeeds(["up", "-d"], { WORD: "second" });
    const after = await containers();
    const ids = (all: Container[], service: string) =>
      all.filter(({ Labels }) => Labels["com.docker.compose.service"] === service).map(({ Id }) => Id);
    expect(ids(after, "db")).toEqual(ids(before, "db"));
    expect(ids(after, "app")).not.toEqual(ids(before, "app"));
    expect(after.map(({ Names }) => Names[0]).sort()).toEqual(["/shop_app_1", "/shop_db_1", "/shop_web_1"]);
    expect((await compose(["exec", "-T", "app", "sh", "-c", "echo $WORD"])).stdout).toBe("second\n");
  });

  it("a container that is made anew keeps its volumes, anonymous ones too", async () => {
    await succeeds(["exec", "-T", "db", "sh", "-c", "echo kept | tee /data/file >/scratch/file"]);
    await succeeds(["up", "-d", "--force-recreate", "--no-deps", "db"]);
    expect((await succeeds(["exec", "-T", "db", "cat", "/data/file", "/scratch/file"])).stdout).toBe(
      "kept\nkept\n",
    );
  });

  it("scale, restart, kill, rm", async () => {
    await succeeds(["up", "-d", "--scale", "web=3"]);
    expect(await containers("web")).toHaveLength(3);
    const names = (await succeeds(["exec", "-T", "app", "nslookup", "-type=a", "web"])).stdout;
    expect(names.match(/^Address: \d/gm)).toHaveLength(3);
    await succeeds(["up", "-d", "--scale", "web=1"]);
    expect(await containers("web")).toHaveLength(1);
    await succeeds(["restart", "web"]);
    await succeeds(["kill", "web"]);
    expect((await containers("web")).map(({ State }) => State)).toEqual(["exited"]);
    await succeeds(["rm", "-f", "web"]);
    expect(await containers("web")).toEqual([]);
  });

  it("down -v leaves nothing", async () => {
    await succeeds(["down", "-v"]);
    expect(await containers()).toEqual([]);
    expect((await call(engine.socket, "GET", "/volumes")).body).toMatchObject({ Volumes: [] });
    expect((await call(engine.socket, "GET", '/networks?filters={"type":["custom"]}')).body).toEqual([]);
  });
});
