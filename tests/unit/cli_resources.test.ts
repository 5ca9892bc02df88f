/** What containers use and may use, on the command line: stats, pause, unpause, update, builder prune, as docker has them. */
import { describe, expect, test } from "vitest";
import { runBerth, startBerth } from "../support/berth_cli.ts";
import { compare, DOCKER_28 } from "../support/cli_comparison.ts";
import { describeWith } from "../support/needs.ts";
import { type Handler, type ScriptedConnection, scriptedEngine } from "../support/scripted_engine.ts";

const WEB = "a".repeat(64);
const DB = "b".repeat(64);

/** What the engine tells of a container that has been busy on two processors. */
const busy = (id: string, name: string) => ({
  name: `/${name}`,
  id,
  pids_stats: { current: 3 },
  cpu_stats: { cpu_usage: { total_usage: 3e9 }, system_cpu_usage: 20e9, online_cpus: 2 },
  precpu_stats: { cpu_usage: { total_usage: 2654321000 }, system_cpu_usage: 18e9 },
  memory_stats: { usage: 12345678, limit: 268435456, stats: { inactive_file: 345678 } },
  blkio_stats: {
    io_service_bytes_recursive: [{ op: "read", value: 4096 }, { op: "Write", value: 123456 }, { op: "" }],
  },
  networks: { eth0: { rx_bytes: 1234, tx_bytes: 56789 }, eth1: { rx_bytes: 1, tx_bytes: 2 } },
});

/** One that does not run: nothing is known. */
const idle = (id: string, name: string) => ({
  name: `/${name}`,
  id,
  cpu_stats: {},
  precpu_stats: {},
  memory_stats: {},
  pids_stats: {},
  blkio_stats: { io_service_bytes_recursive: null },
});

const engine: Handler = async (request, connection) => {
  const path = request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "");
  const answer = (status: number, body?: unknown) =>
    connection.answer(status, body, { "Content-Type": "application/json", "Api-Version": "1.51" });
  const [, room, name = ""] = path.split("/");
  if (path === "/_ping") return await answer(200, "OK");
  if (path === "/version") return await answer(200, { Os: "linux", ApiVersion: "1.51" });
  if (path === "/containers/json") return await answer(200, [{ Id: WEB }, { Id: DB }]);
  if (path === "/events") {
    await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    await connection.read();
    return;
  }
  if (path === "/build/prune") return await answer(200, { CachesDeleted: ["x", "y"], SpaceReclaimed: 12345 });
  if (path.endsWith("/prune")) return await answer(200, {});
  const id = name === "web" || WEB.startsWith(name) ? WEB : name === "db" || DB.startsWith(name) ? DB : "";
  if (room !== "containers" || id === "") {
    return await answer(404, { message: `No such container: ${name}` });
  }
  if (path.endsWith("/stats")) return await answer(200, id === WEB ? busy(id, "web") : idle(id, "db"));
  if (path.endsWith("/update")) return await answer(200, { Warnings: id === WEB ? ["one", "two"] : null });
  return await answer(204);
};

const SAME: string[][] = [
  ["stats", "--no-stream"],
  ["stats", "--no-stream", "-a", "--no-trunc"],
  ["stats", "--no-stream", "web", "db"],
  ["container", "stats", "--no-stream", "web", "nope", "nope2"],
  ["stats", "--no-stream", "--format", "{{json .}}"],
  ["stats", "--no-stream", "--format", "json", "web"],
  ["stats", "--no-stream", "--format", "{{.Container}} {{.Nope}}", "web"],
  ["stats", "--no-stream", "--format", "table {{.Container}}\t{{.PIDs}}", "web", "db"],
  ...["login", "logout", "cp", "container cp", "volume rm", "pause", "unpause", "update", "image prune"]
    .map((words) => [...words.split(" "), "--help"]),
  ["pause", "web", "nope"],
  ["pause"],
  ["container", "unpause", "web", "db"],
  ["update", "web"],
  ["update", "--memory", "64m", "--restart", "on-failure:3", "--cpus", "1.5", "--pids-limit", "5", "web"],
  ["update", "--blkio-weight", "5", "-c", "7", "--memory-swap", "-1", "web", "nope", "db", "nope2"],
  ["update", "--kernel-memory", "64m", "db"],
  ["update", "--restart", "foo:x", "web"],
  ["update", "--memory", "much", "web"],
  ["system", "prune", "-f"],
  ["system", "prune", "-fa", "--volumes"],
];

