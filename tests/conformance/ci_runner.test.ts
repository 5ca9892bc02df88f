/** What CI runners do: the command lines of GitHub's runner for a job in a container, and act's requests for the same. */
import { Buffer } from "node:buffer";
import { PassThrough } from "node:stream";
import { finished } from "node:stream/promises";
import Docker from "dockerode";
import { afterAll, beforeAll, expect, it } from "vitest";
import { tarArchive } from "../../fs/tar/mod.ts";
import { busyboxArchive } from "../support/busybox_image.ts";
import { DOCKER } from "../support/conformance.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { file } from "../support/image_archive.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { testDir, usersToTest } from "../support/users.ts";

const LABEL = "6fe5c2";

describeWith(BUSYBOX, DOCKER).each(usersToTest())("CI runners as $name", (user) => {
  let engine: Engine;
  let work: string;
  beforeAll(async () => {
    engine = await startEngine({ user });
    expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    work = Deno.makeTempDirSync({ dir: testDir(), prefix: "work-" });
    Deno.writeTextFileSync(`${work}/step.sh`, 'echo "in $GITHUB_JOB at $PWD"; test "$CI" = true; exit 3\n');
    Deno.chownSync(work, user.uid, user.gid);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  it("GitHub's runner: network, service, job container, steps by exec, and everything removed by its label", async () => {
    const docker = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await engine.docker(args);
      expect([code, stderr], args.join(" ")).toEqual([0, ""]);
      return stdout.trim();
    };
    const network = `github_network_${LABEL}`;
    expect(await docker("version", "--format", "{{.Server.APIVersion}}")).toMatch(/^1\.\d+$/);
    expect(await docker("ps", "--all", "--quiet", "--no-trunc", "--filter", `label=${LABEL}`)).toBe("");
    await docker("network", "prune", "--force", "--filter", `label=${LABEL}`);
    await docker("network", "create", "--label", LABEL, network);
    const service = await docker(
      ...[
        "create",
        "--name",
        `svc_${LABEL}`,
        "--label",
        LABEL,
        "--network",
        network,
        "--network-alias",
        "web",
      ],
      ...[
        "--health-cmd",
        "true",
        "--health-interval",
        "1s",
        "-p",
        "8080",
        "-e",
        "GITHUB_ACTIONS=true",
        "-e",
        "CI=true",
      ],
      ...["busybox", "sh", "-c", "mkdir /w; echo served > /w/index.html; exec httpd -f -p 8080 -h /w"],
    );
    await docker("start", service);
    const job = await docker(
      ...[
        "create",
        "--name",
        `job_${LABEL}`,
        "--label",
        LABEL,
        "--workdir",
        "/__w/repo",
        "--network",
        network,
      ],
      ...["-e", "HOME=/github/home", "-e", "GITHUB_ACTIONS=true", "-e", "CI=true"],
      ...["-v", "/var/run/docker.sock:/var/run/docker.sock", "-v", `${work}:/__w`, "-v", `${work}:/__e:ro`],
      ...["--entrypoint", "tail", "busybox", "-f", "/dev/null"],
    );
    await docker("start", job);
    for (const id of [service, job]) {
      const listed = await docker(
        ...["ps", "--all", "--filter", `id=${id}`, "--filter", "status=running", "--no-trunc"],
        ...["--format", "{{.ID}} {{.Status}}"],
      );
      expect(listed).toMatch(new RegExp(`^${id} Up `));
    }
    expect(await docker("inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", job)).toContain(
      "CI=true",
    );
    await expect.poll(
      () =>
        docker(
          "inspect",
          "--format",
          "{{if .Config.Healthcheck}}{{print .State.Health.Status}}{{end}}",
          service,
        ),
      { timeout: 20_000 },
    ).toBe("healthy");
    expect(await docker("port", service)).toMatch(/^8080\/tcp -> 0\.0\.0\.0:\d+/);
    const step = await engine.docker([
      ...["exec", "-i", "--workdir", "/__w", "-e", "GITHUB_JOB=build", job, "sh", "-e", "/__w/step.sh"],
    ]);
    expect([step.code, step.stdout]).toEqual([3, "in build at /__w\n"]);
    expect(await docker("exec", job, "wget", "-q", "-O", "-", "http://web:8080/")).toBe("served");
    expect(await docker("logs", "--details", service)).toBe("");
    for (const id of [job, service]) expect(await docker("rm", "--force", id)).toBe(id);
    await docker("network", "rm", network);
    expect(await docker("network", "ls", "-q", "--filter", `label=${LABEL}`)).toBe("");
  });

  it("act: volumes, files put into a container that does not run, steps by exec, and removal with volumes", async () => {
    const docker = new Docker({ socketPath: engine.socket });
    const info = await docker.info() as { OSType: string; Architecture: string };
    expect([info.OSType, info.Architecture]).toEqual(["linux", expect.stringMatching(/x86_64|aarch64/)]);
    await expect(docker.getImage("nobody/nothing:1").inspect()).rejects.toMatchObject({ statusCode: 404 });
    const container = await docker.createContainer({
      name: "act-build",
      Image: "busybox",
      Entrypoint: ["tail", "-f", "/dev/null"],
      WorkingDir: "/work/of/mine",
      Env: ["RUNNER_TOOL_CACHE=/opt/hostedtoolcache", "LANG=C.UTF-8"],
      Tty: false,
      HostConfig: {
        Binds: ["/var/run/docker.sock:/var/run/docker.sock"],
        Mounts: [{ Type: "volume", Source: "act-toolcache", Target: "/toolcache" }],
        NetworkMode: "host",
        Privileged: false,
        UsernsMode: "",
      },
      platform: "",
    } as Docker.ContainerCreateOptions);
    const step = "echo $0 $STEP; echo to-env > /act/env\n";
    const archive = tarArchive([file("act/step", step, { mode: 0o755 })]);
    await container.putArchive(Buffer.from(archive), { path: "/" });
    await container.start();
    await container.putArchive(Buffer.from(archive), { path: "/toolcache" });
    const exec = await container.exec({
      Cmd: ["sh", "/toolcache/act/step"],
      Env: ["STEP=one"],
      WorkingDir: "/work/of/mine",
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await exec.start({});
    const out = new PassThrough();
    let text = "";
    out.on("data", (data: Buffer) => text += data.toString());
    docker.modem.demuxStream(stream, out, out);
    await finished(stream, { writable: false });
    expect([text, (await exec.inspect()).ExitCode]).toEqual(["/toolcache/act/step one\n", 0]);
    const written = await container.getArchive({ path: "/act/env" });
    let tar = "";
    for await (const chunk of written) tar += String(chunk);
    expect(tar).toContain("to-env");
    await container.remove({ force: true, v: true });
    await docker.getVolume("act-toolcache").remove({ force: true });
    await docker.getVolume("act-toolcache").remove({ force: true }).catch(({ statusCode }) =>
      expect(statusCode).toBe(404)
    );
  });
});
