/**
 * The engine's end of netd: starts it or finds it, speaks to it, and starts another at once when it is killed. Runs in the
 * engine, on promises; nothing of it is loaded by netd.
 */
import { EngineError, messageOf } from "../../base/errors.ts";
import { onFirstLine, spawnRole } from "../../base/role_process.ts";
import type { NetdMainOptions } from "./main.ts";
import { NETD_PROTOCOL, type NetdAnswer, type NetdHello, type NetdRequest, REFUSED } from "./protocol.ts";

/** A request without its number, which the client adds. */
type WithoutSeq<T> = T extends unknown ? Omit<T, "seq"> : never;
export type NetdOrder = WithoutSeq<NetdRequest>;

type Success = Extract<NetdAnswer, { ok: true }>;
/** What a request is answered with when it is granted. */
export interface NetdResults {
  "hello": Extract<Success, { hello: unknown }>;
  "sync": Extract<Success, { problems: unknown }>;
  "network.add": Success;
  "network.remove": Success;
  "sandbox.add": Extract<Success, { ports: unknown }>;
  "sandbox.update": Extract<Success, { ports: unknown }>;
  "sandbox.remove": Success;
  "stats": Extract<Success, { stats: unknown }>;
  "shutdown": { readonly seq: number; readonly ok: true; readonly left?: number };
}
export type NetdResult<O extends NetdOrder> = NetdResults[O["op"]];

/** What the callback after a new start asks by: requests of everybody else wait until it is through. */
export interface NetdRequester {
  readonly hello: NetdHello;
  /** @throws {EngineError} what netd answers, or system when it has ended. */
  request<O extends NetdOrder>(order: O): Promise<NetdResult<O>>;
}

export interface NetdClientOptions {
  /** `<exec-root>/netd`; is made when it is not there. */
  readonly dir: string;
  /** Of berth. */
  readonly version: string;
  /**
   * Called with each new connection, the first one as well: sends `sync`. What it throws is logged, and the connection is used all the
   * same.
   */
  readonly onRestart: (netd: NetdRequester) => Promise<void>;
  readonly log?: (line: string) => void;
  /** Starts the process, and answers when it can be spoken to; for tests. */
  readonly spawn?: (dir: string, version: string) => Promise<void>;
}

/** How long a netd may take to boot: a machine in deep swap is slow. */
const BOOT_DEADLINE_MS = 30_000;
/** Between attempts to start it, when it does not come up. */
const RETRY_MS = [0, 50, 250, 1000];
/** How long a killed one may hold its lock. */
const TAKEOVER_MS = 5_000;

/** netd has started, and has said why it cannot work here: it would say the same a moment later. */
export class NetdRefused extends EngineError {
  constructor(reason: string) {
    super("unavailable", reason);
  }
}

const gone = (): EngineError => new EngineError("system", "the network process has ended unexpectedly");

/** One connection. */
class Connection implements NetdRequester {
  readonly #conn: Deno.UnixConn;
  readonly #pending = new Map<
    number,
    { resolve: (answer: Success) => void; reject: (error: Error) => void }
  >();
  readonly #encoder = new TextEncoder();
  readonly #onClose: () => void;
  #seq = 0;
  #closed = false;
  #writing: Promise<void> = Promise.resolve();
  #hello: NetdHello | undefined;

  private constructor(conn: Deno.UnixConn, onClose: () => void) {
    this.#conn = conn;
    this.#onClose = onClose;
    void this.#read();
  }

  /** @throws {Error} Deno's own: nobody listens there; EngineError. */
  static async open(path: string, onClose: () => void): Promise<Connection> {
    const connection = new Connection(await Deno.connect({ transport: "unix", path }), onClose);
    await connection.refresh();
    return connection;
  }

  async refresh(): Promise<void> {
    this.#hello = (await this.request({ op: "hello" })).hello;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get hello(): NetdHello {
    if (this.#hello === undefined) throw new TypeError("Not connected");
    return this.#hello;
  }

  request<O extends NetdOrder>(order: O): Promise<NetdResult<O>> {
    if (this.#closed) return Promise.reject(gone());
    const seq = ++this.#seq;
    const line = this.#encoder.encode(`${JSON.stringify({ seq, ...order })}\n`);
    return new Promise((resolve, reject) => {
      // the protocol says which answer belongs to which request
      this.#pending.set(seq, { resolve: (answer) => resolve(answer as NetdResult<O>), reject });
      this.#writing = this.#writing.then(() => this.#write(line)).catch(() => this.close());
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // closed already
    }
    for (const { reject } of this.#pending.values()) reject(gone());
    this.#pending.clear();
    this.#onClose();
  }

  async #write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length;) at += await this.#conn.write(data.subarray(at));
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(16 * 1024);
    let parts: Uint8Array[] = [];
    try {
      while (true) {
        const count = await this.#conn.read(buffer);
        if (count === null) break;
        let rest = buffer.slice(0, count);
        for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
          parts.push(rest.subarray(0, end));
          const line = await new Blob(parts as BlobPart[]).text();
          parts = [];
          rest = rest.subarray(end + 1);
          this.#take(JSON.parse(line) as NetdAnswer);
        }
        if (rest.length > 0) parts.push(rest);
      }
    } catch {
      // closed by us, reset by netd's death, or no JSON: the connection is of no more use
    }
    this.close();
  }

  #take(answer: NetdAnswer): void {
    const pending = this.#pending.get(answer.seq);
    this.#pending.delete(answer.seq);
    if (pending === undefined) return;
    if (answer.ok) return pending.resolve(answer);
    const { kind, message, hint } = answer.error;
    pending.reject(new EngineError(kind, message, hint === undefined ? {} : { hint }));
  }
}

/** Requests wait while netd is started anew; those that were under way when it was killed are made again, once. */
export class NetdClient implements NetdRequester, Disposable {
  readonly #options: NetdClientOptions;
  #connection: Connection | undefined;
  /** Settled when there is a connection that {@link NetdClientOptions.onRestart} has seen, or none can be had. */
  #ready: Promise<Connection>;
  #closed = false;
  #connecting = false;
  #starts = 0;

