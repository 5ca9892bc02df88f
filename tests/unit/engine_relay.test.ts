/** What passes between a client and a shim, over real sockets. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { relay } from "../../engine/relay.ts";
import { AttachConn } from "../../engine/shim_client.ts";

/** More than a block, less than a socket holds. */
const OUTPUT = 100_000;

let directory: string;
beforeAll(() => {
  directory = Deno.makeTempDirSync({ prefix: "berth-relay-" });
});
afterAll(() => Deno.removeSync(directory, { recursive: true }));

/** A shim whose process has printed something and has ended, without reading what it was sent. */
async function endedShim(): Promise<AttachConn> {
  const path = `${directory}/${crypto.randomUUID()}`;
  using listener = Deno.listen({ transport: "unix", path });
  const [conn, shim] = await Promise.all([Deno.connect({ transport: "unix", path }), listener.accept()]);
  for (let sent = 0; sent < OUTPUT;) sent += await shim.write(new Uint8Array(OUTPUT - sent).fill(0x61));
  shim.close();
  return new AttachConn(conn, new Uint8Array());
}

test.each(["relay", "stdin"] as const)(
  "a key that comes when the process has ended takes nothing of its output (%s)",
  async (inputEnd) => {
    let received = 0;
    const client = {
      input: (async function* () {
        yield new Uint8Array([4]);
      })(),
      write: (data: Uint8Array) => {
        const { length } = data;
        return new Promise<void>((resolve) =>
          setTimeout(() => {
            received += length;
            resolve();
          })
        );
      },
      closeWrite: () => Promise.resolve(),
      close() {},
    };
    const options = { stdin: true, output: true, inputEnd, detachKeys: undefined };
    expect(await relay(await endedShim(), client, options)).toBe("ended");
    expect(received).toBe(OUTPUT);
  },
);
