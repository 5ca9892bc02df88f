/** Log drivers that hand lines on: syslog with rsyslogd, journald's protocol, gelf, fluentd, splunk. And `docker logs` of each. */
import { createSocket } from "node:dgram";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { spawnAs, testDir, type User, usersToTest } from "../support/users.ts";

const DOCKER = program("docker", "docker.io");
const TWO_STREAMS = "echo out; echo err >&2";

/** A directory that the user may write into. */
function ownDirectory(user: User): string {
  const dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "log-" });
  Deno.chownSync(dir, user.uid, user.uid);
  return dir;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

const read = (path: string): string => {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
};
const lines = (path: string): string[] => read(path).split("\n").filter((line) => line !== "");

async function stop(child: Deno.ChildProcess | undefined): Promise<void> {
  try {
    child?.kill("SIGTERM");
  } catch {
    // It has ended.
  }
  await child?.output();
}

/** Debian's daemon, on UDP, TCP and a unix socket; everything goes to one file. */
class Rsyslogd {
  readonly dir: string;
  readonly port = freePort();
  readonly #user: User;
  #child: Deno.ChildProcess | undefined;

  constructor(user: User) {
    this.#user = user;
    this.dir = ownDirectory(user);
    Deno.writeTextFileSync(
      `${this.dir}/conf`,
      `global(workDirectory="${this.dir}" maxMessageSize="64k")
module(load="imudp") module(load="imtcp") module(load="imuxsock" SysSock.Use="off")
input(type="imudp" address="127.0.0.1" port="${this.port}")
input(type="imtcp" address="127.0.0.1" port="${this.port}")
input(type="imuxsock" Socket="${this.dir}/s" UseSysTimeStamp="off")
template(name="line" type="string" string="%pri% %protocol-version% %hostname% %app-name% %procid% %msgid% %timereported:::date-rfc3339%|%msg%\\n")
*.* action(type="omfile" file="${this.dir}/out" template="line")
`,
    );
  }

  async start(): Promise<void> {
    this.#child = spawnAs(this.#user, ["rsyslogd", "-n", "-f", `${this.dir}/conf`, "-i", `${this.dir}/pid`]);
    await waitFor(
      () => {
        try {
          Deno.connect({ hostname: "127.0.0.1", port: this.port }).then((conn) => conn.close(), () => {});
          return Deno.statSync(`${this.dir}/s`).isSocket === true && Deno.statSync(`${this.dir}/pid`).isFile;
        } catch {
          return false;
        }
      },
      20_000,
      () => "rsyslogd does not start",
    );
  }

