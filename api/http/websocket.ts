/**
 * The server's end of a WebSocket (RFC 6455) as a stream of bytes: messages and how they are cut into frames mean nothing to
 * whoever is attached, so a frame's bytes are passed on as they come, however large it is.
 */
import { type ClientStream } from "../../engine/types.ts";
import { concat } from "../../base/concat.ts";

const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
/** RFC 6455, 5.5: a control frame is short and in one piece. */
const MAX_CONTROL = 125;
/** RFC 6455, 7.4.1 */
export const CLOSE = { normal: 1000, protocolError: 1002, notUtf8: 1007 } as const;
/** RFC 6455, 1.3: what makes an answer one to this protocol. */
const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** What may wait for whoever reads the input; then the client has to. */
const MAX_WAITING = 256 * 1024;

/** `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`. */
export async function acceptKey(key: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(key + ACCEPT_SUFFIX));
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}

/** One frame from the server: whole, not masked. */
export function encodeFrame(opcode: number, payload: Uint8Array): Uint8Array {
  const extra = payload.length < 126 ? 0 : payload.length < 65536 ? 2 : 8;
  const frame = new Uint8Array(2 + extra + payload.length);
  const view = new DataView(frame.buffer);
  frame[0] = 0x80 | opcode;
  frame[1] = extra === 0 ? payload.length : extra === 2 ? 126 : 127;
  if (extra === 2) view.setUint16(2, payload.length);
  if (extra === 8) view.setBigUint64(2, BigInt(payload.length));
  frame.set(payload, 2 + extra);
  return frame;
}

/** What a client has sent. `data` may be a part of a frame. */
export type WebSocketInput =
  | { readonly kind: "data"; readonly data: Uint8Array }
  | { readonly kind: "ping"; readonly data: Uint8Array }
  | { readonly kind: "close"; readonly code: number };

/** What the client does wrong; the connection is to be closed with `code`. */
export class WebSocketError extends Error {
  override readonly name = "WebSocketError";
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

interface FrameHead {
  readonly opcode: number;
  readonly final: boolean;
  readonly mask: Uint8Array;
  readonly size: number;
  readonly length: number;
}

/** Reads a client's frames, however they are cut by the transport. */
export class FrameDecoder {
  #waiting: Uint8Array = new Uint8Array(0);
  #frame: FrameHead | undefined;
  /** Bytes of the frame's payload that have been passed on. */
  #passed = 0;
  /** The message that is being continued. */
  #message: "text" | "binary" | undefined;
  #utf8 = new TextDecoder("utf-8", { fatal: true });

