import { describe, expect, test } from "vitest";
import { runBerth, startBerth } from "../support/berth_cli.ts";
import { type Handler, type ScriptedConnection, scriptedEngine } from "../support/scripted_engine.ts";

const ID = "0123456789ab".padEnd(64, "c");
const UPGRADE = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

function frame(stream: number, text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const bytes = new Uint8Array(8 + payload.length);
  bytes[0] = stream;
  new DataView(bytes.buffer).setUint32(4, payload.length);
  bytes.set(payload, 8);
  return bytes;
}

interface Script {
  /** What the container does once it is started and attached; the connection is closed afterwards. */
  readonly main?: (attached: ScriptedConnection) => Promise<void>;
  readonly exitCode?: number;
  readonly startError?: string;
  /** Before a start is answered. */
  readonly starting?: () => Promise<void>;
  readonly others?: Handler;
}

/** Enough of an engine for one container. */
function containerEngine({ main, exitCode = 0, startError, starting, others }: Script) {
  const started = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  return scriptedEngine(async (request, connection) => {
    const path = request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "");
    switch (`${request.method} ${path}`) {
      case "GET /_ping":
        return await connection.answer(200, "OK", { "Api-Version": "1.51" });
      case "POST /containers/create":
        return await connection.answer(201, { Id: ID, Warnings: ["limits are ignored"] });
      case `POST /containers/${ID}/attach`:
        await connection.send(UPGRADE);
        await started.promise;
        if (startError === undefined) await main?.(connection);
        connection.close();
        ended.resolve();
        return;
      case `POST /containers/${ID}/wait`:
        await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        await ended.promise;
        {
          const text = JSON.stringify({ StatusCode: exitCode });
          return await connection.send(`${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`);
        }
      case `POST /containers/${ID}/start`:
        await starting?.();
        if (startError === undefined) await connection.answer(204);
        else await connection.answer(400, { message: startError });
        return started.resolve();
      default:
        if (others) return await others(request, connection);
        await connection.answer(404, { message: `No such container: ${path.split("/")[2]}` });
    }
  });
}

const routes = (log: readonly string[]) => log.map((line) => line.replace("/v1.51", "").replace(ID, "ID"));

