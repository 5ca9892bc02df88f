import { afterEach, beforeEach, expect, test } from "vitest";
import { parseListenAddress } from "../../api/http/listener.ts";
import { parseEnd } from "../../api/http/inherited_sockets.ts";
import { serveHttp } from "../../api/server.ts";
import { request } from "../support/raw_http.ts";

const handler = () => new Response("ok", { headers: { "content-length": "2" } });
let dir: string;
beforeEach(async () => {
  dir = await Deno.makeTempDir();
});
afterEach(async () => {
  await Deno.remove(dir, { recursive: true });
});

test("serveHttp() makes a socket that owner and group may use, and removes it at the end", async () => {
  const path = `${dir}/api.sock`;
  const before = Deno.umask();
  const server = await serveHttp(handler, [{ kind: "unix", path }]);
  expect((await Deno.stat(path)).mode! & 0o777).toBe(0o660); // mode: always there on Linux
  expect(Deno.umask()).toBe(before);
  expect(server.addresses).toEqual([`unix://${path}`]);
  await server.close();
  await expect(Deno.lstat(path)).rejects.toThrow(Deno.errors.NotFound);
});

test("serveHttp() refuses a socket that somebody answers on, and leaves it alone", async () => {
  const path = `${dir}/api.sock`;
  const server = await serveHttp(handler, [{ kind: "unix", path }]);
  await expect(serveHttp(handler, [{ kind: "unix", path }])).rejects.toMatchObject({ kind: "conflict" });
  expect((await request(path, "GET", "/")).body).toBe("ok");
  await server.close();
});

test("serveHttp() replaces a socket that nobody answers on", async () => {
  const path = `${dir}/api.sock`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", `Deno.listen({ transport: "unix", path: ${JSON.stringify(path)} }); Deno.exit(0)`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  });
  expect((await child.output()).success).toBe(true);
  expect((await Deno.lstat(path)).isSocket).toBe(true);
  const server = await serveHttp(handler, [{ kind: "unix", path }]);
  expect((await request(path, "GET", "/")).body).toBe("ok");
  await server.close();
});

test("serveHttp() never replaces a file that is no socket", async () => {
  const path = `${dir}/precious`;
  await Deno.writeTextFile(path, "data");
  await expect(serveHttp(handler, [{ kind: "unix", path }])).rejects.toMatchObject({ kind: "conflict" });
  expect(await Deno.readTextFile(path)).toBe("data");
});

test("serveHttp() says so when a socket's path is too long, and closes what it had opened", async () => {
  const good = `${dir}/good.sock`;
  const long = `${dir}/${"x".repeat(120)}.sock`;
  await expect(serveHttp(handler, [{ kind: "unix", path: good }, { kind: "unix", path: long }])).rejects
    .toMatchObject({ kind: "invalid" });
  await expect(Deno.lstat(good)).rejects.toThrow(Deno.errors.NotFound);
});

test("serveHttp() listens on loopback TCP when that was asked for, and refuses every other address", async () => {
  const loopback = { kind: "tcp", hostname: "127.0.0.1", port: 0 } as const;
  const security = { plainTcp: true };
  await expect(serveHttp(handler, [loopback])).rejects.toThrow(/without TLS: every user/);
  const server = await serveHttp(handler, [loopback], { security });
  const address = server.addresses[0] ?? "";
  const response = await fetch(address.replace("tcp:", "http:"));
  expect(await response.text()).toBe("ok");
  await server.close();
  for (const hostname of ["0.0.0.0", "::", "192.168.1.1", "127.0.0.1.example.com", "localhost.example.com"]) {
    await expect(serveHttp(handler, [{ kind: "tcp", hostname, port: 0 }], { security })).rejects.toThrow(
      /without TLS and certificates/,
    );
  }
});

test("parseListenAddress() reads dockerd's forms", () => {
  expect(parseListenAddress("unix:///run/x.sock")).toEqual({ kind: "unix", path: "/run/x.sock" });
  expect(parseListenAddress("tcp://127.0.0.1:8000")).toEqual({
    kind: "tcp",
    hostname: "127.0.0.1",
    port: 8000,
  });
  expect(parseListenAddress("tcp://[::1]:8000")).toEqual({ kind: "tcp", hostname: "::1", port: 8000 });
  expect(parseListenAddress("tcp://localhost")).toEqual({ kind: "tcp", hostname: "localhost", port: 2375 });
  expect(parseListenAddress("tcp://localhost", true)).toMatchObject({ port: 2376 });
  expect(parseListenAddress("fd://")).toEqual({ kind: "fd", name: "" });
  expect(parseListenAddress("fd://berth.socket")).toEqual({ kind: "fd", name: "berth.socket" });
  for (
    const bad of ["unix://x.sock", "fd://a/b", "http://x", "/run/x.sock", "tcp://a:99999", "tcp://a:b", ""]
  ) {
    expect(() => parseListenAddress(bad)).toThrow(/invalid bind address/);
  }
});

test("serveHttp() takes spare sockets that are free, and leaves the others to who has them", async () => {
  const [own, free, taken] = [`${dir}/own.sock`, `${dir}/free.sock`, `${dir}/taken.sock`];
  const other = await serveHttp(() => new Response("other"), [{ kind: "unix", path: taken }]);
  const server = await serveHttp(handler, [{ kind: "unix", path: own }], { spare: [taken, free] });
  expect(server.addresses).toEqual([`unix://${own}`, `unix://${free}`]);
  expect((await request(free, "GET", "/")).body).toBe("ok");
  expect((await request(taken, "GET", "/")).body).toBe("other");
  await server.close();
  await other.close();
});

test("parseEnd() reads addresses of /proc/net/tcp and tcp6", () => {
  expect(parseEnd("0100007F:0947")).toEqual({ hostname: "127.0.0.1", port: 2375 });
  expect(parseEnd("00000000000000000000000001000000:0948")).toEqual({ hostname: "::1", port: 2376 });
});
