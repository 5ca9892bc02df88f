/** The attach socket: reads each client's header and brings it to the streams it asks for. */
import { EPOLLIN } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import { type Syscalls, WOULD_BLOCK } from "../ffi/syscalls.ts";
import type { AttachHeader } from "./protocol.ts";
import { AttachClient } from "./shim_attach_client.ts";
import type { EventLoop } from "../ffi/event_loop.ts";
import type { ProcessStreams } from "./shim_streams.ts";
import { concat } from "../base/concat.ts";

const MAX_HEADER = 4096;
const NEWLINE = 0x0a;

/** Streams for an attach to the container (undefined) or to an exec. */
export type StreamsOf = (execId: string | undefined) => ProcessStreams;

export class AttachServer {
  readonly #kernel: Syscalls;
  readonly #loop: EventLoop;
  readonly #listener: number;
  readonly #streamsOf: StreamsOf;
  readonly #clients = new Set<AttachClient>();
  /** Called each time a client has gone. */
  onClientGone: (() => void) | undefined;

  constructor(kernel: Syscalls, loop: EventLoop, path: string, streamsOf: StreamsOf) {
    this.#kernel = kernel;
    this.#loop = loop;
    this.#streamsOf = streamsOf;
    this.#listener = kernel.unixListen(path, 128, 0o600);
    kernel.setNonblocking(this.#listener, true);
    loop.add(this.#listener, EPOLLIN, () => this.#accept());
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  #accept(): void {
    const fd = acceptPeer(this.#kernel, this.#listener);
    if (fd === undefined) return;
    let text = new Uint8Array(0);
    this.#loop.add(fd, EPOLLIN, () => {
      const chunk = new Uint8Array(MAX_HEADER);
      const count = readSome(this.#kernel, fd, chunk);
      if (count === WOULD_BLOCK) return;
      text = concat([text, chunk.subarray(0, Math.max(0, count))]);
      const end = text.indexOf(NEWLINE);
      if (end < 0 && count > 0 && text.length < MAX_HEADER) return;
      this.#loop.remove(fd);
      const header = end < 0 ? undefined : parseHeader(text.subarray(0, end));
      if (header === undefined) {
        this.#refuse(fd, count > 0);
        return;
      }
      this.#admit(fd, header, text.slice(end + 1));
    });
  }

  #admit(fd: number, header: AttachHeader, rest: Uint8Array): void {
    const client = new AttachClient(
      this.#kernel,
      this.#loop,
      fd,
      header,
      rest.length > 0 ? rest : undefined,
      () => {
        this.#clients.delete(client);
        this.onClientGone?.();
      },
    );
    this.#clients.add(client);
    client.send(new TextEncoder().encode('{"ok":true}\n'));
    client.join(this.#streamsOf(header.execId));
  }

  #refuse(fd: number, tell: boolean): void {
    try {
      if (tell) {
        this.#kernel.write(fd, new TextEncoder().encode('{"ok":false,"message":"bad attach header"}\n'));
      }
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    } finally {
      this.#kernel.close(fd);
    }
  }
}

/** Accepts a connection of the engine's own user; others are closed. */
export function acceptPeer(kernel: Syscalls, listener: number): number | undefined {
  const fd = kernel.accept(listener);
  if (fd === WOULD_BLOCK) return undefined;
  if (kernel.peerCredentials(fd).uid === kernel.geteuid()) return fd;
  kernel.close(fd);
  return undefined;
}

/** read(2); a broken connection counts as its end. */
export function readSome(kernel: Syscalls, fd: number, buffer: Uint8Array): number {
  try {
    return kernel.read(fd, buffer);
  } catch (error) {
    if (error instanceof SysError) return 0;
    throw error;
  }
}

function parseHeader(text: Uint8Array): AttachHeader | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(text));
    if (typeof value !== "object" || value === null) return undefined;
    const { execId, stdin, stdout, stderr } = value as Record<string, unknown>;
    return {
      ...(typeof execId === "string" ? { execId } : {}),
      stdin: stdin === true,
      stdout: stdout === true,
      stderr: stderr === true,
    };
  } catch {
    return undefined;
  }
}