describeWith(DOCKER_28)("resources, as docker", () => {
  test.each(SAME.map((argv) => [argv] as const))("%j", async (argv) => {
    const { docker, berth } = await compare(argv, engine);
    // Several containers are asked at once, in no order.
    expect({ ...berth, requests: [...berth.requests].sort() }).toEqual({
      ...docker,
      requests: [...docker.requests].sort(),
    });
  });

  test.each([
    [["builder", "prune", "-f"]],
    [["builder", "prune", "-fa", "--filter", "until=24h", "--keep-storage", "1g"]],
    [["builder", "prune"]],
  ])("%j, without docker's advice to install buildx", async (argv) => {
    const { docker, berth } = await compare(argv, engine);
    expect({ ...berth, stderr: docker.stderr }).toEqual(docker);
    expect(berth.stderr).toBe("");
  });
});

describe("berth stats", () => {
  const chunk = (value: unknown) => {
    const text = `${JSON.stringify(value)}\n`;
    return `${text.length.toString(16)}\r\n${text}\r\n`;
  };
  const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

  test("goes on, and shows containers that start and no more those that end", async () => {
    const streams = new Map<string, ScriptedConnection>();
    await using scripted = scriptedEngine(async (request, connection) => {
      const path = request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "");
      if (path === "/containers/json") return await connection.answer(200, [{ Id: WEB }]);
      if (path !== "/events" && !path.endsWith("/stats")) return await engine(request, connection);
      streams.set(path, connection);
      await connection.send(HEAD);
      const id = path.includes(DB.slice(0, 12)) ? DB : WEB;
      if (path !== "/events") await connection.send(chunk(busy(id, id === DB ? "db" : "web")));
      await connection.read();
    });
    const child = startBerth(["-H", scripted.host, "stats", "--format", "{{.Name}} {{.CPUPerc}}"]);
    const event = (Action: string, ID: string) =>
      streams.get("/events")?.send(chunk({ Type: "container", Action, Actor: { ID } }));
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const until = async (wanted: RegExp) => {
      let text = "";
      while (!wanted.test(text)) {
        const { value, done } = await reader.read();
        if (done) throw new Error(`it ended: ${text}`);
        text += value;
      }
      return text;
    };
    await until(/^web 34\.57%\n/);
    await event("start", DB);
    await until(/db 34\.57%\n/);
    await event("die", WEB);
    await until(/(^|\n)db (34\.57%|--)\ndb /);
    streams.get("/events")?.close();
    await reader.cancel();
    child.kill("SIGTERM");
    await child.status;
    await child.stderr.cancel();
  });

  test("shows dashes for a container whose answers have ended", async () => {
    await using scripted = scriptedEngine(async (request, connection) => {
      if (!request.target.includes("/stats")) return await engine(request, connection);
      await connection.send(`${HEAD}${chunk(busy(WEB, "web"))}0\r\n\r\n`);
    });
    const child = startBerth(["-H", scripted.host, "stats", "web"]);
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!/web +-- +-- \/ -- +-- +-- +-- +--\n/.test(text)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`it ended: ${text}`);
      text += value;
    }
    // No terminal, no control sequences.
    expect(text).not.toContain("\x1b");
    await reader.cancel();
    child.kill("SIGTERM");
    await child.status;
    await child.stderr.cancel();
  });

  test("names every container that there is not, and exits with 1", async () => {
    await using scripted = scriptedEngine(engine);
    expect(await runBerth(["-H", scripted.host, "stats", "nope", "web"])).toEqual({
      code: 1,
      stdout: "",
      stderr: "Error response from daemon: No such container: nope\n",
    });
  });
});
