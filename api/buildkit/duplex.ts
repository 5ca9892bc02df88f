import { Duplex } from "node:stream";
import type { ClientStream } from "../../engine/types.ts";

/** A connection that was taken over, as what `node:http2` wants. */
export function duplexOf(stream: ClientStream): Duplex {
  const input = stream.input[Symbol.asyncIterator]();
  return new Duplex({
    read() {
      input.next().then(
        ({ done, value }) => void this.push(done === true ? null : value),
        (error) => this.destroy(error instanceof Error ? error : new Error(String(error))),
      );
    },
    write(chunk: Uint8Array, _encoding, done) {
      stream.write(chunk).then(() => done(), done);
    },
    final(done) {
      stream.closeWrite().then(() => done(), done);
    },
    destroy(error, done) {
      stream.close();
      done(error);
    },
  });
}
