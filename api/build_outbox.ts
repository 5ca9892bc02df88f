import { encodeMessage, type ServerMessage } from "../base/build_session.ts";

/** What goes out on a build session, in order. Events are taken at once: a build does not wait for its client. */
export class BuildOutbox {
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  #last: Promise<void> = Promise.resolve();

  constructor(write: (bytes: Uint8Array) => Promise<void>) {
    this.#write = write;
  }

  /** Whoever is gone hears nothing: that is noticed where the connection is read. */
  send(message: ServerMessage): void {
    void this.bytes(encodeMessage(message));
  }

  /** Settles when these bytes are out, or cannot be. */
  bytes(data: Uint8Array): Promise<void> {
    return this.#last = this.#last.then(() => this.#write(data)).catch(() => {});
  }

  /** Settles when everything so far is out. */
  flushed(): Promise<void> {
    return this.#last;
  }
}
