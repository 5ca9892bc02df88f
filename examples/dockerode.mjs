/**
 * A test's own engine, driven by dockerode. Runs in Node and in Deno:
 *
 *     make build
 *     node examples/dockerode.mjs
 *     deno run -A examples/dockerode.mjs
 *
 * berth/host is this machine's own system as an image: nothing has to be pulled.
 */
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { Engine } from "berth";
import Docker from "dockerode";

// Where the syntax is known (Node 24, Deno): await using engine = await Engine.start();
const engine = await Engine.start();
try {
  const docker = new Docker({ socketPath: engine.socketPath });

  const output = new PassThrough();
  const [{ StatusCode }, container] = await docker.run(
    "berth/host",
    ["sh", "-c", "echo hello from $NAME; exit 3"],
    output,
    { Env: ["NAME=a container"], Tty: true },
  );
  const text = output.read().toString().trim();
  assert.deepEqual([StatusCode, text], [3, "hello from a container"]);

  const { State } = await container.inspect();
  assert.equal(State.Status, "exited");
  console.log(text);
} finally {
  // Containers, images and the engine's directory go with it.
  await engine[Symbol.asyncDispose]();
}
