/** Small things that a Docker Engine 28.5 (API 1.51) was seen to do, and that clients come to rely on. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxEngine, call } from "../support/conformance.ts";
import type { Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { RawClient } from "../support/raw_http.ts";
import { type User, usersToTest } from "../support/users.ts";

interface Event {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly Attributes: Readonly<Record<string, string>> };
}

describeWith(BUSYBOX).each(usersToTest())("the API as Docker 28 has it, as $name", (user: User) => {
  let engine: Engine;
  const ask = async (method: string, path: string, body?: unknown) =>
    await call(engine.socket, method, path, body);
  const seconds = () => Math.floor(Date.now() / 1000);
  const events = async (since: number, filters: unknown = {}): Promise<Event[]> => {
    const query = `since=${since}&until=${seconds() + 1}&filters=${
      encodeURIComponent(JSON.stringify(filters))
    }`;
    const { body } = await ask("GET", `/events?${query}`);
    // one line alone is JSON
    if (typeof body !== "string") return [body as Event];
    return body.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Event);
  };

  beforeAll(async () => {
    engine = await busyboxEngine({ user });
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  it("reads names of fields in any case, and keeps null where nothing was said", async () => {
    const body = {
      image: "busybox",
      cmd: ["true"],
      hostconfig: { portbindings: { "80/tcp": [{ hostport: "0" }] } },
    };
    expect((await ask("POST", "/containers/create?name=cases", body)).status).toBe(201);
    const { body: seen } = await ask("GET", "/containers/cases/json");
    expect(seen).toMatchObject({
      HostConfig: { Dns: null, Devices: null, PortBindings: { "80/tcp": [{ HostIp: "", HostPort: "0" }] } },
    });
    expect((await ask("DELETE", "/containers/cases")).status).toBe(204);
  });

  it("refuses at create a bind whose source is missing", async () => {
    const bind = (Source: string, BindOptions = {}) => ({
      Image: "busybox",
      HostConfig: { Mounts: [{ Type: "bind", Source, Target: "/x", BindOptions }] },
    });
    expect(await ask("POST", "/containers/create?name=bind", bind("/none/there"))).toMatchObject({
      status: 400,
      body: { message: 'invalid mount config for type "bind": bind source path does not exist: /none/there' },
    });
    expect((await ask("GET", "/containers/bind/json")).status).toBe(404);
    // The engine's own socket stands in for Docker's, which need not be there.
    expect((await ask("POST", "/containers/create?name=bind", bind("/var/run/docker.sock"))).status).toBe(
      201,
    );
    expect((await ask("DELETE", "/containers/bind")).status).toBe(204);
  });

  it("says what is wrong with names as Docker does, and never 404 where the command line would pull an image", async () => {
    const from = { Image: "busybox", HostConfig: { VolumesFrom: ["nobody"] } };
    expect(await ask("POST", "/containers/create", from)).toMatchObject({
      status: 400,
      body: { message: "No such container: nobody" },
    });
    expect((await ask("POST", "/containers/create?name=named", { Image: "busybox" })).status).toBe(201);
    expect(await ask("POST", "/containers/named/rename?name=a%20b")).toMatchObject({
      status: 400,
      body: {
        message:
          "Error when allocating new name: Invalid container name (/a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
      },
    });
    expect((await ask("DELETE", "/containers/named")).status).toBe(204);
  });

  it("resizes nothing, without complaint, where there is no terminal; tells events in Docker's order", async () => {
    const since = seconds();
    const body = { Image: "busybox", Cmd: ["sleep", "1000"], HostConfig: { Binds: ["details:/v"] } };
    expect((await ask("POST", "/containers/create?name=run", body)).status).toBe(201);
    expect((await ask("POST", "/containers/run/start")).status).toBe(204);
    expect((await ask("POST", "/containers/run/resize?h=10&w=20")).status).toBe(200);
    expect(await ask("POST", "/containers/run/resize?h=x&w=20")).toMatchObject({
      status: 400,
      body: { message: 'invalid resize height "x": invalid syntax' },
    });
    expect(await ask("POST", "/containers/run/kill?signal=FOO")).toMatchObject({
      status: 400,
      body: { message: "cannot kill container: run: invalid signal: FOO" },
    });
    expect(await ask("POST", "/containers/run/update")).toMatchObject({
      status: 200,
      body: { Warnings: null },
    });
    expect((await ask("POST", "/containers/run/kill")).status).toBe(204);
    expect(await ask("POST", "/containers/run/start?checkpoint=c")).toMatchObject({ status: 400 });
    expect((await ask("DELETE", "/containers/run")).status).toBe(204);
    const all = await events(since, { nonsense: ["passed over"] });
    expect(all.find(({ Action }) => Action === "resize")?.Actor.Attributes).toMatchObject({
      height: "10",
      width: "20",
    });
    const names = all.map(({ Type, Action }) => `${Type} ${Action}`);
    expect(names.slice(names.indexOf("container kill")).filter((name) => !name.startsWith("network")))
      .toEqual([
        "container kill",
        "volume unmount",
        "container die",
        "container destroy",
      ]);
  });

  it("heads the stream of an exec with the engine's headers, and names the command as Docker does", async () => {
    const since = seconds();
    await ask("POST", "/containers/create?name=exec", { Image: "busybox", Cmd: ["sleep", "1000"] });
    await ask("POST", "/containers/exec/start");
    const { body: seen } = await ask("POST", "/containers/exec/exec", { Cmd: ["true"], AttachStdout: true });
    const id = (seen as { Id: string }).Id;
    const client = await RawClient.connect(engine.socket);
    await client.send(
      `POST /v1.42/exec/${id}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n` +
        'Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{"Detach":false}',
    );
    const head = (await client.toEnd()).split("\r\n");
    expect(head.slice(0, 4)).toEqual([
      "HTTP/1.1 101 UPGRADED",
      "Content-Type: application/vnd.docker.multiplexed-stream",
      "Connection: Upgrade",
      "Upgrade: tcp",
    ]);
    expect(head).toContain("Ostype: linux");
    expect(await ask("POST", `/exec/${id}/start`, { Detach: true })).toMatchObject({
      status: 409,
      body: { message: `exec command ${id} has already run` },
    });
    expect((await ask("GET", `/exec/${id}/json`)).body).toMatchObject({ CanRemove: false, Running: false });
    expect((await events(since, { event: ["exec_create"] })).map(({ Action }) => Action)).toEqual([
      "exec_create: true ",
    ]);
    expect((await ask("DELETE", "/containers/exec?force=1")).status).toBe(204);
  });

  it("prunes neither volumes with options nor configurations of networks", async () => {
    await ask("POST", "/volumes/create", { Name: "plain" });
    await ask("POST", "/volumes/create", { Name: "chosen", DriverOpts: { type: "tmpfs", device: "tmpfs" } });
    const pruned = await ask("POST", '/volumes/prune?filters={"all":["1"]}');
    expect((pruned.body as { VolumesDeleted: string[] }).VolumesDeleted).not.toContain("chosen");
    expect((pruned.body as { VolumesDeleted: string[] }).VolumesDeleted).toContain("plain");
    await ask("POST", "/networks/create", { Name: "settings", ConfigOnly: true });
    await ask("POST", "/networks/prune");
    expect((await ask("GET", "/networks/settings")).status).toBe(200);
    expect((await ask("DELETE", "/networks/settings")).status).toBe(204);
    expect((await ask("DELETE", "/volumes/chosen")).status).toBe(204);
  });
});
