/** Pull, push and login through an engine, against Debian's docker-registry, by docker's command line and by berth's. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { LOOPBACK_NAME, loopbackName, makeCertificates, REGISTRY, Registry } from "../support/registry.ts";
import { runAs, type RunResult, testDir, type User, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith, itWith, program } from "../support/needs.ts";

const DOCKER = program("docker", "docker.io");
const SKOPEO = program("skopeo", "skopeo");
const secureName = loopbackName();

type Cli = (...args: string[]) => Promise<RunResult>;

describeWith(REGISTRY, BUSYBOX, DOCKER).each(usersToTest())("registry on loopback as $name", (user: User) => {
  let engine: Engine;
  let registry: Registry;
  let dir: string;
  let docker: Cli;
  let berth: Cli;

  beforeAll(async () => {
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "peers-" });
    Deno.chmodSync(dir, 0o755);
    registry = await Registry.start({ dir });
    engine = await startEngine({ user });
    const home = `${dir}/home`;
    Deno.mkdirSync(home);
    Deno.chownSync(home, user.uid, user.gid);
    const env = { HOME: home };
    docker = (...args) => engine.docker(args, { env });
    berth = (...args) => engine.berth(args, { env });
    const archive = await busyboxArchive(dir);
    expect((await docker("load", "-i", archive)).stdout).toContain("busybox:latest");
    expect((await docker("tag", "busybox", `${registry.host}/library/busybox:1`)).code).toBe(0);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    Deno.removeSync(dir, { recursive: true });
  });

  const digestIn = (text: string): string => /digest: (sha256:[0-9a-f]{64})/i.exec(text)?.[1] ?? "";
  const lines = (text: string): string[] => text.trim().split("\n");

  it("push, remove, pull and run with either command line; pushing again sends nothing", async () => {
    const name = `${registry.host}/library/busybox:1`;
    const id = (await docker("image", "inspect", "-f", "{{.Id}}", name)).stdout.trim();
    for (const cli of [docker, berth]) {
      const first = await cli("push", name);
      expect(first.stderr).toBe("");
      expect(first.stdout).toMatch(
        new RegExp(
          `^The push refers to repository \\[${registry.host}/library/busybox\\]\n[0-9a-f]{12}: Preparing\n`,
        ),
      );
      const again = await cli("push", name);
      expect(again.stdout).toContain(": Layer already exists\n");
      expect(again.stdout).not.toContain("Pushed");
      expect(digestIn(again.stdout)).toBe(digestIn(first.stdout));
      expect((await cli("rmi", "-f", id)).code).toBe(0);
      const pulled = await cli("pull", name);
      expect(lines(pulled.stdout)).toEqual([
        "1: Pulling from library/busybox",
        expect.stringMatching(/^[0-9a-f]{12}: Pulling fs layer$/),
        expect.stringMatching(/^[0-9a-f]{12}: Verifying Checksum$/),
        expect.stringMatching(/^[0-9a-f]{12}: Download complete$/),
        expect.stringMatching(/^[0-9a-f]{12}: Pull complete$/),
        `Digest: ${digestIn(first.stdout)}`,
        `Status: Downloaded newer image for ${name}`,
        name,
      ]);
      expect((await cli("pull", "-q", name)).stdout).toBe(`${name}\n`);
      expect((await cli("image", "inspect", "-f", "{{.Id}}", name)).stdout.trim()).toBe(id);
      expect((await cli("run", "--rm", name, "echo", "hi")).stdout).toBe("hi\n");
    }
  });

  it("by digest, all tags, unknown tags, --pull, and what a registry does not have", async () => {
    const base = `${registry.host}/many/busybox`;
    for (const tag of ["a", "b"]) await docker("tag", `${registry.host}/library/busybox:1`, `${base}:${tag}`);
    const pushed = await berth("push", "-a", base);
    expect(pushed.stdout).toContain("Mounted from library/busybox");
    expect(pushed.stdout).toMatch(/^a: digest: .*\n(?:.*\n)*b: digest: /m);
    const digest = digestIn(pushed.stdout);
    await docker("rmi", `${base}:a`, `${base}:b`);
    expect((await docker("pull", "-a", base)).stdout).toContain(`Downloaded newer image for ${base}:b`);
    expect((await docker("pull", `${base}@${digest}`)).stdout).toContain(`Pulling from many/busybox`);
    const unknown = await berth("pull", `${base}:zzz`);
    expect(unknown).toMatchObject({
      code: 1,
      stderr:
        `Error response from daemon: manifest for ${base}:zzz not found: manifest unknown: manifest unknown\n`,
    });
    expect((await docker("pull", `${base}:zzz`)).stderr).toBe(unknown.stderr);
    await docker("rmi", `${base}:a`, `${base}:b`);
    for (const cli of [docker, berth]) {
      await cli("rmi", `${base}:a`);
      const run = await cli("run", "--rm", `${base}:a`, "echo", "pulled");
      expect(run).toMatchObject({ code: 0, stdout: "pulled\n" });
      expect(run.stderr).toContain(
        `Unable to find image '${base}:a' locally\na: Pulling from many/busybox\n`,
      );
      expect((await cli("run", "--rm", "--pull=always", "-q", `${base}:a`, "true")).code).toBe(0);
      expect((await cli("run", "--rm", "--pull=never", `${base}:nope`, "true")).code).toBe(125);
      const search = await cli("search", `${registry.host}/x`);
      expect(search.stderr).toContain("search is not available");
    }
  });

  it("docker manifest sees what was pushed; the host's image is refused", async () => {
    const name = `${registry.host}/library/busybox:1`;
    const inspected = await docker("manifest", "inspect", "--insecure", name);
    expect(JSON.parse(inspected.stdout)).toMatchObject({
      schemaVersion: 2,
      config: { size: expect.any(Number) },
    });
    await docker("tag", "berth/host", `${registry.host}/host:1`);
    const refused = await docker("push", `${registry.host}/host:1`);
    expect(refused.stderr).toContain("cannot be pushed: it is made of this machine's own");
  });

  itWith(SKOPEO)("skopeo and berth understand each other", async () => {
    const skopeo = async (...args: string[]) => {
      const run = await runAs(user, ["skopeo", "--insecure-policy", ...args]);
      expect(run.stderr).toBe("");
      return run.stdout;
    };
    const source = `${registry.host}/library/busybox:1`;
    const layout = `oci:${engine.dir}/layout:busybox`;
    await skopeo("copy", "-q", "--src-tls-verify=false", `docker://${source}`, layout);
    await skopeo(
      "copy",
      "-q",
      "--dest-tls-verify=false",
      layout,
      `docker://${registry.host}/from/skopeo:oci`,
    );
    const id = (await docker("image", "inspect", "-f", "{{.Id}}", source)).stdout.trim();
    expect((await docker("pull", "-q", `${registry.host}/from/skopeo:oci`)).code).toBe(0);
    const rootfs = (name: string) => docker("image", "inspect", "-f", "{{json .RootFS.Layers}}", name);
    expect((await rootfs(`${registry.host}/from/skopeo:oci`)).stdout).toBe((await rootfs(id)).stdout);
    const archive = `docker-archive:${engine.dir}/by-skopeo.tar:by/skopeo:1`;
    await skopeo("copy", "-q", "--src-tls-verify=false", `docker://${source}`, archive);
    expect((await docker("load", "-i", `${engine.dir}/by-skopeo.tar`)).stdout).toContain("by/skopeo:1");
    expect((await docker("run", "--rm", "by/skopeo:1", "echo", "in")).stdout).toBe("in\n");
  });
});

describeWith(REGISTRY, BUSYBOX, DOCKER, LOOPBACK_NAME)("registry with TLS and passwords", () => {
  const name = secureName ?? "";
  const user = usersToTest()[0] ?? { name: "root", uid: 0, gid: 0 };
  let dir: string;

  const setUp = async (clientCertificates: boolean) => {
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "tls-" });
    Deno.chmodSync(dir, 0o755);
    const certificates = makeCertificates(dir, name);
    const { authority, server, client } = certificates;
    const tls = { ...server, ...(clientCertificates ? { clientAuthority: authority } : {}) };
    const registry = await Registry.start({ dir, address: name, tls, users: { me: "s3cret" } });
    const home = `${dir}/home`;
    const trusted = `${dir}/config/certs.d/${registry.host}`;
    Deno.mkdirSync(home);
    Deno.chownSync(home, user.uid, user.gid);
    Deno.mkdirSync(trusted, { recursive: true });
    Deno.writeTextFileSync(`${dir}/config/daemon.json`, "{}");
    const engine = await startEngine({ user, args: ["--config-file", `${dir}/config/daemon.json`] });
    const trust = () => {
      Deno.copyFileSync(authority, `${trusted}/ca.crt`);
      if (!clientCertificates) return;
      Deno.copyFileSync(client.cert, `${trusted}/client.cert`);
      Deno.copyFileSync(client.key, `${trusted}/client.key`);
      Deno.chmodSync(`${trusted}/client.key`, 0o644);
    };
    const cli = (program: "docker" | "berth") => (args: string[], stdin?: string) =>
      engine[program](args, { env: { HOME: home }, ...(stdin === undefined ? {} : { stdin }) });
    return { registry, engine, home, trust, docker: cli("docker"), berth: cli("berth") };
  };

  it.each([false, true])(
    "own authority, client certificates %s, login and logout",
    async (clientCertificates) => {
      const { registry, engine, home, trust, docker, berth } = await setUp(clientCertificates);
      try {
        const image = `${registry.host}/private/host:1`;
        await docker(["load", "-i", await busyboxArchive(dir, { reference: image })]);
        const untrusted = await berth(["push", image]);
        expect(untrusted.stderr).toMatch(/certificate|UnknownIssuer|handshake/i);
        trust();
        expect((await docker(["push", image])).stderr).toMatch(/no basic auth credentials/);
        for (const cli of [docker, berth]) {
          const wrong = await cli(["login", "-u", "me", "--password-stdin", registry.host], "wrong");
          expect(wrong.code).toBe(1);
          expect(wrong.stderr).toMatch(/unauthorized|401/);
          const right = await cli(["login", "-u", "me", "--password-stdin", registry.host], "s3cret\n");
          expect(right).toMatchObject({ code: 0, stdout: "Login Succeeded\n" });
          const file = `${home}/.docker/config.json`;
          expect((Deno.statSync(file).mode ?? 0) & 0o777).toBe(0o600);
          expect(JSON.parse(Deno.readTextFileSync(file)).auths[registry.host]).toEqual({
            auth: btoa("me:s3cret"),
          });
          // the other one is logged in as well
          for (const other of [docker, berth]) {
            expect((await other(["push", image])).code).toBe(0);
            expect((await other(["rmi", image])).code).toBe(0);
            expect((await other(["pull", image])).code).toBe(0);
          }
          const out = await cli(["logout", registry.host]);
          expect(out.stdout).toBe(`Removing login credentials for ${registry.host}\n`);
          expect((await cli(["pull", image])).stderr).toContain("no basic auth credentials");
        }
      } finally {
        await engine[Symbol.asyncDispose]();
        await registry[Symbol.asyncDispose]();
        Deno.removeSync(dir, { recursive: true });
      }
    },
  );
});