  /** @throws WebSocketError when the bytes are no frames of a client. */
  *push(bytes: Uint8Array): Generator<WebSocketInput> {
    this.#waiting = this.#waiting.length === 0 ? bytes : concat([this.#waiting, bytes]);
    for (;;) {
      if (this.#frame === undefined) {
        const head = readHead(this.#waiting);
        if (head === undefined) return;
        this.#begin(head);
        this.#waiting = this.#waiting.subarray(head.size);
      }
      const frame = this.#frame as FrameHead | undefined;
      if (frame === undefined) return;
      const control = frame.opcode >= OPCODE.close;
      const left = frame.length - this.#passed;
      if (control && this.#waiting.length < left) return;
      const part = unmask(this.#waiting.subarray(0, left), frame.mask, this.#passed);
      this.#waiting = this.#waiting.subarray(part.length);
      this.#passed += part.length;
      const over = this.#passed === frame.length;
      if (over) this.#frame = undefined;
      if (control) {
        const input = controlInput(frame.opcode, part);
        if (input !== undefined) yield input;
        continue;
      }
      this.#check(part, over && frame.final);
      if (part.length > 0) yield { kind: "data", data: part };
      if (!over) return;
      if (frame.final) this.#message = undefined;
    }
  }

  #begin(frame: FrameHead): void {
    const { opcode, final, length } = frame;
    if (opcode >= OPCODE.close) {
      if (!final || length > MAX_CONTROL) throw protocolError("a control frame is cut or too long");
      if (opcode > OPCODE.pong) throw protocolError(`unknown opcode ${opcode}`);
    } else if (opcode === OPCODE.continuation) {
      if (this.#message === undefined) throw protocolError("nothing to continue");
    } else {
      if (opcode > OPCODE.binary) throw protocolError(`unknown opcode ${opcode}`);
      if (this.#message !== undefined) throw protocolError("the message before has not ended");
      this.#message = opcode === OPCODE.text ? "text" : "binary";
    }
    this.#frame = frame;
    this.#passed = 0;
  }

  #check(part: Uint8Array, end: boolean): void {
    if (this.#message !== "text") return;
    try {
      this.#utf8.decode(part, { stream: !end });
    } catch {
      throw new WebSocketError(CLOSE.notUtf8, "a text message is not UTF-8");
    }
  }
}

function readHead(bytes: Uint8Array): FrameHead | undefined {
  const [first, second] = bytes;
  if (first === undefined || second === undefined) return undefined;
  if ((first & 0x70) !== 0) throw protocolError("reserved bits are set");
  if ((second & 0x80) === 0) throw protocolError("a client's frame has to be masked");
  const short = second & 0x7f;
  const extra = short === 126 ? 2 : short === 127 ? 8 : 0;
  const size = 2 + extra + 4;
  if (bytes.length < size) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, size);
  const long = extra === 8 ? view.getBigUint64(2) : BigInt(extra === 2 ? view.getUint16(2) : short);
  if (long > BigInt(Number.MAX_SAFE_INTEGER)) throw protocolError("a frame is too long");
  return {
    opcode: first & 0x0f,
    final: (first & 0x80) !== 0,
    mask: bytes.slice(size - 4, size),
    size,
    length: Number(long),
  };
}

/** `offset`: how many bytes of the frame came before. */
function unmask(data: Uint8Array, mask: Uint8Array, offset: number): Uint8Array {
  const plain = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) plain[i] = (data[i] ?? 0) ^ (mask[(offset + i) & 3] ?? 0);
  return plain;
}

function controlInput(opcode: number, data: Uint8Array): WebSocketInput | undefined {
  if (opcode === OPCODE.pong) return undefined;
  if (opcode === OPCODE.ping) return { kind: "ping", data };
  if (data.length === 0) return { kind: "close", code: CLOSE.normal };
  if (data.length === 1) throw protocolError("half a status code");
  const code = new DataView(data.buffer).getUint16(0);
  const known = (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) ||
    (code >= 3000 && code <= 4999);
  if (!known) throw protocolError(`status code ${code} may not be sent`);
  return { kind: "close", code };
}

const protocolError = (message: string) => new WebSocketError(CLOSE.protocolError, message);

/**
 * A taken-over connection whose bytes travel in frames. The client's Close is the end of the input, as a half-close is elsewhere:
 * what the other side still has to say is sent, then the Close is answered.
 */
export class WebSocketStream implements ClientStream {
  readonly input: AsyncIterable<Uint8Array>;
  readonly #raw: ClientStream;
  readonly #binary: boolean;
  /** Cuts text between characters. */
  readonly #text = new TextDecoder();
  #closeCode: number = CLOSE.normal;
  #closeSent = false;
  #ended: Promise<void> | undefined;

  /** `binary`: which kind of frames the client gets. It may send either. */
  constructor(raw: ClientStream, binary: boolean) {
    this.#raw = raw;
    this.#binary = binary;
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(
      {},
      undefined,
      new ByteLengthQueuingStrategy({ highWaterMark: MAX_WAITING }),
    );
    // Read also when nobody wants the input: pings are to be answered, and the end noticed.
    void this.#read(writable.getWriter());
    this.input = readable;
  }

  async write(data: Uint8Array): Promise<void> {
    if (this.#closeSent) throw new Deno.errors.BrokenPipe("the WebSocket is closed");
    if (this.#binary) return await this.#raw.write(encodeFrame(OPCODE.binary, data));
    const text = new TextEncoder().encode(this.#text.decode(data, { stream: true }));
    if (text.length > 0) await this.#raw.write(encodeFrame(OPCODE.text, text));
  }

  closeWrite(): Promise<void> {
    return this.#ended ??= this.#sendClose();
  }

  close(): void {
    void this.closeWrite().finally(() => this.#raw.close());
  }

  async #sendClose(): Promise<void> {
    this.#closeSent = true;
    const code = new Uint8Array(2);
    new DataView(code.buffer).setUint16(0, this.#closeCode);
    // Whoever has gone needs no farewell.
    await this.#raw.write(encodeFrame(OPCODE.close, code)).catch(() => {});
  }

  async #read(sink: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
    const decoder = new FrameDecoder();
    try {
      for await (const bytes of this.#raw.input) {
        for (const input of decoder.push(bytes)) {
          if (input.kind === "data") await sink.write(input.data);
          else if (input.kind === "ping") {
            if (!this.#closeSent) await this.#raw.write(encodeFrame(OPCODE.pong, input.data));
          } else {
            this.#closeCode = input.code;
            return;
          }
        }
      }
    } catch (error) {
      if (error instanceof WebSocketError) {
        this.#closeCode = error.code;
        this.close();
      }
    } finally {
      await sink.close().catch(() => {});
    }
  }
}