  private constructor(options: NetdClientOptions) {
    this.#options = options;
    this.#ready = this.#connect();
  }

  /** @throws {EngineError} unavailable: netd cannot be started here; its message says why. */
  static async open(options: NetdClientOptions): Promise<NetdClient> {
    const client = new NetdClient(options);
    try {
      await client.#ready;
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  /** Of the netd that is there now, as it was when the connection was made: `hostPid` may be another one meanwhile. */
  get hello(): NetdHello {
    if (this.#connection === undefined) throw gone();
    return this.#connection.hello;
  }

  async request<O extends NetdOrder>(order: O): Promise<NetdResult<O>> {
    const connection = await this.#ready;
    try {
      return await connection.request(order);
    } catch (error) {
      if (!connection.closed || this.#closed) throw error;
      return await (await this.#ready).request(order);
    }
  }

  /** Ends the connection. netd goes on while it has sandboxes. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ready.catch(() => {});
    this.#connection?.close();
    this.#connection = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #log(line: string): void {
    this.#options.log?.(line);
  }

  /** The connection has ended: the next one, unless that was wanted. */
  #lost(connection: Connection | undefined): void {
    if (this.#closed || connection === undefined || this.#connection !== connection) return;
    this.#connection = undefined;
    // whoever is connecting sees it
    if (this.#connecting) return;
    this.#log("the network process has ended: another one is started");
    this.#ready = this.#connect();
    this.#ready.catch((error: unknown) => this.#retryLater(error));
  }

  /** Requests are refused meanwhile, with the reason. */
  #retryLater(error: unknown): void {
    if (this.#closed) return;
    this.#log(`no network process: ${messageOf(error)}`);
    const timer = setTimeout(() => {
      if (this.#closed) return;
      this.#ready = this.#connect();
      this.#ready.catch((again: unknown) => this.#retryLater(again));
    }, 5_000);
    Deno.unrefTimer(timer);
  }

  async #connect(): Promise<Connection> {
    this.#connecting = true;
    try {
      return await this.#connectInTime();
    } finally {
      this.#connecting = false;
    }
  }

  async #connectInTime(): Promise<Connection> {
    let failure: unknown;
    for (const delay of RETRY_MS) {
      if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
      if (this.#closed) break;
      try {
        const connection = await this.#attempt();
        this.#connection = connection;
        await this.#options.onRestart(connection).catch((error: unknown) =>
          this.#log(`the networks could not be restored: ${messageOf(error)}`)
        );
        // which way outside was taken is known only now
        await connection.refresh();
        if (!connection.closed) return connection;
        failure = gone();
      } catch (error) {
        failure = error;
        if (error instanceof NetdRefused) break;
      }
    }
    throw new EngineError("unavailable", `no network process: ${messageOf(failure ?? gone())}`, {
      cause: failure,
      hint: `Its log is ${this.#options.dir}/log.`,
    });
  }

  async #attempt(): Promise<Connection> {
    const { dir, version } = this.#options;
    let connection = await this.#find();
    if (connection === undefined) {
      Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
      await (this.#options.spawn ?? spawnNetd)(dir, version);
      this.#starts++;
      connection = await this.#open();
    }
    return connection;
  }

  /** How many processes have been started. */
  get starts(): number {
    return this.#starts;
  }

  async #open(): Promise<Connection> {
    const holder: { connection?: Connection } = {};
    const path = `${this.#options.dir}/ctl.sock`;
    return holder.connection = await Connection.open(path, () => this.#lost(holder.connection));
  }

  /** One that is there and fits; one that does not fit is ended. */
  async #find(): Promise<Connection | undefined> {
    let connection: Connection;
    try {
      connection = await this.#open();
    } catch {
      return undefined;
    }
    const { pid, protocol, version } = connection.hello;
    const fits = protocol === NETD_PROTOCOL && sameNamespaces(pid);
    if (fits) return connection;
    this.#log(`the network process of ${version} (pid ${pid}) is replaced`);
    connection.close();
    await end(pid);
    return undefined;
  }
}

/** A netd of namespaces that nobody else is in any more cannot enter the containers of this engine. */
function sameNamespaces(pid: number): boolean {
  try {
    return ["user", "mnt"].every((kind) =>
      Deno.readLinkSync(`/proc/${pid}/ns/${kind}`) === Deno.readLinkSync(`/proc/self/ns/${kind}`)
    );
  } catch {
    return false;
  }
}

async function end(pid: number): Promise<void> {
  const deadline = performance.now() + TAKEOVER_MS;
  try {
    Deno.kill(pid, "SIGKILL");
    while (performance.now() < deadline) {
      Deno.statSync(`/proc/${pid}/fd`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  } catch {
    // it has ended
  }
}

async function spawnNetd(dir: string, version: string): Promise<void> {
  const options: NetdMainOptions = { dir, version, starter: Deno.pid };
  const child = spawnRole("netd", options);
  void child.status.catch(() => {});
  const text = await onFirstLine(child, BOOT_DEADLINE_MS, (line) => line);
  if (text === "ready") return;
  if (text.startsWith(REFUSED)) throw new NetdRefused(text.slice(REFUSED.length));
  throw new EngineError("unavailable", text === "" ? `it did not start; see ${dir}/log` : text);
}
