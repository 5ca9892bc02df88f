import type { Duplex } from "node:stream";
import { nodeBuiltin } from "../../base/node_builtin.ts";
import type { ClientStream } from "../../engine/types.ts";

const stream = nodeBuiltin("node:stream");

/** A connection that was taken over, as what `node:http2` wants. */
export function duplexOf(connection: ClientStream): Duplex {
  const input = connection.input[Symbol.asyncIterator]();
  return new stream.Duplex({
    read() {
      input.next().then(
        ({ done, value }) => {
          if (done !== true) this.push(value);
          // HTTP/2 has no half of a connection: who has stopped sending has gone
          else this.destroy();
        },
        (error) => this.destroy(error instanceof Error ? error : new Error(String(error))),
      );
    },
    write(chunk: Uint8Array, _encoding, done) {
      connection.write(chunk).then(() => done(), done);
    },
    final(done) {
      connection.closeWrite().then(() => done(), done);
    },
    destroy(error, done) {
      connection.close();
      done(error);
    },
  });
}
