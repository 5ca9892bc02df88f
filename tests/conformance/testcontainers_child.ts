/**
 * What a project with testcontainers does, as a program of its own: testcontainers keeps one client for each process and cleans up
 * when that ends. Started by testcontainers.test.ts with DOCKER_HOST; prints what it has seen as one line of JSON.
 */
import { GenericContainer, Network, type StartedTestContainer, Wait } from "testcontainers";

const [what, option = ""] = Deno.args;
const SERVER = "mkdir -p /www; printf served > /www/index.html; exec httpd -f -p 8080 -h /www";

async function life(): Promise<unknown> {
  const network = await new Network().start();
  const server = await new GenericContainer("busybox")
    .withCommand(["sh", "-c", `echo starting; cat /etc/given /etc/copied; ${SERVER}`])
    .withNetwork(network)
    .withNetworkAliases("server")
    .withExposedPorts(8080)
    .withEnvironment({ WORD: "env" })
    .withLabels({ mine: "yes" })
    .withTmpFs({ "/scratch": "rw,size=1m" })
    .withCopyContentToContainer([{ content: "given\n", target: "/etc/given" }])
    .withCopyFilesToContainer([{ source: option, target: "/etc/copied" }])
    .withWaitStrategy(Wait.forAll([Wait.forLogMessage("given"), Wait.forListeningPorts()]))
    .start();
  const client = await new GenericContainer("busybox")
    .withCommand(["sleep", "1000"])
    .withNetwork(network)
    .withHealthCheck({ test: ["CMD-SHELL", "true"], interval: 200, timeout: 2000, retries: 3 })
    .withWaitStrategy(Wait.forHealthCheck())
    .start();
  const exec = await server.exec(["sh", "-c", "echo $WORD; df /scratch | grep -c tmpfs; exit 4"]);
  const inside = await client.exec(["wget", "-q", "-O", "-", "http://server:8080/"]);
  const outside = await published(server);
  await server.copyContentToContainer([{ content: "later", target: "/tmp/later" }]);
  const later = await server.exec(["cat", "/tmp/later"]);
  const logs = await logLines(server, 3);
  const before = server.getMappedPort(8080);
  await server.restart();
  const again = await published(server);
  await client.stop();
  await server.stop();
  await network.stop();
  return {
    exec: [exec.exitCode, exec.output],
    inside: inside.output,
    outside,
    later: later.output,
    logs,
    again,
    before,
  };
}

async function published(container: StartedTestContainer): Promise<string> {
  const response = await fetch(`http://${container.getHost()}:${container.getMappedPort(8080)}/`);
  return await response.text();
}

async function logLines(container: StartedTestContainer, count: number): Promise<string[]> {
  const stream = await container.logs();
  const lines: string[] = [];
  for await (const data of stream) {
    lines.push(...String(data).split("\n").filter((line) => line !== ""));
    if (lines.length >= count) break;
  }
  return lines;
}

/** Leaves a container behind: the reaper is to remove it. */
async function leave(): Promise<unknown> {
  const container = await new GenericContainer("busybox").withCommand(["sleep", "1000"]).start();
  return { id: container.getId() };
}

/** Builds the directory's Dockerfile and runs the image. */
async function build(): Promise<unknown> {
  const image = await GenericContainer.fromDockerfile(option).build();
  const container = await image.withWaitStrategy(Wait.forLogMessage("hello")).start();
  const [line] = await logLines(container, 1);
  await container.stop();
  return { prints: `${line}\n` };
}

const WORK: Readonly<Record<string, () => Promise<unknown>>> = { life, leave, build };
console.log(JSON.stringify(await WORK[what ?? ""]?.()));
// Without its connection the reaper begins to count.
Deno.exit(0);
