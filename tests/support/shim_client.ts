/** Starts shims as the engine does and talks to them. */
import { selfCommand } from "../../base/self.ts";
import { SLOWNESS } from "./processes.ts";
import type { AttachHeader, ExitRecord, ShimMessage, ShimRequest } from "../../runtime/protocol.ts";
import type { ContainerSpec, LogSpec, ProcessSpec, ShimOptions } from "../../runtime/spec.ts";

/** Enters a user and a mount namespace; what follows runs once somebody has written the id maps. */
export const AS_ROOT = [
  "unshare",
  "--user",
  "--mount",
  "--propagation=slave",
  "sh",
  "-c",
  'until read -r line </proc/self/uid_map; do :; done; exec "$@"',
  "sh",
] as const;

/** The same for an ordinary user: all subordinate ids are mapped. */
export const AS_USER = [
  "unshare",
  "--user",
  "--map-root-user",
  "--map-auto",
  "--mount",
  "--propagation=slave",
] as const;

/** What fits who runs the tests. */
export const NAMESPACE_PREFIX: readonly string[] = Deno.uid() === 0 ? AS_ROOT : AS_USER;

/** Maps all ids of the user namespace that `pid` is about to enter to themselves, as the engine of root does. */
async function mapIdentity(pid: number): Promise<void> {
  const own = await Deno.readLink("/proc/self/ns/user");
  const deadline = Date.now() + 10_000 * SLOWNESS;
  while ((await Deno.readLink(`/proc/${pid}/ns/user`)) === own) {
    if (Date.now() > deadline) throw new Error("unshare did not make a user namespace");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (const map of ["gid_map", "uid_map"]) {
    await Deno.writeTextFile(`/proc/${pid}/${map}`, "0 0 4294967295", { create: false });
  }
}

const PRIVATE: ShimOptions["namespaces"] = {
  pid: { kind: "private" },
  net: { kind: "private" },
  ipc: { kind: "private" },
  uts: { kind: "private" },
};

type Reply = Extract<ShimMessage, { seq: number }>;
type Event = Extract<ShimMessage, { event: string }>;
// Omit of a union, each member by itself
type Unnumbered<T> = T extends ShimRequest ? Omit<T, "seq"> : never;

export interface StartOptions {
  readonly openStdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly log?: Partial<LogSpec>;
  readonly hold?: boolean;
}

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

export class ShimClient implements AsyncDisposable {
  dir: string;
  readonly pid: number;
  readonly exitFile: string;
  readonly logFile: string;
  readonly #child: Deno.ChildProcess;
  readonly #base: string;
  #connection!: Deno.UnixConn;
  #seq = 0;
  readonly #replies = new Map<number, (reply: Reply) => void>();
  readonly #events: Event[] = [];
  #onEvent: () => void = () => {};

  private constructor(base: string, dir: string, child: Deno.ChildProcess) {
    this.#base = base;
    this.dir = dir;
    this.#child = child;
    this.pid = child.pid;
    this.exitFile = `${base}/exit.json`;
    this.logFile = `${base}/json.log`;
  }

  static async start(
    prefix: readonly string[] = NAMESPACE_PREFIX,
    namespaces: Partial<ShimOptions["namespaces"]> = {},
    connect = true,
  ): Promise<ShimClient> {
    const base = await Deno.makeTempDir({ prefix: "berth-shim-" });
    const dir = `${base}/shim`;
    await Deno.mkdir(dir, { mode: 0o700 });
    const options: ShimOptions = { dir, namespaces: { ...PRIVATE, ...namespaces } };
    const self = selfCommand("shim", JSON.stringify(options));
    const words = [...prefix, self.command, ...self.args];
    const child = new Deno.Command(words[0] ?? "", {
      args: words.slice(1),
      env: self.env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    if (prefix === AS_ROOT) await mapIdentity(child.pid);
    const stderr = new Response(child.stderr).text();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    if (new TextDecoder().decode(value) !== "ready\n") throw new Error(`shim: ${await stderr}`);
    await reader.cancel();
    const client = new ShimClient(base, dir, child);
    if (connect) await client.connect();
    return client;
  }

  /** Connects (again), as a new engine does. */
  async connect(): Promise<void> {
    const connection = await Deno.connect({ transport: "unix", path: `${this.dir}/ctl.sock` });
    this.#connection = connection;
    this.#receive(connection);
  }

  /** Lets the shim begin anew in another directory, once its container has ended, and connects to it there. */
  async again(): Promise<void> {
    const dir = await Deno.makeTempDir({ dir: this.#base, prefix: "shim-" });
    const reply = await this.request({ op: "shutdown", again: dir });
    if (!reply.ok) throw new Error(reply.error.message);
    await this.event("ready");
    this.disconnect();
    this.dir = dir;
    await this.connect();
  }

  disconnect(): void {
    this.#connection.close();
  }

  async #receive(connection: Deno.UnixConn): Promise<void> {
    let text = "";
    const decoder = new TextDecoder();
    try {
      for await (const chunk of connection.readable) {
        text += decoder.decode(chunk, { stream: true });
        for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
          const message = JSON.parse(text.slice(0, end)) as ShimMessage;
          text = text.slice(end + 1);
          if ("event" in message) {
            this.#events.push(message);
            this.#onEvent();
          } else {
            this.#replies.get(message.seq)?.(message);
          }
        }
      }
    } catch {
      // closed by the test
    }
  }

  async request(message: Unnumbered<ShimRequest>): Promise<Reply> {
    const seq = ++this.#seq;
    const reply = new Promise<Reply>((resolve) => this.#replies.set(seq, resolve));
    const bytes = new TextEncoder().encode(`${JSON.stringify({ seq, ...message })}\n`);
    for (let done = 0; done < bytes.length;) done += await this.#connection.write(bytes.subarray(done));
    return await withDeadline(reply, `reply to ${message.op}`);
  }

  start(spec: ContainerSpec, options: StartOptions = {}): Promise<Reply> {
    return this.request({
      op: "start",
      spec,
      log: {
        driver: "json-file",
        path: this.logFile,
        maxSize: 0,
        maxFile: 1,
        compress: false,
        ...options.log,
      },
      openStdin: options.openStdin ?? false,
      stdinOnce: options.stdinOnce ?? true,
      exitFile: this.exitFile,
      ...(options.hold === undefined ? {} : { hold: options.hold }),
    });
  }

  exec(execId: string, process: ProcessSpec, openStdin = false): Promise<Reply> {
    return this.request({ op: "exec", execId, process, openStdin });
  }

  async attach(header: Partial<AttachHeader> = {}): Promise<Attached> {
    const connection = await Deno.connect({ transport: "unix", path: `${this.dir}/attach.sock` });
    const line = `${JSON.stringify({ stdin: false, stdout: true, stderr: true, ...header })}\n`;
    await connection.write(new TextEncoder().encode(line));
    const answer = new Uint8Array(12);
    for (let done = 0; done < answer.length;) {
      const count = await connection.read(answer.subarray(done));
      if (count === null) throw new Error("attach: closed");
      done += count;
    }
    if (new TextDecoder().decode(answer) !== '{"ok":true}\n') throw new Error("attach: refused");
    return new Attached(connection);
  }

  /** The next event that fits, or one that has come already. */
  async event<K extends Event["event"]>(
    kind: K,
    fits: (event: Extract<Event, { event: K }>) => boolean = () => true,
  ): Promise<Extract<Event, { event: K }>> {
    const found = new Promise<Extract<Event, { event: K }>>((resolve) => {
      const look = (): void => {
        const index = this.#events.findIndex((event) =>
          event.event === kind && fits(event as Extract<Event, { event: K }>)
        );
        if (index >= 0) resolve(this.#events.splice(index, 1)[0] as Extract<Event, { event: K }>);
      };
      this.#onEvent = look;
      look();
    });
    return await withDeadline(found, `event ${kind}`);
  }

  async exit(): Promise<ExitRecord> {
    return (await this.event("exit")).record;
  }

  /** Runs a container to its end. */
  async run(
    spec: ContainerSpec,
    options: StartOptions & { stdin?: string } = {},
  ): Promise<Output & { record: ExitRecord }> {
    const attached = await this.attach({ stdin: options.stdin !== undefined });
    const started = await this.start(spec, { openStdin: options.stdin !== undefined, ...options });
    if (!started.ok) {
      throw Object.assign(new Error(started.error.message), { failure: started.error });
    }
    if (options.stdin !== undefined) {
      await attached.write(options.stdin);
      await attached.closeWrite();
    }
    const output = await attached.output();
    return { ...output, record: await this.exit() };
  }

  /** Runs an exec to its end. */
  async runExec(
    process: ProcessSpec,
    stdin?: string,
  ): Promise<Output & { exitCode: number }> {
    const execId = crypto.randomUUID();
    const attached = await this.attach({ execId, stdin: stdin !== undefined });
    const started = await this.exec(execId, process, stdin !== undefined);
    if (!started.ok) throw Object.assign(new Error(started.error.message), { failure: started.error });
    if (stdin !== undefined) {
      await attached.write(stdin);
      await attached.closeWrite();
    }
    const output = process.tty ? { stdout: await attached.raw(), stderr: "" } : await attached.output();
    const { exitCode } = await this.event("exec-exit", (event) => event.execId === execId);
    return { ...output, exitCode };
  }

  async log(): Promise<{ log: string; stream: string; time: string }[]> {
    const text = await Deno.readTextFile(this.logFile);
    return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  /** What the shim has complained about. */
  async shimLog(): Promise<string> {
    return await Deno.readTextFile(`${this.dir}/shim.log`);
  }

  /** Dismisses the shim and waits for its end. Answers whether it has removed its directory. */
  async shutdown(): Promise<boolean> {
    const reply = await this.request({ op: "shutdown" });
    if (!reply.ok) throw new Error(reply.error.message);
    await withDeadline(this.#child.status, "end of the shim");
    return await Deno.stat(this.dir).then(() => false, () => true);
  }

  /** Whatever has happened: nothing stays behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#connection.close();
    } catch {
      // closed before
    }
    // A container outlives its shim, by design: its processes go first.
    for (const pid of [...childrenOf(this.pid), this.pid]) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch {
        // ended before
      }
    }
    await this.#child.status;
    await Deno.remove(this.#base, { recursive: true });
  }
}

function childrenOf(pid: number): number[] {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
    return text.split(" ").filter((part) => part !== "").map(Number);
  } catch {
    return [];
  }
}

/** A connection to a process's streams. */
export class Attached {
  readonly connection: Deno.UnixConn;

  constructor(connection: Deno.UnixConn) {
    this.connection = connection;
  }

  async write(text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    for (let done = 0; done < bytes.length;) done += await this.connection.write(bytes.subarray(done));
  }

  async closeWrite(): Promise<void> {
    await this.connection.closeWrite();
  }

  async bytes(): Promise<Uint8Array> {
    return new Uint8Array(
      await withDeadline(new Response(this.connection.readable).arrayBuffer(), "end of the stream"),
    );
  }

  /** Everything to the end, as it is. */
  async raw(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }

  /** Reads until the text contains `needle`; answers what was read. */
  async until(needle: string): Promise<string> {
    const decoder = new TextDecoder();
    let text = "";
    const buffer = new Uint8Array(4096);
    while (!text.includes(needle)) {
      const count = await withDeadline(this.connection.read(buffer), JSON.stringify(needle));
      if (count === null) throw new Error(`ended before ${JSON.stringify(needle)}: ${JSON.stringify(text)}`);
      text += decoder.decode(buffer.subarray(0, count), { stream: true });
    }
    return text;
  }

  /** Everything to the end, taken apart by Docker's frames. */
  async output(): Promise<Output> {
    return demultiplex(await this.bytes());
  }
}

export function demultiplex(bytes: Uint8Array): Output {
  const parts: Record<number, Uint8Array[]> = { 1: [], 2: [] };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length;) {
    const length = view.getUint32(at + 4);
    parts[bytes[at] ?? 0]?.push(bytes.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  const text = (stream: number): string => {
    const decoder = new TextDecoder();
    return (parts[stream] ?? []).map((part) => decoder.decode(part, { stream: true })).join("");
  };
  return { stdout: text(1), stderr: text(2) };
}

/** Rejects when `promise` takes longer than any healthy run. */
export async function withDeadline<T>(promise: Promise<T>, what: string, ms = 30_000): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
