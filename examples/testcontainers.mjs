/**
 * testcontainers with an engine of the test's own. Runs in Node and in Deno:
 *
 *     make build
 *     node examples/testcontainers.mjs
 *     deno run -A examples/testcontainers.mjs
 */
import assert from "node:assert/strict";
import process from "node:process";
import { Engine } from "berth";

const engine = await Engine.start();
// testcontainers finds its engine by the environment, when it is loaded. Its reaper has nothing to do: what a killed test
// leaves behind, berth's engine removes itself.
Object.assign(process.env, engine.env);
const { GenericContainer, Wait } = await import("testcontainers");

try {
  // An image that is there is not pulled; any other would be.
  const container = await new GenericContainer("berth/host")
    .withCommand(["sh", "-c", "echo ready; exec sleep 1000"])
    .withEnvironment({ NAME: "a container" })
    .withWaitStrategy(Wait.forLogMessage("ready"))
    .start();

  const { exitCode, output } = await container.exec(["sh", "-c", "echo hello from $NAME; exit 3"]);
  assert.deepEqual([exitCode, output], [3, "hello from a container\n"]);
  console.log(output.trim());

  await container.stop();
} finally {
  await engine[Symbol.asyncDispose]();
}
