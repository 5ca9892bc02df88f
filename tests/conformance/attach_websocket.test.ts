/** Attaching over a WebSocket, with the clients that people have: a browser's (Deno's is built after it) and websocket-client of docker-py. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxEngine, call, PYTHON, PYTHON_DOCKER, tcpAddress } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith, itWith } from "../support/needs.ts";
import { runAs, type User, usersToTest } from "../support/users.ts";
import { waitFor } from "../support/processes.ts";

/** What a WebSocket has received so far, and how it was closed. */
class Received {
  text = "";
  /** Kinds of messages, each once. */
  readonly kinds = new Set<string>();
  code: number | undefined;
  readonly #decoder = new TextDecoder();

  constructor(socket: WebSocket) {
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => {
      this.kinds.add(typeof data === "string" ? "text" : "binary");
      this.text += typeof data === "string" ? data : this.#decoder.decode(data, { stream: true });
    });
    socket.addEventListener("close", ({ code }) => this.code = code);
  }

  async until(condition: (text: string) => boolean): Promise<void> {
    await waitFor(() => condition(this.text), 20_000, () => `received so far: ${JSON.stringify(this.text)}`);
  }

  async closed(): Promise<number | undefined> {
    await waitFor(() => this.code !== undefined, 20_000, () => "the WebSocket stays open");
    return this.code;
  }
}

async function open(url: string): Promise<{ socket: WebSocket; received: Received }> {
  const socket = new WebSocket(url);
  const received = new Received(socket);
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve(), { once: true });
    socket.addEventListener("error", () => reject(new Error(`cannot open ${url}`)), { once: true });
  });
  return { socket, received };
}

const ALL = "stream=1&stdin=1&stdout=1&stderr=1";

