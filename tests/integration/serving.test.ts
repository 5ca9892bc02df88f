/** Where and how the engine serves: TLS, socket activation, a service manager, the socket that clients probe. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { berthExecutable, startEngine } from "../support/engine.ts";
import { describeWith } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { makeShortDirectory } from "../support/run_directory.ts";
import { currentUser, runAs, spawnAs, testDir, usersToTest } from "../support/users.ts";
import { lexists } from "../../base/exists.ts";

const certificates = () => `${testDir()}/tls`;

/** An authority, certificates for server and client, and a client of somebody else's. */
async function makeCertificates(): Promise<void> {
  const script = `
    set -e; umask 022; mkdir "$1"; cd "$1"
    new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for ca in ca other-ca; do openssl req -x509 $new -days 2 -subj /CN=$ca -keyout $ca-key.pem -out $ca.pem; done
    sign() {
      openssl req $new -subj "/CN=$1" -keyout "$1-key.pem" -out "$1.csr"
      printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nextendedKeyUsage=%s\\n' "$2" >"$1.ext"
      openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3-key.pem" -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.pem"
    }
    sign server serverAuth ca; sign client clientAuth ca; sign stranger clientAuth other-ca
    mkdir client; cp ca.pem client/ca.pem; cp client.pem client/cert.pem; cp client-key.pem client/key.pem
    chmod 644 *.pem client/*.pem`;
  const { code, stderr } = await runAs(currentUser(), ["sh", "-c", script, "sh", certificates()]);
  if (code !== 0) throw new Error(stderr);
}

beforeAll(async () => await makeCertificates());
afterAll(async () => await Deno.remove(certificates(), { recursive: true }));