  async stop(): Promise<void> {
    await stop(this.#child);
    this.#child = undefined;
    await Deno.remove(`${this.dir}/s`).catch(() => {});
  }

  /** Lines that have come, those with `text` in them. */
  with(text: string): string[] {
    return lines(`${this.dir}/out`).filter((line) => line.includes(text));
  }
}

describe.each(usersToTest())("remote log drivers, $name", (user) => {
  describeWith(BUSYBOX, DOCKER)("with docker", () => {
    let engine: Engine;
    let journal: string;
    const docker = async (...args: string[]): Promise<string> => {
      const result = await engine.docker(args);
      if (result.code !== 0) throw new Error(`docker ${args.join(" ")}: ${result.stderr}`);
      return result.stdout;
    };
    const logOptions = (driver: string, options: Readonly<Record<string, string>>): string[] => [
      "--log-driver",
      driver,
      ...Object.entries(options).flatMap(([key, value]) => ["--log-opt", `${key}=${value}`]),
    ];
    beforeAll(async () => {
      journal = `${ownDirectory(user)}/socket`;
      engine = await startEngine({ user, env: { BERTH_JOURNAL_SOCKET: journal } });
      expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
    });

    describeWith(program("rsyslogd", "rsyslog"))("syslog", () => {
      let daemon: Rsyslogd;
      beforeAll(async () => {
        daemon = new Rsyslogd(user);
        await daemon.start();
      });
      afterAll(() => daemon?.stop());

      const address = (scheme: string) =>
        scheme.startsWith("unix") ? `${scheme}://${daemon.dir}/s` : `${scheme}://127.0.0.1:${daemon.port}`;

      it.each([
        ["udp", ""],
        ["udp", "rfc3164"],
        ["udp", "rfc5424"],
        ["tcp", "rfc3164"],
        ["tcp", "rfc5424micro"],
        ["unixgram", ""],
      ])(
        "reaches rsyslogd by %s in the form %j, and docker logs shows it all the same",
        async (scheme, format) => {
          const name = `s-${scheme}-${format || "default"}`;
          const options = logOptions("syslog", {
            "syslog-address": address(scheme),
            "syslog-facility": "local3",
            tag: `{{.Name}}`,
            ...(format === "" ? {} : { "syslog-format": format }),
          });
          await docker("run", "--name", name, ...options, "busybox", "sh", "-c", TWO_STREAMS);
          await waitFor(() => daemon.with(`${name} `).length >= 2, 10_000, () => read(`${daemon.dir}/out`));
          const seen = daemon.with(`${name} `);
          // local3 is 19: 19 * 8 + 6 and + 3.
          expect(seen.map((line) => [line.split(" ")[0], line.split("|")[1]?.trim()]).sort()).toEqual([
            ["155", "err"],
            ["158", "out"],
          ]);
          const version = format.startsWith("rfc5424") ? "1" : "0";
          for (const line of seen) {
            const [, protocol, host, app, pid] = line.split(" ");
            expect([protocol, app, pid]).toEqual([version, name, expect.stringMatching(/^\d+$/)]);
            if (format !== "") expect(host).toBe(Deno.hostname());
          }
          const { stdout, stderr } = await engine.docker(["logs", name]);
          expect([stdout, stderr]).toEqual(["out\n", "err\n"]);
          expect(await docker("inspect", "-f", "{{.HostConfig.LogConfig.Type}}|{{.LogPath}}", name)).toBe(
            "syslog|\n",
          );
          await docker("rm", name);
        },
      );

      it("loses nothing while the engine is away, and sends what is left of a container that removes itself", async () => {
        const options = logOptions("syslog", { "syslog-address": address("tcp"), tag: "away" });
        await docker(
          "run",
          "-d",
          "--name",
          "away",
          ...options,
          "busybox",
          "sh",
          "-c",
          "i=0; while [ $i -lt 40 ]; do echo n$i.; i=$((i+1)); sleep 0.05; done",
        );
        await waitFor(() => daemon.with("n3.").length > 0, 10_000, () => "nothing comes");
        await engine.kill9();
        await engine.restart();
        await docker("wait", "away");
        await waitFor(() => daemon.with("n39.").length > 0, 20_000, () => daemon.with("away").join("\n"));
        for (let n = 0; n < 40; n++) expect(daemon.with(`n${n}.`).length, `n${n}`).toBeGreaterThan(0);
        await docker("rm", "away");
        const own = logOptions("syslog", { "syslog-address": address("tcp"), tag: "own" });
        await docker("run", "--rm", ...own, "busybox", "sh", "-c", "for i in 1 2 3; do echo last$i; done");
        await waitFor(() => daemon.with("last3").length > 0, 10_000, () => daemon.with("own").join("\n"));
      });

      it("goes on when the server comes back", async () => {
        const options = logOptions("syslog", { "syslog-address": address("tcp"), tag: "back" });
        await docker(
          "run",
          "-d",
          "--name",
          "back",
          ...options,
          "busybox",
          "sh",
          "-c",
          "echo before; read x; echo after; sleep 1000",
        );
        await waitFor(() => daemon.with("before").length > 0, 10_000, () => "nothing comes");
        await daemon.stop();
        await docker("exec", "back", "sh", "-c", "echo while > /proc/1/fd/1");
        await daemon.start();
        await waitFor(() => daemon.with("while").length > 0, 20_000, () => read(`${daemon.dir}/out`));
        await docker("rm", "-f", "back");
      });

      it("is refused in docker's words when nobody listens", async () => {
        const port = freePort();
        const options = logOptions("syslog", { "syslog-address": `tcp://127.0.0.1:${port}` });
        const { code, stderr } = await engine.docker(["run", "--rm", ...options, "busybox", "true"]);
        expect([code, stderr]).toEqual([
          125,
          expect.stringContaining(
            "Error response from daemon: failed to create task for container: failed to initialize logging driver: " +
              `dial tcp 127.0.0.1:${port}: connect: connection refused`,
          ),
        ]);
      });

      it("docker logs does not read it with cache-disabled", async () => {
        const options = logOptions("syslog", { "syslog-address": address("udp"), "cache-disabled": "true" });
        await docker("run", "--name", "uncached", ...options, "busybox", "echo", "sent");
        expect((await engine.docker(["logs", "uncached"])).stderr).toContain(
          "configured logging driver does not support reading",
        );
        await waitFor(() => daemon.with("sent").length > 0, 10_000, () => "nothing comes");
        await docker("rm", "uncached");
      });
    });

    describeWith(program("socat", "socat"))("journald", () => {
      it("sends docker's fields in the journal's own protocol", async () => {
        const dir = ownDirectory(user);
        const refused = await engine.docker(["run", "--rm", "--log-driver", "journald", "busybox", "true"]);
        expect(refused.stderr).toContain(
          "failed to initialize logging driver: journald is not enabled on this host",
        );
        const receiver = spawnAs(user, ["socat", "-u", `UNIX-RECV:${journal},mode=666`, `CREATE:${dir}/out`]);
        try {
          await waitFor(
            () => {
              try {
                return Deno.statSync(journal).isSocket === true;
              } catch {
                return false;
              }
            },
            10_000,
            () => "socat does not listen",
          );
          const options = logOptions("journald", { tag: "word", labels: "my.label" });
          const id = (await docker(
            "run",
            "-d",
            "--name",
            "journalled",
            "--label",
            "my.label=x",
            ...options,
            "busybox",
            "sh",
            "-c",
            TWO_STREAMS,
          )).trim();
          await docker("wait", "journalled");
          await waitFor(() => read(`${dir}/out`).includes("MESSAGE=err"), 10_000, () => read(`${dir}/out`));
          const seen = lines(`${dir}/out`);
          for (
            const line of [
              `CONTAINER_ID=${id.slice(0, 12)}`,
              `CONTAINER_ID_FULL=${id}`,
              "CONTAINER_NAME=journalled",
              "CONTAINER_TAG=word",
              "SYSLOG_IDENTIFIER=word",
              "IMAGE_NAME=busybox",
              "MY_LABEL=x",
              "PRIORITY=6",
              "PRIORITY=3",
              "MESSAGE=out",
              "CONTAINER_LOG_ORDINAL=2",
            ]
          ) expect(seen).toContain(line);
          expect(await docker("logs", "journalled")).toBe("out\n");
          await docker("rm", "journalled");
        } finally {
          await stop(receiver);
        }
      });
    });

    describe("gelf", () => {
      let server: Server;
      let port: number;
      let received = "";
      beforeAll(async () => {
        server = createServer((socket: Socket) => {
          socket.on("data", (data) => received += data.toString());
          socket.on("error", () => {});
        });
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        port = (server.address() as { port: number }).port;
      });
      afterAll(() => server?.close());

      it("sends GELF messages, ended by zero bytes over TCP", async () => {
        const options = logOptions("gelf", { "gelf-address": `tcp://127.0.0.1:${port}`, env: "WORD" });
        await docker(
          "run",
          "--name",
          "graylogged",
          "-e",
          "WORD=y",
          ...options,
          "busybox",
          "sh",
          "-c",
          TWO_STREAMS,
        );
        await waitFor(() => received.split("\0").length > 2, 10_000, () => received);
        const messages = received.split("\0").filter((text) => text !== "").map((text) =>
          JSON.parse(text) as Record<string, unknown>
        );
        expect(messages.map(({ short_message, level }) => [short_message, level]).sort()).toEqual([
          ["err", 3],
          ["out", 6],
        ]);
        expect(messages[0]).toMatchObject({
          version: "1.1",
          _container_name: "graylogged",
          _WORD: "y",
          _image_name: "busybox",
        });
        expect(await docker("logs", "graylogged")).toBe("out\n");
        await docker("rm", "graylogged");
      });
    });

    it("fluentd and splunk get the lines, docker logs has them too, and a server must be there at the start", async () => {
      const received = { fluentd: "", splunk: "" };
      const fluentd = createServer((socket: Socket) => {
        socket.on("data", (data) => received.fluentd += data.toString("latin1"));
        socket.on("error", () => {});
      });
      const splunk = createHttpServer((request, response) => {
        request.on("data", (data) => received.splunk += data);
        request.on("end", () => response.end('{"text":"Success","code":0}'));
      });
      const listen = async (server: Server) => {
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        return (server.address() as { port: number }).port;
      };
      const options = {
        fluentd: { "fluentd-address": `127.0.0.1:${await listen(fluentd)}`, tag: "word" },
        splunk: {
          "splunk-url": `http://127.0.0.1:${await listen(splunk)}`,
          "splunk-token": "T",
          tag: "word",
        },
      };
      try {
        for (const driver of ["fluentd", "splunk"] as const) {
          const chosen = logOptions(driver, options[driver]);
          await docker("run", "--name", driver, ...chosen, "busybox", "sh", "-c", TWO_STREAMS);
          const all = () =>
            ["word", "out", "err", "stdout", "stderr"].every((one) => received[driver].includes(one));
          await waitFor(all, 10_000, () => received[driver]);
          expect(await docker("logs", driver)).toBe("out\n");
        }
      } finally {
        for (const server of [fluentd, splunk]) {
          await new Promise<void>((resolve) => server.close(() => resolve()));
        }
      }
      const { code, stderr } = await engine.docker(["start", "-a", "fluentd"]);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(
        /failed to initialize logging driver: dial tcp 127\.0\.0\.1:\d+: connect: connection refused/,
      );
      await docker("rm", "fluentd", "splunk");
    });

    it("gelf compresses and cuts what goes over UDP", async () => {
      const socket = createSocket("udp4");
      const datagrams: Uint8Array[] = [];
      socket.on("message", (data) => datagrams.push(new Uint8Array(data)));
      await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
      try {
        const options = logOptions("gelf", { "gelf-address": `udp://127.0.0.1:${socket.address().port}` });
        // Random text does not shrink below one datagram.
        const script = "head -c 6000 /dev/urandom | base64 -w 0; echo";
        await docker("run", "--name", "in-chunks", ...options, "busybox", "sh", "-c", script);
        const last = () => datagrams.find((one) => one[10] === (one[11] ?? 0) - 1 && one[0] === 0x1e);
        await waitFor(() => last()?.[11] === datagrams.length, 10_000, () => `${datagrams.length} datagrams`);
        const parts = datagrams.toSorted((a, b) => (a[10] ?? 0) - (b[10] ?? 0)).map((one) => one.slice(12));
        const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("gzip"));
        const { short_message } = await new Response(stream).json() as { short_message: string };
        expect(`${short_message}\n`).toBe(await docker("logs", "in-chunks"));
        await docker("rm", "in-chunks");
      } finally {
        socket.close();
      }
    });

    describeWith(program("openssl", "openssl"))("syslog over TLS", () => {
      it("verifies the server, and counts octets as RFC 5425 says", async () => {
        const dir = ownDirectory(user);
        const made = await new Deno.Command("openssl", {
          args: [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
          ]
            .concat(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .concat(["-keyout", `${dir}/key.pem`, "-out", `${dir}/cert.pem`]),
          stderr: "null",
        }).output();
        expect(made.success).toBe(true);
        Deno.chmodSync(`${dir}/cert.pem`, 0o644);
        let received = "";
        const pem = { key: read(`${dir}/key.pem`), cert: read(`${dir}/cert.pem`) };
        const server = createTlsServer(pem, (socket) => {
          socket.on("data", (data) => received += data.toString());
          socket.on("error", () => {});
        });
        server.on("tlsClientError", () => {});
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        const address = `tcp+tls://localhost:${(server.address() as { port: number }).port}`;
        try {
          const options = { "syslog-address": address, "syslog-format": "rfc5424", tag: "secret" };
          const strange = await engine.docker([
            "run",
            "--rm",
            ...logOptions("syslog", options),
            "busybox",
            "true",
          ]);
          expect(strange.stderr).toContain("failed to initialize logging driver: dial tcp localhost:");
          const trusted = logOptions("syslog", { ...options, "syslog-tls-ca-cert": `${dir}/cert.pem` });
          await docker("run", "--rm", ...trusted, "busybox", "echo", "by TLS");
          await waitFor(() => received.includes("by TLS"), 10_000, () => received);
          const [, count, message] = /^(\d+) ([^]*)$/.exec(received) ?? [];
          expect(message).toMatch(/^<30>1 \S+Z \S+ secret \d+ secret - by TLS\n$/);
          expect(Number(count)).toBe(message?.length);
        } finally {
          server.close();
        }
      });
    });

    it("options are checked in docker's words", async () => {
      const refusals: [string, Record<string, string>, string][] = [
        ["syslog", { nosuch: "x" }, "unknown log opt 'nosuch' for syslog log driver"],
        ["syslog", { "syslog-address": "http://x" }, "unsupported scheme: 'http'"],
        ["syslog", { "syslog-address": "unix:///nothing" }, "stat /nothing: no such file or directory"],
        ["syslog", { "syslog-facility": "nosuch" }, "invalid syslog facility"],
        ["syslog", { "syslog-facility": "24" }, "invalid syslog facility"],
        ["syslog", { "syslog-format": "rfc1" }, "Invalid syslog format"],
        ["journald", { "syslog-format": "x" }, "unknown log opt 'syslog-format' for journald log driver"],
        ["gelf", {}, "gelf-address is a required parameter"],
        ["gelf", { "gelf-address": "http://x:1" }, "gelf: endpoint needs to be TCP or UDP"],
        [
          "gelf",
          { "gelf-address": "tcp://x:1", "gelf-compression-type": "gzip" },
          "compression is only supported on UDP",
        ],
        [
          "gelf",
          { "gelf-address": "udp://x:1", "gelf-compression-type": "lz" },
          `unknown value "lz" for log opt "gelf-compression-type"`,
        ],
        [
          "syslog",
          { "max-buffer-size": "1m" },
          "max-buffer-size option is only supported with 'mode=non-blocking'",
        ],
        [
          "fluentd",
          { "fluentd-address": "udp://x" },
          "invalid fluentd-address (udp://x): unsupported scheme: 'udp'",
        ],
        ["fluentd", { "fluentd-port": "1" }, "unknown log opt 'fluentd-port' for fluentd log driver"],
        ["splunk", { "splunk-adress": "x" }, "unknown log opt 'splunk-adress' for splunk log driver"],
        ["awslogs", {}, 'error looking up logging plugin awslogs: plugin "awslogs" not found'],
        ["nosuch", {}, 'error looking up logging plugin nosuch: plugin "nosuch" not found'],
      ];
      for (const [driver, options, words] of refusals) {
        const { stderr } = await engine.docker(["create", ...logOptions(driver, options), "busybox"]);
        expect(stderr, `${driver} ${JSON.stringify(options)}`).toContain(words);
      }
      expect(JSON.parse(await docker("info", "-f", "{{json .Plugins.Log}}"))).toEqual(
        ["fluentd", "gelf", "journald", "json-file", "local", "splunk", "syslog"],
      );
    });
  });
});