describe("berth run", () => {
  test("creates, attaches and waits, and starts after both; separates the streams", async () => {
    await using engine = containerEngine({
      exitCode: 3,
      async main(attached) {
        await attached.send(frame(1, "to stdout\n"));
        await attached.send(frame(2, "to stderr\n"));
      },
    });
    const result = await runBerth(["-H", engine.host, "run", "--rm", "--name", "web", "image", "cmd"]);
    expect(result).toEqual({
      code: 3,
      stdout: "to stdout\n",
      stderr: "WARNING: limits are ignored\nto stderr\n",
    });
    const [create, ...rest] = routes(engine.log);
    expect([create, rest.pop()]).toEqual([
      "POST /containers/create?name=web",
      "POST /containers/ID/start",
    ]);
    // Asked at the same time: either may come first.
    expect(rest.sort()).toEqual([
      "POST /containers/ID/attach?stream=1&stdout=1&stderr=1",
      "POST /containers/ID/wait?condition=removed",
    ]);
  });

  test("sends standard input and its end, and prints what comes after", async () => {
    await using engine = containerEngine({
      async main(attached) {
        let text = "";
        for (let bytes = await attached.read(); bytes !== null; bytes = await attached.read()) {
          text += new TextDecoder().decode(bytes);
        }
        await attached.send(frame(1, `got ${text}`));
      },
    });
    const result = await runBerth(["-H", engine.host, "run", "-i", "image", "cat"], { stdin: "hi\n" });
    expect(result).toMatchObject({ code: 0, stdout: "got hi\n" });
  });

  test("prints the id and does not attach with -d", async () => {
    await using engine = containerEngine({});
    const result = await runBerth(["-H", engine.host, "run", "-d", "image"]);
    expect(result).toMatchObject({ code: 0, stdout: `${ID}\n` });
    expect(routes(engine.log).slice(1)).toEqual(["POST /containers/ID/start"]);
  });

  test.each([
    ['exec: "nosuch": executable file not found in $PATH', 127],
    ['exec: "/etc": is a directory', 126],
    ["exec: permission denied", 126],
    ["no space left on device", 125],
  ])("maps %j to exit code %d", async (message, code) => {
    await using engine = containerEngine({ startError: message });
    const result = await runBerth(["-H", engine.host, "run", "image", "nosuch"]);
    expect(result.code).toBe(code);
    expect(result.stderr).toBe(
      `WARNING: limits are ignored\nberth: Error response from daemon: ${message}\n\n` +
        "Run 'berth run --help' for more information\n",
    );
  });

  test("forwards signals to the container", async () => {
    const killed = Promise.withResolvers<void>();
    await using engine = containerEngine({
      exitCode: 143,
      async main(attached) {
        await attached.send(frame(1, "ready\n"));
        await killed.promise;
      },
      async others(request, connection) {
        if (request.target.endsWith("/kill?signal=TERM")) killed.resolve();
        await connection.answer(204);
      },
    });
    const child = startBerth(["-H", engine.host, "run", "image"]);
    const reader = child.stdout.getReader();
    await reader.read();
    child.kill("SIGTERM");
    expect((await child.status).code).toBe(143);
    await reader.cancel();
    await child.stderr.cancel();
  });

  test("forwards Ctrl-C over ssh as well, which the terminal sends to ssh too", async () => {
    const killed = Promise.withResolvers<void>();
    await using engine = containerEngine({
      exitCode: 130,
      async main(attached) {
        await attached.send(frame(1, "ready\n"));
        await killed.promise;
      },
      async others(request, connection) {
        if (request.target.endsWith("/kill?signal=INT")) killed.resolve();
        await connection.answer(204);
      },
    });
    const entry = new URL("../../main.ts", import.meta.url).pathname;
    const berth = [Deno.execPath(), "run", "-A", "--no-config", "--no-lock", "--quiet", entry];
    const directory = Deno.makeTempDirSync();
    try {
      const ssh = `#!/bin/sh\nexec ${berth.join(" ")} -H ${engine.host} system dial-stdio\n`;
      Deno.writeTextFileSync(`${directory}/ssh`, ssh, { mode: 0o755 });
      // A session of its own has a process group of its own, as a job of a shell has.
      const child = new Deno.Command("setsid", {
        args: [...berth, "-H", "ssh://far", "run", "image"],
        env: { PATH: `${directory}:${Deno.env.get("PATH")}` },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const reader = child.stdout.getReader();
      await reader.read();
      await new Deno.Command("kill", { args: ["-INT", "--", `-${child.pid}`] }).output();
      expect((await child.status).code).toBe(130);
      await reader.cancel();
      await child.stderr.cancel();
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });

  test("keeps a signal that comes before the container runs, and sends it then", async () => {
    let runs = false;
    const killed = Promise.withResolvers<boolean>();
    await using engine = containerEngine({
      exitCode: 143,
      async starting() {
        child.kill("SIGTERM");
        // As long as it would take a signal that is not kept.
        let timer: ReturnType<typeof setTimeout> | undefined;
        await Promise.race([killed.promise, new Promise((resolve) => timer = setTimeout(resolve, 500))]);
        clearTimeout(timer);
        runs = true;
      },
      async main() {
        await killed.promise;
      },
      async others(request, connection) {
        if (request.target.endsWith("/kill?signal=TERM")) killed.resolve(runs);
        await connection.answer(204);
      },
    });
    const child: Deno.ChildProcess = startBerth(["-H", engine.host, "run", "image"]);
    expect((await child.status).code).toBe(143);
    expect(await killed.promise).toBe(true);
    await child.stdout.cancel();
    await child.stderr.cancel();
  });

  test("pulls an image that is missing, and creates again", async () => {
    let created = 0;
    await using engine = scriptedEngine(async (request, connection) => {
      if (request.target === "/_ping") return await connection.answer(200, "OK", { "Api-Version": "1.51" });
      if (request.target.includes("/images/create")) {
        return await connection.answer(
          200,
          '{"status":"Pulling from library/x","id":"latest"}\n{"status":"Done"}\n',
        );
      }
      if (request.target.includes("/containers/create") && created++ === 0) {
        return await connection.answer(404, { message: "No such image: x:latest" });
      }
      await connection.answer(201, { Id: ID, Warnings: null });
    });
    const result = await runBerth(["-H", engine.host, "create", "x"]);
    expect(result).toEqual({
      code: 0,
      stdout: `${ID}\n`,
      stderr: "Unable to find image 'x:latest' locally\nlatest: Pulling from library/x\nDone\n",
    });
    expect(engine.log[1]).toBe("POST /v1.51/images/create?fromImage=docker.io%2Flibrary%2Fx&tag=latest");
  });

  test("gives an error of the pull exit code 125", async () => {
    await using engine = scriptedEngine(async (request, connection) => {
      if (request.target === "/_ping") return await connection.answer(200, "OK", { "Api-Version": "1.51" });
      if (request.target.includes("/images/create")) {
        return await connection.answer(501, { message: "not yet" });
      }
      await connection.answer(404, { message: "No such image: x:latest" });
    });
    const result = await runBerth(["-H", engine.host, "run", "x"]);
    expect(result.code).toBe(125);
    expect(result.stderr).toContain("berth: Error response from daemon: not yet\n");
  });

  test("refuses -t without a terminal", async () => {
    await using engine = containerEngine({});
    const result = await runBerth(["-H", engine.host, "run", "-it", "image"]);
    expect(result).toMatchObject({ code: 1, stderr: "the input device is not a TTY\n" });
  });

  test("refuses --attach with --detach", async () => {
    await using engine = containerEngine({});
    const result = await runBerth(["-H", engine.host, "run", "-d", "-a", "stdout", "image"]);
    expect(result).toMatchObject({
      code: 1,
      stderr: "conflicting options: cannot specify both --attach and --detach\n",
    });
  });

  test.each(["--env-file", "--label-file"])("a missing %s is no missing command: 125", async (flag) => {
    await using engine = containerEngine({});
    const result = await runBerth(["-H", engine.host, "run", flag, "/nonexistent", "image"]);
    expect(result).toMatchObject({
      code: 125,
      stderr:
        "berth: open /nonexistent: no such file or directory\n\nRun 'berth run --help' for more information\n",
    });
  });

  test("writes the id to --cidfile, and refuses one that exists", async () => {
    const directory = Deno.makeTempDirSync();
    const file = `${directory}/id`;
    try {
      await using engine = containerEngine({});
      await runBerth(["-H", engine.host, "run", "-d", "--cidfile", file, "image"]);
      expect(Deno.readTextFileSync(file)).toBe(ID);
      const again = await runBerth(["-H", engine.host, "run", "-d", "--cidfile", file, "image"]);
      expect(again.code).toBe(125);
      expect(again.stderr).toContain("container ID file found");
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
});

/** Runs a command on a terminal of 100 columns and 30 rows, typing `keys` once `ready` has been printed. */
async function onTerminal(
  argv: readonly string[],
  ready: string,
  keys: string,
): Promise<{ code: number; output: string }> {
  const quoted = argv.map((word) => `'${word}'`).join(" ");
  const child = new Deno.Command("script", {
    args: [
      "-qefc",
      `stty cols 100 rows 30; ${quoted}; code=$?; stty -a | grep -o -- '-*icanon\\|-*opost'; exit $code`,
      "/dev/null",
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let output = "";
  const writer = child.stdin.getWriter();
  let typed = false;
  for await (const bytes of child.stdout) {
    output += new TextDecoder().decode(bytes);
    if (!typed && output.includes(ready)) {
      typed = true;
      await writer.write(new TextEncoder().encode(keys));
    }
  }
  await writer.close().catch(() => {});
  return { code: (await child.status).code, output };
}

describe("berth run -it", () => {
  const entry = new URL("../../main.ts", import.meta.url).pathname;
  const berth = [Deno.execPath(), "run", "-A", "--no-config", "--no-lock", "--quiet", entry];

  test("passes keys raw, sends the size, and restores the terminal", async () => {
    let typed = "";
    const resized = Promise.withResolvers<void>();
    await using engine = containerEngine({
      exitCode: 5,
      async main(attached) {
        await attached.send("prompt# ");
        while (!typed.includes("\r")) {
          typed += new TextDecoder().decode(await attached.read() ?? new Uint8Array());
        }
        await attached.send("line\n");
        await resized.promise;
      },
      async others(request, connection) {
        await connection.answer(200);
        if (request.target.includes("/resize?")) resized.resolve();
      },
    });
    const { code, output } = await onTerminal(
      [...berth, "-H", engine.host, "run", "-it", "image"],
      "prompt#",
      "a\x03b\r",
    );
    expect(code).toBe(5);
    // Neither echo nor line editing of ours: ctrl-c and carriage return arrive as they are.
    expect(typed).toBe("a\x03b\r");
    // A bare line feed stays one: output is not processed while the container owns the terminal.
    expect(output).toContain("prompt# line\n");
    expect(output).not.toContain("prompt# line\r\n");
    expect(output.match(/-*icanon|-*opost/g)).toEqual(["opost", "icanon"]);
    expect(engine.log).toContain(`POST /v1.51/containers/${ID}/resize?h=30&w=100`);
    const body = JSON.parse(new TextDecoder().decode(engine.requests[0]?.body)) as {
      HostConfig: { ConsoleSize: number[] };
    };
    expect(body.HostConfig.ConsoleSize).toEqual([30, 100]);
  });

  test("exec gives the terminal back when a signal ends it", async () => {
    const upgraded = Promise.withResolvers<void>();
    await using engine = scriptedEngine(async (request, connection) => {
      if (request.target === "/_ping") return await connection.answer(200, "OK", { "Api-Version": "1.51" });
      if (request.target.endsWith("/containers/c/exec")) return await connection.answer(201, { Id: "e1" });
      if (!request.target.endsWith("/exec/e1/start")) return await connection.answer(200);
      await connection.send(`${UPGRADE}prompt# `);
      upgraded.resolve();
      while (await connection.read() !== null) { /* until the other side goes */ }
    });
    const file = Deno.makeTempFileSync();
    try {
      const argv = [...berth, "-H", engine.host, "exec", "-it", "c", "sh"];
      const shell = `echo $$ >${file}; exec ${argv.map((word) => `"${word}"`).join(" ")}`;
      const session = onTerminal(["sh", "-c", shell], "no such prompt", "");
      await upgraded.promise;
      // The session is raw once a key is not echoed; the signal may come at any moment before as well.
      Deno.kill(Number(Deno.readTextFileSync(file)), "SIGTERM");
      const { code, output } = await session;
      expect(code).toBe(143);
      expect(output.match(/-*icanon|-*opost/g)).toEqual(["opost", "icanon"]);
    } finally {
      Deno.removeSync(file);
    }
  });

  test("leaves the container running at the detach keys", async () => {
    await using engine = containerEngine({
      async main(attached) {
        await attached.send("prompt# ");
        while (await attached.read() !== null) { /* until the other side goes */ }
      },
      others: (_request, connection) => connection.answer(200),
    });
    const { code } = await onTerminal(
      [...berth, "-H", engine.host, "run", "-it", "image"],
      "prompt#",
      "\x10\x11",
    );
    expect(code).toBe(0);
  });
});

describe("berth login", () => {
  test("asks on the terminal for plain lines, and shows no password", async () => {
    await using engine = scriptedEngine((_request, connection) =>
      connection.answer(200, { Status: "Login Succeeded" }, { "Api-Version": "1.51" })
    );
    const config = Deno.makeTempDirSync();
    try {
      const entry = new URL("../../main.ts", import.meta.url).pathname;
      const berth = [Deno.execPath(), "run", "-A", "--no-config", "--no-lock", "--quiet", entry];
      const login = [...berth, "--config", config, "-H", engine.host, "login", "reg.example"];
      const { code, output } = await onTerminal(login, "Username: ", "me\nsecret\n");
      expect(code).toBe(0);
      expect(output).toContain("Login Succeeded");
      expect(output).not.toContain("\x1b");
      const { username, password } = JSON.parse(new TextDecoder().decode(engine.requests.at(-1)?.body)) as {
        username: string;
        password: string;
      };
      expect({ username, password }).toEqual({ username: "me", password: "secret" });
    } finally {
      Deno.removeSync(config, { recursive: true });
    }
  });
});

describe("other commands", () => {
  const answering = (answers: Record<string, [number, unknown]>): Handler => async (request, connection) => {
    if (request.target === "/_ping") return await connection.answer(200, "OK", { "Api-Version": "1.51" });
    const path = `${request.method} ${request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "")}`;
    const [status, value] = answers[path] ?? [404, { message: `no answer for ${path}` }];
    await connection.answer(status, value);
  };

  test("go on after a name that fails, and end with 1", async () => {
    await using engine = scriptedEngine(answering({
      "POST /containers/a/stop": [204, undefined],
      "POST /containers/c/stop": [304, undefined],
    }));
    const result = await runBerth(["-H", engine.host, "stop", "-t", "3", "a", "b", "c"]);
    expect(result).toEqual({
      code: 1,
      stdout: "a\nc\n",
      stderr: "Error response from daemon: no answer for POST /containers/b/stop\n",
    });
    expect(engine.log).toContain("POST /v1.51/containers/a/stop?t=3");
  });

  test("inspect prints what it found before it reports the rest", async () => {
    await using engine = scriptedEngine(
      answering({ "GET /containers/a/json": [200, { Id: "1", Args: [] }] }),
    );
    const result = await runBerth(["-H", engine.host, "inspect", "a", "b"]);
    expect(result).toEqual({
      code: 1,
      stdout: '[\n    {\n        "Id": "1",\n        "Args": []\n    }\n]\n',
      stderr: "Error: No such object: b\n",
    });
  });

  test("ps prints docker's table", async () => {
    const Created = Math.trunc(Date.now() / 1000) - 7200;
    await using engine = scriptedEngine(answering({
      "GET /containers/json": [200, [{
        Id: ID,
        Names: ["/web"],
        Image: "busybox",
        ImageID: "sha256:ff",
        Command: "sh -c 'a very long command'",
        Created,
        Ports: [{ IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp" }],
        Status: "Up 2 hours",
      }]],
    }));
    const { stdout } = await runBerth(["-H", engine.host, "ps", "-a", "-f", "name=web"]);
    expect(stdout).toBe(
      "CONTAINER ID   IMAGE     COMMAND                  CREATED       STATUS       PORTS                  NAMES\n" +
        '0123456789ab   busybox   "sh -c \'a very long …"   2 hours ago   Up 2 hours   0.0.0.0:8080->80/tcp   web\n',
    );
    expect(engine.log[0]).toBe(
      "GET /v1.51/containers/json?all=1&filters=%7B%22name%22%3A%7B%22web%22%3Atrue%7D%7D",
    );
  });

  test("exec returns the command's exit code", async () => {
    await using engine = scriptedEngine(async (request, connection) => {
      if (request.target.endsWith("/exec/e1/start")) {
        expect(JSON.parse(new TextDecoder().decode(request.body))).toEqual({ Detach: false, Tty: false });
        await connection.send(UPGRADE);
        await connection.send(frame(1, "done\n"));
        return connection.close();
      }
      await answering({
        "POST /containers/c/exec": [201, { Id: "e1" }],
        "GET /exec/e1/json": [200, { ExitCode: 7 }],
      })(request, connection);
    });
    const result = await runBerth(["-H", engine.host, "exec", "-e", "A=b", "c", "cmd", "-x"]);
    expect(result).toEqual({ code: 7, stdout: "done\n", stderr: "" });
    const body = JSON.parse(new TextDecoder().decode(engine.requests[0]?.body)) as unknown;
    expect(body).toMatchObject({ Cmd: ["cmd", "-x"], Env: ["A=b"], AttachStdout: true, AttachStdin: false });
  });

  test("logs ends with the stream and splits it", async () => {
    await using engine = scriptedEngine(async (request, connection) => {
      if (request.target.includes("/logs?")) {
        await connection.send("HTTP/1.1 200 OK\r\n\r\n");
        await connection.send(frame(1, "a\n"));
        await connection.send(frame(2, "b\n"));
        return connection.close();
      }
      await answering({ "GET /containers/c/json": [200, { Id: ID, Config: { Tty: false } }] })(
        request,
        connection,
      );
    });
    const result = await runBerth(["-H", engine.host, "logs", "-n", "5", "-t", "c"]);
    expect(result).toEqual({ code: 0, stdout: "a\n", stderr: "b\n" });
    expect(engine.log[1]).toBe(`GET /v1.51/containers/${ID}/logs?stderr=1&stdout=1&tail=5&timestamps=1`);
  });

  test("events keeps all digits of a time", async () => {
    const event =
      '{"Type":"container","Action":"start","Actor":{"ID":"x","Attributes":{"name":"n","image":"i"}},' +
      '"scope":"local","time":1714564800,"timeNano":1714564800123456789}';
    await using engine = scriptedEngine(answering({ "GET /events": [200, `${event}\n`] }));
    const plain = await runBerth(["-H", engine.host, "events", "--until", "1"]);
    expect(plain.stdout).toBe("2024-05-01T12:00:00.123456789Z container start x (image=i, name=n)\n");
    const json = await runBerth(["-H", engine.host, "events", "--format", "json"]);
    expect(json.stdout).toBe(`${event}\n`);
    const template = await runBerth([
      "-H",
      engine.host,
      "events",
      "--format",
      "{{.Actor.Attributes.name}} {{.TimeNano}}",
    ]);
    expect(template.stdout).toBe("n 1714564800123456789\n");
  });

  test("load sends the archive and shows what was loaded", async () => {
    await using engine = scriptedEngine(
      answering({ "POST /images/load": [200, '{"stream":"Loaded image: x:latest\\n"}'] }),
    );
    const result = await runBerth(["-H", engine.host, "load"], { stdin: "archive" });
    expect(result).toMatchObject({ code: 0, stdout: "Loaded image: x:latest\n" });
    expect(new TextDecoder().decode(engine.requests[1]?.body)).toBe("archive");
    expect(engine.requests[1]?.headers.get("content-type")).toBe("application/x-tar");
  });

  test("version shows the client when no engine answers", async () => {
    const result = await runBerth(["-H", "unix:///nonexistent/s", "version"]);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(/^Client: berth\n Version: {11}\d/);
    expect(result.stdout).toContain(" Packaging:         source\n");
    expect(result.stderr).toBe(
      "Cannot connect to the Docker daemon at unix:///nonexistent/s. Is the docker daemon running?\n",
    );
  });
});

describe("usage", () => {
  test.each([
    [["nosuch"], 1, "berth: unknown command: berth nosuch\n\nRun 'berth --help' for more information\n"],
    [
      ["--nosuch"],
      125,
      "unknown flag: --nosuch\n\nUsage:  berth [OPTIONS] COMMAND [ARG...]\n\nRun 'berth --help' for more information\n",
    ],
    [
      ["run", "--nosuch"],
      125,
      "unknown flag: --nosuch\n\nUsage:  berth run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'berth run --help' for more information\n",
    ],
    [
      ["container", "nosuch"],
      1,
      "berth: unknown command: berth container nosuch\n\nUsage:  berth container\n\nRun 'berth container --help' for more information\n",
    ],
    [
      ["run"],
      1,
      "berth: 'berth run' requires at least 1 argument\n\nUsage:  berth run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'berth run --help' for more information\n",
    ],
    [
      ["tag", "a"],
      1,
      "berth: 'berth tag' requires 2 arguments\n\nUsage:  berth tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\nRun 'berth tag --help' for more information\n",
    ],
    [["-H", "a", "-H", "b", "ps"], 1, "Specify only one -H\n"],
  ])("%j", async (args, code, stderr) => {
    expect(await runBerth(args)).toEqual({ code, stdout: "", stderr });
  });

  test("help is the same asked in three ways, and for aliases", async () => {
    const [flag, word, alias] = await Promise.all([
      runBerth(["ps", "--help"]),
      runBerth(["help", "ps"]),
      runBerth(["container", "ls", "-h"]),
    ]);
    expect(flag.stdout).toMatch(
      /^Usage: {2}berth ps \[OPTIONS\]\n\nList containers\n\nAliases:\n {2}berth container ls, /,
    );
    expect(word.stdout).toBe(flag.stdout);
    expect(alias.stdout).toBe(flag.stdout.replace("berth ps [OPTIONS]", "berth container ls [OPTIONS]"));
  });
});

describe("completion", () => {
  /** What bash offers at the end of a line. */
  async function complete(line: string): Promise<string[]> {
    const { stdout: script } = await runBerth(["completion", "bash"]);
    const words = line.split(" ");
    const program = `${script}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")})\n` +
      `COMP_CWORD=${words.length - 1}\n_berth\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = await new Deno.Command("bash", {
      args: ["--norc", "-c", program],
      stdout: "piped",
      stderr: "piped",
    }).output();
    expect(new TextDecoder().decode(stderr)).toBe("");
    return new TextDecoder().decode(stdout).trim().split("\n");
  }

  test.each([
    ["berth ru", ["run"]],
    ["berth container l", ["list", "logs", "ls"]],
    ["berth run --net", ["--network", "--network-alias"]],
    ["berth run --pull n", ["never"]],
    ["berth -H unix:///x run --inte", ["--interactive"]],
    ["berth container run --pull n", ["never"]],
    ["berth --de", ["--debug"]],
  ])("of %j offers %j", async (line, expected) => {
    expect((await complete(line)).sort()).toEqual(expected);
  });

  test("knows every command in zsh and fish", async () => {
    const [zsh, fish] = await Promise.all([
      runBerth(["completion", "zsh"]),
      runBerth(["completion", "fish"]),
    ]);
    expect(zsh.stdout.startsWith("#compdef berth\n")).toBe(true);
    expect(fish.stdout).toContain(
      "complete -c berth -n '__fish_seen_subcommand_from run' -l detach -s d -d 'Run container",
    );
  });
});