describeWith(BUSYBOX).each(usersToTest())("attach by WebSocket as $name", (user: User) => {
  let engine: Engine;
  let address: string;

  beforeAll(async () => {
    engine = await busyboxEngine({ user, args: ["-H", "tcp://127.0.0.1:0", "--tls=false"] });
    address = await tcpAddress(engine);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  async function create(command: string, options: Record<string, unknown> = {}): Promise<string> {
    const { status, body } = await call(engine.socket, "POST", "/containers/create", {
      Image: "busybox",
      Cmd: ["sh", "-c", command],
      OpenStdin: true,
      ...options,
    });
    expect([status, body]).toEqual([201, expect.anything()]);
    return (body as { Id: string }).Id;
  }
  const start = (id: string) => call(engine.socket, "POST", `/containers/${id}/start`);
  const state = async (id: string): Promise<Record<string, unknown>> => {
    const { body } = await call(engine.socket, "GET", `/containers/${id}/json`);
    return (body as { State: Record<string, unknown> }).State;
  };

  it("passes input and both outputs on without Docker's frames, and closes with 1000 at the end", async () => {
    const id = await create("read a; echo out $a; echo err >&2; read b; exit 3");
    const { socket, received } = await open(`ws://${address}/containers/${id}/attach/ws?${ALL}`);
    await start(id);
    socket.send("text\n");
    await received.until((text) => text === "out text\nerr\n");
    expect([...received.kinds]).toEqual(["binary"]);
    socket.send(new TextEncoder().encode("binary\n"));
    expect(await received.closed()).toBe(1000);
    expect(await state(id)).toMatchObject({ Status: "exited", ExitCode: 3 });
  });

  it("sends text to clients before 1.28, whole characters of it", async () => {
    const id = await create("printf '\\303'; printf '\\244\\n'; read a");
    const { socket, received } = await open(`ws://${address}/v1.27/containers/${id}/attach/ws?${ALL}`);
    await start(id);
    await received.until((text) => text === "ä\n");
    expect([...received.kinds]).toEqual(["text"]);
    socket.send("\n");
    await received.closed();
  });

  it("carries a megabyte in and out unchanged", async () => {
    const id = await create("head -c 1000000 | md5sum; head -c 1000000 /dev/zero | tr '\\0' x; read a");
    const { socket, received } = await open(`ws://${address}/containers/${id}/attach/ws?${ALL}`);
    await start(id);
    const data = new Uint8Array(1_000_000).map((_, i) => i * 7);
    for (let at = 0; at < data.length; at += 100_000) socket.send(data.subarray(at, at + 100_000));
    await received.until((text) => text.length >= 1_000_036);
    const sum = await runAs(user, ["md5sum"], { stdin: data });
    expect(received.text.slice(0, 36)).toBe(sum.stdout);
    expect(received.text.slice(36)).toBe("x".repeat(1_000_000));
    socket.send("\n");
    await received.closed();
  });

  it("a terminal: one stream, and the detach keys leave the container alone", async () => {
    const id = await create("echo begin; while read a; do echo got $a; done", { Tty: true });
    const { socket, received } = await open(
      `ws://${address}/containers/${id}/attach/ws?${ALL}&detachKeys=ctrl-a,x`,
    );
    await start(id);
    await received.until((text) => text.includes("begin\r\n"));
    socket.send("one\n");
    await received.until((text) => text.includes("got one\r\n"));
    socket.send("\x01x");
    expect(await received.closed()).toBe(1000);
    expect(await state(id)).toMatchObject({ Status: "running" });
    await call(engine.socket, "DELETE", `/containers/${id}?force=1`);
  });

  it("logs=1 begins with what was written before", async () => {
    const id = await create("echo before; read a; echo after $a", { StdinOnce: false });
    await start(id);
    await waitFor(
      async () =>
        String((await call(engine.socket, "GET", `/containers/${id}/logs?stdout=1`)).body).includes("before"),
      10_000,
      () => "nothing in the log",
    );
    const { socket, received } = await open(`ws://${address}/containers/${id}/attach/ws?${ALL}&logs=1`);
    await received.until((text) => text === "before\n");
    socket.send("x\n");
    await received.until((text) => text === "before\nafter x\n");
    await received.closed();
  });

  it("a Close without stdin to end leaves the container alone and is answered", async () => {
    const id = await create("sleep 1000");
    const { socket, received } = await open(`ws://${address}/containers/${id}/attach/ws?${ALL}`);
    await start(id);
    await waitFor(async () => (await state(id))["Running"] === true, 10_000, () => "does not run");
    socket.close(1000);
    expect(await received.closed()).toBe(1000);
    expect(await state(id)).toMatchObject({ Status: "running" });
    await call(engine.socket, "DELETE", `/containers/${id}?force=1`);
  });

  itWith(PYTHON_DOCKER)("websocket-client: its Close ends stdin, and the output still comes", async () => {
    const id = await create("cat; echo end", { StdinOnce: true, AttachStdin: true });
    const program = `
import sys, websocket, docker
url, host, id = sys.argv[1:]
ws = websocket.create_connection(url)
docker.DockerClient(base_url="tcp://" + host).containers.get(id).start()
ws.ping("are you there")
ws.send("hello\\n")
ws.send_close()
out = b""
while True:
    opcode, data = ws.recv_data(control_frame=True)
    if opcode == websocket.ABNF.OPCODE_CLOSE:
        break
    out += b"<pong>" if opcode == websocket.ABNF.OPCODE_PONG else data
sys.stdout.buffer.write(out)
`;
    const url = `ws://${address}/v1.41/containers/${id}/attach/ws?${ALL}`;
    const { code, stdout, stderr } = await runAs(user, [PYTHON, "-c", program, url, address, id]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout.replace("<pong>", "")).toBe("hello\nend\n");
    expect(stdout).toContain("<pong>");
  });

  it("refuses what is no handshake, another version, pages of another origin, and unknown containers", async () => {
    const id = await create("true");
    const handshake: Record<string, string> = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version": "13",
    };
    const ask = async (path: string, headers: Record<string, string>) => {
      const [hostname = "", port] = address.split(":");
      using connection = await Deno.connect({ hostname, port: Number(port) });
      const lines = Object.entries({ Host: address, ...headers }).map(([name, value]) =>
        `${name}: ${value}\r\n`
      );
      await connection.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`));
      const buffer = new Uint8Array(4096);
      return new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
    };
    const path = `/containers/${id}/attach/ws?${ALL}`;
    expect(await ask(path, {})).toMatch(/^HTTP\/1\.1 400 /);
    expect(await ask(path, { ...handshake, "Sec-WebSocket-Key": "short" })).toMatch(/^HTTP\/1\.1 400 /);
    const old = await ask(path, { ...handshake, "Sec-WebSocket-Version": "8" });
    expect(old).toMatch(/^HTTP\/1\.1 400 /);
    expect(old.toLowerCase()).toContain("sec-websocket-version: 13\r\n");
    expect(await ask(path, { ...handshake, Origin: "http://example.org" })).toMatch(/^HTTP\/1\.1 403 /);
    expect(await ask("/containers/unknown/attach/ws", handshake)).toMatch(
      /^HTTP\/1\.1 404 [^]*No such container: unknown/,
    );
    const good = await ask(path, {
      ...handshake,
      Origin: `http://${address}`,
      "Sec-WebSocket-Protocol": "base64.binary.k8s.io, other",
    });
    expect(good).toMatch(/^HTTP\/1\.1 101 /);
    expect(good).toContain("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    expect(good).toContain("Sec-WebSocket-Protocol: base64.binary.k8s.io\r\n");
  });
});
