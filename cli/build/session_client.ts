/** The command line's end of a build session; base/build_session.ts has the protocol. */
import {
  decodeMessage,
  encodeFrame,
  encodeMessage,
  FRAME,
  LISTED_AT_ONCE,
  type ListedFile,
  OUTPUT_STREAM,
  readFrames,
  type ServerMessage,
  type SessionEvent,
  type SessionRange,
  type SessionRequest,
} from "../../base/build_session.ts";
import { messageOf } from "../../base/errors.ts";
import type { ApiClient } from "../api_client.ts";
import { CliError } from "../errors.ts";
import type { HijackedConnection } from "../http_client.ts";
import type { Agents } from "./agents.ts";

/** Bytes of an upload in one frame. */
const PIECE = 256 * 1024;
const AGENT_READ = 32 * 1024;

/** The build itself went wrong. */
export class BuildFailure extends CliError {
  readonly range: SessionRange | undefined;

  constructor(message: string, range: SessionRange | undefined) {
    super(message);
    this.range = range;
  }
}

export type Upload =
  & { readonly stream: number }
  & (
    | { readonly chunks: AsyncIterable<Uint8Array> }
    /** A directory, of which the engine may have most. `pack`: these files alone, indices of the list. */
    | {
      readonly files: readonly ListedFile[];
      pack(wanted: readonly number[]): AsyncIterable<Uint8Array>;
    }
  );

/** What the engine wants to know, and what it tells. */
export interface SessionHandlers {
  event(event: SessionEvent): void;
  /** The Dockerfile, where only the engine has seen it. */
  dockerfile(file: { readonly name: string; readonly text: string }): void;
  secret(id: string): Uint8Array | undefined;
  /** AuthConfig as JSON. */
  auth(host: string): Promise<Uint8Array | undefined>;
  readonly agents: Agents;
  /** Takes what is built, when that is not an image. */
  output(chunks: ReadableStream<Uint8Array>): Promise<void>;
}

/**
 * Builds. Aborted by `signal`, the engine stops at once.
 *
 * @throws {BuildFailure} what the engine says; {CliError} what goes wrong here.
 */
