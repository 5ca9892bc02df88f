import { encodeMessage, type ServerMessage } from "../base/build_session.ts";

/** What may wait for a client that does not read; a build does not wait for it. */
const MAX_WAITING = 16 * 1024 * 1024;
const CLIPPED = new TextEncoder().encode("[output clipped: the client reads too slowly]\n").toBase64();

/** What goes out on a build session, in order. Events are taken at once; a client that falls far behind loses output of commands, and is told. */
export class BuildOutbox {
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();
  readonly #clipped = new Set<number>();

  constructor(write: (bytes: Uint8Array) => Promise<void>) {
    this.#write = write;
  }

  /** Whoever is gone hears nothing: that is noticed where the connection is read. */
  send(message: ServerMessage): void {
    if (message.kind === "event" && message.event.kind === "log") {
      const { id } = message.event;
      if (this.#waiting > MAX_WAITING) {
        if (this.#clipped.has(id)) return;
        this.#clipped.add(id);
        void this.bytes(encodeMessage({ kind: "event", event: { ...message.event, data: CLIPPED } }));
        return;
      }
      this.#clipped.delete(id);
    }
    void this.bytes(encodeMessage(message));
  }

  /** Settles when these bytes are out, or cannot be. */
  bytes(data: Uint8Array): Promise<void> {
    this.#waiting += data.length;
    return this.#last = this.#last
      .then(() => this.#write(data))
      .catch(() => {})
      .finally(() => this.#waiting -= data.length);
  }

  /** Settles when everything so far is out. */
  flushed(): Promise<void> {
    return this.#last;
  }
}
