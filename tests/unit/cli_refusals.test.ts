/** What is refused before or without an engine: names, templates, addresses. docker's command line uses the same words. */
import { describe, expect, test } from "vitest";
import { runBerth } from "../support/berth_cli.ts";
import { compare, DOCKER_28 } from "../support/cli_comparison.ts";
import { describeWith } from "../support/needs.ts";
import type { Handler } from "../support/scripted_engine.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

const engine: Handler = async (request, connection) => {
  const path = request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "");
  const answer = (status: number, body?: unknown) =>
    connection.answer(status, body, { "Content-Type": "application/json", "Api-Version": "1.51" });
  if (path === "/_ping") return await answer(200, "OK");
  if (path === "/containers/json" || path === "/images/json") return await answer(200, []);
  if (path === "/networks/bridge") return await answer(200, { Name: "bridge", Id: "b".repeat(64) });
  if (path.endsWith("/tag")) return await answer(201);
  await answer(404, { message: "page not found" });
};

const SAME: string[][] = [
  ["tag", "x", "X:Y"],
  ["tag", "X", "y"],
  ["tag", "x", ""],
  ["tag", "x", "y:z:w"],
  ["tag", "x", `y@${DIGEST}`],
  ["tag", "x", "a".repeat(64)],
  ["tag", "a".repeat(64), "index.docker.io/library/y"],
  ["tag", "x:y", "localhost:5000/a/b:c"],
  ["pull", "Foo"],
  ["pull", "http://foo/bar"],
  ["pull", "-a", "foo:bar"],
  ["push", "foo:bar:baz"],
  ["push", `foo@${DIGEST}`],
  ["create", "Foo"],
  ["create", ""],
  ["run", "--rm", "foo/"],
  ["commit", "c1", "Foo"],
  ["commit", "", "x"],
  ["import", "-", "Foo"],
  ["ps", "--format", "{{.Bogus}}"],
  ["ps", "--format", "table {{.Names.Foo}}"],
  ["ps", "--format", "{{.Names}"],
  ["ps", "--format", "{{bogus .}}"],
  ["ps", "--format", "{{.Label}}"],
  ["images", "--format", "table {{.ID}}\\t{{.Bogus}}"],
  ["images", "--format", "{{.ID}"],
  ["version", "--format", "{{.Client"],
  ["events", "--format", "{{.Bogus}}"],
  ["events", "--format", "{{.Type"],
  ["inspect", "--type", "bogus", "c1"],
  ["inspect", "--type", "", "c1"],
  ["inspect", "--type", "node", "n"],
  ["inspect", "--type", "network", "-s", "bridge"],
  ["inspect", "-f", "{{.Name}} {{.ID}}", "bridge"],
];

describeWith(DOCKER_28)("compared with docker 28", () => {
  test.each(SAME)("berth %s %s %s %s", async (...argv) => {
    const { docker, berth } = await compare(argv, engine);
    expect(berth).toEqual(docker);
  });
});

describe("berth -H", () => {
  test.each([
    [
      "bogus://x",
      "Failed to initialize: unable to resolve docker endpoint: invalid bind address format: bogus://x",
    ],
    [
      "tcp://:x",
      'Failed to initialize: unable to resolve docker endpoint: parse "tcp://:x": invalid port ":x" after host',
    ],
    [
      "127.0.0.1:1",
      "Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?",
    ],
    ["host.invalid", "error during connect: dial tcp: lookup host.invalid: no such host"],
  ])("%s", async (host, message) => {
    expect(await runBerth(["-H", host, "ps"])).toEqual({ code: 1, stdout: "", stderr: `${message}\n` });
  });
});