export async function runSession(
  client: ApiClient,
  request: SessionRequest,
  uploads: readonly Upload[],
  handlers: SessionHandlers,
  signal: AbortSignal,
): Promise<{ imageId: string | undefined }> {
  signal.throwIfAborted();
  using connection = await client.hijack("/berth/build");
  const stop = () => connection.close();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await new Session(connection, handlers).run(request, uploads);
  } catch (error) {
    if (signal.aborted) throw new CliError("failed to solve: Canceled: context canceled", 130);
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

class Session {
  readonly #connection: HijackedConnection;
  readonly #handlers: SessionHandlers;
  #written: Promise<void> = Promise.resolve();
  readonly #agents = new Map<number, Promise<Deno.UnixConn>>();
  /** Which files of a directory are to be sent, by stream. */
  readonly #wants = new Map<number, PromiseWithResolvers<readonly number[]>>();
  #over = false;
  /** What went wrong here, which is what the user should hear. */
  #failure: { readonly error: unknown } | undefined;

  constructor(connection: HijackedConnection, handlers: SessionHandlers) {
    this.#connection = connection;
    this.#handlers = handlers;
  }

  async run(request: SessionRequest, uploads: readonly Upload[]): Promise<{ imageId: string | undefined }> {
    void this.#write(encodeMessage({ kind: "build", request }));
    const sending = this.#send(uploads).catch((error) => this.#fail(error));
    try {
      return await this.#listen();
    } finally {
      // a build that has failed takes no more of its context
      this.#over = true;
      this.#connection.close();
      for (const want of this.#wants.values()) want.resolve([]);
      for (const agent of this.#agents.values()) agent.then((conn) => conn.close()).catch(() => {});
      await sending;
    }
  }

  /** In the order of the calls. */
  #write(bytes: Uint8Array): Promise<void> {
    return this.#written = this.#written.then(() => this.#connection.write(bytes)).catch(() => {
      // the engine has ended it: why, it has said
    });
  }

  async #send(uploads: readonly Upload[]): Promise<void> {
    for (const upload of uploads) {
      const { stream } = upload;
      try {
        const chunks = "chunks" in upload
          ? upload.chunks
          : upload.pack(await this.#offer(stream, upload.files));
        for await (const chunk of chunks) {
          for (let at = 0; at < chunk.length; at += PIECE) {
            await this.#write(encodeFrame(FRAME.data, stream, chunk.subarray(at, at + PIECE)));
            if (this.#over) return;
          }
        }
      } catch (error) {
        await this.#write(encodeFrame(FRAME.end, stream, new TextEncoder().encode(messageOf(error))));
        throw error;
      }
      await this.#write(encodeFrame(FRAME.end, stream, new Uint8Array()));
    }
  }

  /** Lists files, and answers which of them are wanted. */
  async #offer(stream: number, files: readonly ListedFile[]): Promise<readonly number[]> {
    const want = Promise.withResolvers<readonly number[]>();
    this.#wants.set(stream, want);
    let at = 0;
    do {
      const part = files.slice(at, at + LISTED_AT_ONCE);
      at += part.length;
      await this.#write(encodeMessage({ kind: "files", stream, files: part, last: at === files.length }));
    } while (at < files.length && !this.#over);
    return await want.promise;
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
  }

  async #listen(): Promise<{ imageId: string | undefined }> {
    let output: WritableStreamDefaultWriter<Uint8Array> | undefined;
    let written: Promise<void> | undefined;
    try {
      for await (const frame of readFrames(bytesOf(this.#connection))) {
        if (frame.kind === FRAME.message) {
          // our own engine's, of the same protocol version
          const message = decodeMessage(frame) as ServerMessage;
          if (message.kind === "result") {
            await written;
            if (this.#failure !== undefined) throw this.#failure.error;
            return { imageId: message.imageId };
          }
          if (message.kind === "error") {
            throw this.#failure?.error ?? new BuildFailure(message.message, message.range);
          }
          this.#take(message);
        } else if (frame.stream === OUTPUT_STREAM) {
          if (output === undefined) {
            const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
            output = writable.getWriter();
            written = this.#handlers.output(readable);
            written.catch((error) => {
              this.#fail(error);
              void readable.cancel().catch(() => {});
            });
          }
          if (frame.kind === FRAME.end) await output.close();
          else await output.write(frame.payload);
        } else this.#toAgent(frame.stream, frame.kind === FRAME.end ? undefined : frame.payload);
      }
    } catch (error) {
      throw this.#failure?.error ?? error;
    } finally {
      void output?.abort().catch(() => {});
    }
    throw this.#failure?.error ?? new CliError("the engine has ended the build: its log says why");
  }

  #take(message: Exclude<ServerMessage, { kind: "result" | "error" }>): void {
    switch (message.kind) {
      case "event":
        this.#handlers.event(message.event);
        break;
      case "dockerfile":
        this.#handlers.dockerfile(message);
        break;
      case "want":
        this.#wants.get(message.stream)?.resolve(message.files);
        break;
      case "ask":
        void this.#answer(message);
        break;
      case "ssh":
        void this.#forward(message.stream, message.name);
        break;
    }
  }

  async #answer({ ask, what, name }: Extract<ServerMessage, { kind: "ask" }>): Promise<void> {
    let data: Uint8Array | undefined;
    try {
      if (what === "secret") data = this.#handlers.secret(name);
      else if (what === "ssh") data = this.#handlers.agents.has(name) ? new Uint8Array() : undefined;
      else data = await this.#handlers.auth(name);
    } catch (error) {
      this.#fail(error);
      this.#connection.close();
      return;
    }
    await this.#write(
      encodeMessage({ kind: "answer", ask, ...(data === undefined ? {} : { data: data.toBase64() }) }),
    );
  }

  /** From an agent to the engine; the other way is {@link #toAgent}. */
  async #forward(stream: number, name: string): Promise<void> {
    const dialled = this.#handlers.agents.dial(name);
    this.#agents.set(stream, dialled);
    try {
      const conn = await dialled;
      const space = new Uint8Array(AGENT_READ);
      for (let count = await conn.read(space); count !== null; count = await conn.read(space)) {
        await this.#write(encodeFrame(FRAME.data, stream, space.slice(0, count)));
      }
    } catch {
      // whoever asked is told by the end of the stream
    }
    this.#agents.delete(stream);
    await this.#write(encodeFrame(FRAME.end, stream, new Uint8Array()));
  }

  #toAgent(stream: number, bytes: Uint8Array | undefined): void {
    const agent = this.#agents.get(stream);
    if (agent === undefined) return;
    const written = agent.then(async (conn) => {
      if (bytes === undefined) return conn.close();
      for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    });
    // the next bytes wait for these
    this.#agents.set(stream, written.then(() => agent));
    written.catch(() => {});
    this.#agents.get(stream)?.catch(() => {});
  }
}

async function* bytesOf(connection: HijackedConnection): AsyncGenerator<Uint8Array, void, undefined> {
  for (let bytes = await connection.read(); bytes !== null; bytes = await connection.read()) yield bytes;
}