/** A port that nobody has at the moment. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

const serverFlags = () => [
  "--tlsverify",
  `--tlscacert=${certificates()}/ca.pem`,
  `--tlscert=${certificates()}/server.pem`,
  `--tlskey=${certificates()}/server-key.pem`,
];

describeWith().each(usersToTest())("an engine of $name", (user) => {
  it("serves TLS to those whose certificate it knows, docker and berth, with streams and half-closes", async () => {
    const port = freePort();
    await using engine = await startEngine({
      user,
      args: ["-H", `tcp://127.0.0.1:${port}`, ...serverFlags()],
    });
    const host = `tcp://127.0.0.1:${port}`;
    const flags = (name: string, ca = "ca") => [
      "--tlsverify",
      `--tlscacert=${certificates()}/${ca}.pem`,
      `--tlscert=${certificates()}/${name}.pem`,
      `--tlskey=${certificates()}/${name}-key.pem`,
    ];
    const env = { DOCKER_HOST: host, DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: `${certificates()}/client` };
    for (const program of ["docker", berthExecutable()]) {
      const run = (args: string[], options = {}) => runAs(user, [program, ...args], options);
      const cat = ["run", "--rm", "-i", "berth/host", "sh", "-c", "wc -c; echo end"];
      const input = "x".repeat(300_000);
      const asked = await run(["-H", host, ...flags("client"), ...cat], { stdin: input });
      expect([asked.stdout, asked.stderr]).toEqual(["300000\nend\n", ""]);
      expect((await run(["ps", "-q"], { env })).code).toBe(0);
      const stranger = await run(["-H", host, ...flags("stranger"), "ps"]);
      expect(stranger.code).toBe(1);
      expect(stranger.stderr).toContain("error during connect");
      const impostor = await run(["-H", host, ...flags("client", "other-ca"), "ps"]);
      expect(impostor.code).toBe(1);
      expect(impostor.stderr).toMatch(/certificate|UnknownIssuer/);
    }
    await expect(fetch(`http://127.0.0.1:${port}/_ping`)).rejects.toThrow();
    const { stdout } = await engine.docker(["info", "--format", "{{json .Warnings}}"]);
    expect(stdout).not.toContain("API is accessible");
  });

  it("takes over sockets of socket activation, also beside a container of an engine before", async () => {
    await using engine = await startEngine({ user });
    const started = await engine.docker(["run", "-d", "--name", "cc", "berth/host", "sleep", "1000"]);
    expect(started.stderr).toBe("");
    await engine.stop();
    const socket = `${engine.dir}/activated.sock`;
    const port = freePort();
    const child = spawnAs(user, [
      "systemd-socket-activate",
      "-l",
      socket,
      "-l",
      `127.0.0.1:${port}`,
      "--fdname=a:b",
      berthExecutable(),
      "serve",
      ...["-H", "fd://b", "-H", "fd://a", "--tls=false"],
      ...["--data-root", engine.dataRoot, "--exec-root", engine.execRoot],
    ], { stdout: "null", stderr: "null" });
    try {
      await waitFor(() => lexists(socket), 10_000, () => "systemd-socket-activate does not listen");
      const docker = (host: string, ...args: string[]) => runAs(user, ["docker", "-H", host, ...args]);
      // This first connection is what starts the engine.
      expect((await docker(`unix://${socket}`, "ps", "--format", "{{.Names}}")).stdout).toBe("cc\n");
      expect((await docker(`tcp://127.0.0.1:${port}`, "ps", "--format", "{{.Names}}")).stdout).toBe("cc\n");
      const inside = await docker(
        `unix://${socket}`,
        ...["exec", "cc", "sh", "-c", "env | grep -c ^LISTEN; ls /proc/self/fd | wc -l"],
      );
      expect(inside.stdout).toBe("0\n4\n");
    } finally {
      child.kill("SIGTERM");
      await child.status;
    }
    // systemd's socket is systemd's: it stays.
    expect(lexists(socket)).toBe(true);
    await engine.restart();
  });

  it("tells a service manager when it is ready, reloads and stops", async () => {
    const dir = makeShortDirectory("n");
    Deno.chownSync(dir, user.uid, user.gid);
    const [path, file] = [`${dir}/notify`, `${dir}/said`];
    const listener = spawnAs(user, ["socat", "-u", `UNIX-RECV:${path}`, `OPEN:${file},creat,append`], {
      stdout: "null",
      stderr: "null",
    });
    const said = () => lexists(file) ? Deno.readTextFileSync(file) : "";
    try {
      await waitFor(() => lexists(path), 10_000, () => "socat does not listen");
      await using engine = await startEngine({ user, env: { NOTIFY_SOCKET: path } });
      await waitFor(() => said().includes(`READY=1\n`), 10_000, said);
      expect(said()).toContain(`MAINPID=${engine.pid}\n`);
      const { stdout } = await engine.docker([
        "run",
        "--rm",
        "berth/host",
        "sh",
        "-c",
        "env; cat /proc/1/environ",
      ]);
      expect(stdout).not.toContain("NOTIFY_SOCKET");
      Deno.kill(engine.pid, "SIGHUP");
      await waitFor(() => /RELOADING=1\nMONOTONIC_USEC=\d+\nREADY=1\n/.test(said()), 10_000, said);
      await engine.stop();
      await waitFor(() => said().includes("STOPPING=1\n"), 10_000, said);
    } finally {
      listener.kill("SIGTERM");
      await listener.status;
      Deno.removeSync(dir, { recursive: true });
    }
  });

  it("refuses TCP that lets in whoever reaches it, in words that say what to do", async () => {
    const dir = makeShortDirectory("r");
    Deno.chownSync(dir, user.uid, user.gid);
    try {
      const serve = (...args: string[]) =>
        runAs(user, [
          berthExecutable(),
          "serve",
          ...["--data-root", `${dir}/d`, "--exec-root", `${dir}/e`],
          ...args,
        ]);
      const tls = serverFlags().filter((flag) => flag !== "--tlsverify");
      for (
        const [args, words] of [
          [["-H", "tcp://127.0.0.1:0"], "every user and program of this machine"],
          [["-H", "tcp://0.0.0.0:0", "--tls=false"], "without TLS and certificates of clients"],
          [["-H", "tcp://0.0.0.0:0", "--tls", ...tls], "without TLS and certificates of clients"],
          [
            ["-H", "tcp://127.0.0.1:0", "--tlsverify", "--tlscert=/nonexistent"],
            "could not read certificate",
          ],
          [["-H", "fd://"], "no sockets found via socket activation"],
        ] as const
      ) {
        const { code, stderr } = await serve(...args);
        expect([code, stderr.includes(words) ? words : stderr]).toEqual([125, words]);
      }
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  });
});

describe("the socket that Docker's clients probe", () => {
  const user = usersToTest()[0] ?? currentUser();
  it.skipIf(user.uid === 0)("is there beside the default one, and goes with the engine", async () => {
    const dir = makeShortDirectory("p");
    Deno.chownSync(dir, user.uid, user.gid);
    const env = { XDG_RUNTIME_DIR: dir, HOME: dir, XDG_DATA_HOME: `${dir}/data` };
    const child = spawnAs(user, [berthExecutable(), "serve", "--shim-pool", "0"], {
      env,
      stdout: "null",
      stderr: "null",
    });
    try {
      await waitFor(() => lexists(`${dir}/docker.sock`), 20_000, () => "no docker.sock");
      expect((Deno.statSync(`${dir}/docker.sock`).mode ?? 0) & 0o777).toBe(0o660);
      expect((Deno.statSync(`${dir}/berth`).mode ?? 0) & 0o777).toBe(0o700);
      const { code } = await runAs(user, ["docker", "-H", `unix://${dir}/docker.sock`, "ps"]);
      expect(code).toBe(0);
    } finally {
      child.kill("SIGTERM");
      expect((await child.status).code).toBe(0);
    }
    expect(lexists(`${dir}/docker.sock`)).toBe(false);
    Deno.removeSync(dir, { recursive: true });
  });
});
