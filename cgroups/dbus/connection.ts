/** A connection to a D-Bus bus, or to a program that speaks D-Bus directly, as systemd does on its private socket. */
import { withDeadline } from "../../base/deadline.ts";
import {
  type DBusValue,
  decodeMessage,
  encodeMessage,
  ERROR,
  type Message,
  messageLength,
  METHOD_CALL,
  METHOD_RETURN,
  SIGNAL,
} from "./message.ts";

/** Where to connect. */
export interface DBusAddress {
  readonly path: string;
  /** There is a message bus at the other end, which wants to be greeted first. */
  readonly bus: boolean;
}

/** A method to call. */
export interface MethodCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** Types of `body`. */
  readonly signature?: string;
  readonly body?: readonly DBusValue[];
}

/** The other side's own error: `errorName` like "org.freedesktop.systemd1.NoSuchUnit". */
export class DBusError extends Error {
  override readonly name = "DBusError";
  readonly errorName: string;
  constructor(errorName: string, message: string) {
    super(message === "" ? errorName : message);
    this.errorName = errorName;
  }
}

interface Pending {
  resolve(body: readonly DBusValue[]): void;
  reject(error: Error): void;
}

export class DBusConnection implements Disposable {
  readonly #socket: Deno.Conn;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<(signal: Message) => void>();
  /** Bytes of a message that has not come whole. */
  #rest = new Uint8Array(0);
  #serial = 0;
  #closed: Error | undefined;
  #sending: Promise<unknown> = Promise.resolve();

  private constructor(socket: Deno.Conn) {
    this.#socket = socket;
  }

  /**
   * Connects and authenticates.
   *
   * @param uid the user as the other side sees it: outside of any user namespace.
   * @throws {Error} nobody listens, access is denied, or `deadlineMs` has passed.
   */
  static async connect(address: DBusAddress, uid: number, deadlineMs: number): Promise<DBusConnection> {
    const connecting = Deno.connect({ transport: "unix", path: address.path });
    const socket = await withDeadline(connecting, deadlineMs, () => {
      // nobody has use for it any more
      connecting.then((late) => late.close(), () => {});
      return noAnswer(`connecting to ${address.path}`, deadlineMs);
    });
    const connection = new DBusConnection(socket);
    try {
      await withDeadline(
        connection.#authenticate(uid),
        deadlineMs,
        () => noAnswer(`authentication at ${address.path}`, deadlineMs),
      );
      void connection.#read();
      if (address.bus) {
        const bus = {
          destination: "org.freedesktop.DBus",
          path: "/org/freedesktop/DBus",
          interface: "org.freedesktop.DBus",
        };
        await connection.call({ ...bus, member: "Hello" }, deadlineMs);
      }
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Calls a method; answers the values that it returns. @throws {DBusError}, {Error} when the connection breaks or it takes too long. */
  async call(method: MethodCall, deadlineMs: number): Promise<readonly DBusValue[]> {
    if (this.#closed !== undefined) throw this.#closed;
    const serial = ++this.#serial;
    const reply = new Promise<readonly DBusValue[]>((resolve, reject) =>
      this.#pending.set(serial, { resolve, reject })
    );
    const { body = [], ...rest } = method;
    const bytes = encodeMessage({ ...rest, body, type: METHOD_CALL, serial });
    const sent = this.#sending.then(() => writeAll(this.#socket, bytes));
    this.#sending = sent.catch((error) => this.#fail(error));
    try {
      const name = `${method.interface}.${method.member}`;
      return await withDeadline(reply, deadlineMs, () => noAnswer(name, deadlineMs));
    } finally {
      this.#pending.delete(serial);
    }
  }

  /** Calls `listener` with each signal that comes; answers the function that ends that. */
  onSignal(listener: (signal: Message) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#fail(new Error("the connection to D-Bus is closed"));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** SASL's EXTERNAL: the kernel has told the other side who we are. */
  async #authenticate(uid: number): Promise<void> {
    const identity = new TextEncoder().encode(String(uid)).toHex();
    await writeAll(this.#socket, new TextEncoder().encode(`\0AUTH EXTERNAL ${identity}\r\n`));
    const buffer = new Uint8Array(512);
    let line = "";
    while (!line.includes("\r\n")) {
      const count = await this.#socket.read(buffer);
      if (count === null || line.length > buffer.length) throw new Error("D-Bus has refused the connection");
      line += new TextDecoder().decode(buffer.subarray(0, count));
    }
    if (!line.startsWith("OK ")) throw new Error(`D-Bus has refused the connection: ${line.trim()}`);
    await writeAll(this.#socket, new TextEncoder().encode("BEGIN\r\n"));
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(16 * 1024);
    try {
      for (;;) {
        const count = await this.#socket.read(buffer);
        if (count === null) throw new Error("D-Bus has closed the connection");
        const bytes = new Uint8Array(this.#rest.length + count);
        bytes.set(this.#rest);
        bytes.set(buffer.subarray(0, count), this.#rest.length);
        this.#rest = this.#take(bytes);
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Handles all whole messages, answers what is left. */
  #take(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    for (;;) {
      const length = messageLength(bytes);
      if (length === undefined || length > bytes.length) return bytes;
      this.#handle(decodeMessage(bytes.slice(0, length)));
      bytes = bytes.slice(length);
    }
  }

  #handle(message: Message): void {
    if (message.type === SIGNAL) {
      for (const listener of [...this.#listeners]) listener(message);
      return;
    }
    const pending = this.#pending.get(message.replySerial ?? 0);
    if (message.type === METHOD_RETURN) pending?.resolve(message.body);
    if (message.type === ERROR) {
      const [text] = message.body;
      pending?.reject(new DBusError(message.errorName ?? "", typeof text === "string" ? text : ""));
    }
  }

  #fail(error: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    try {
      this.#socket.close();
    } catch {
      // Closed already.
    }
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

/** @param what was asked for. */
export function noAnswer(what: string, ms: number): Error {
  return new Error(`${what}: no answer within ${ms / 1000} s`);
}

async function writeAll(socket: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await socket.write(bytes.subarray(done));
}
