/** What clients are told when a registry refuses, and what a client that goes away leaves, through an engine. */
import { gzipSync } from "node:zlib";
import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { FakeRegistry, refusal } from "../support/fake_registry.ts";
import { buildImage, file } from "../support/image_archive.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { REGISTRY, Registry } from "../support/registry.ts";
import { testDir, type User, usersToTest } from "../support/users.ts";

const DOCKER = program("docker", "docker.io");
/** A command line that asks for a password waits for ever. */
const PATIENCE = { timeout: 20_000 };

describeWith(REGISTRY, BUSYBOX, DOCKER).each(usersToTest())(
  "refusals of registries as $name",
  (user: User) => {
    let engine: Engine;
    let registry: Registry;
    let fake: FakeRegistry;
    let http: Deno.HttpClient;
    let dir: string;
    let image: string;

    beforeAll(async () => {
      dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "refusals-" });
      Deno.chmodSync(dir, 0o755);
      registry = await Registry.start({ dir, users: { me: "s3cret" } });
      fake = new FakeRegistry();
      engine = await startEngine({ user });
      http = Deno.createHttpClient({ proxy: { transport: "unix", path: engine.socket } });
      image = `${registry.host}/private/busybox:1`;
      const loaded = await engine.docker(["load", "-i", await busyboxArchive(dir, { reference: image })]);
      expect(loaded.code).toBe(0);
    });
    afterAll(async () => {
      http?.close();
      await engine?.[Symbol.asyncDispose]();
      await fake?.[Symbol.asyncDispose]();
      await registry?.[Symbol.asyncDispose]();
      Deno.removeSync(dir, { recursive: true });
    });

    const ask = async (method: string, path: string, headers: Record<string, string> = {}) => {
      const response = await fetch(`http://engine/v1.46${path}`, { method, headers, client: http });
      const text = await response.text();
      return { status: response.status, text };
    };
    const wrong = { "X-Registry-Auth": btoa(JSON.stringify({ username: "me", password: "wrong" })) };
    const pullPath = () => `/images/create?fromImage=${encodeURIComponent(image)}`;

    it("tells programs 401, and docker's command line the same words without a question", async () => {
      const none = expect.stringContaining("no basic auth credentials");
      expect(await ask("POST", pullPath())).toEqual({ status: 401, text: none });
      expect(await ask("POST", pullPath(), wrong)).toEqual({
        status: 401,
        text: expect.stringContaining("unauthorized: authentication required"),
      });
      const distribution = `/distribution/${image}/json`;
      expect((await ask("GET", distribution)).status).toBe(401);
      expect((await ask("GET", distribution, { "User-Agent": "Docker-Client/28.2.2 (linux)" })).status).toBe(
        403,
      );
      fake.intercept = () => refusal(401, "UNAUTHORIZED", "authentication required");
      expect((await ask("GET", `/images/search?term=${fake.host}/x`)).status).toBe(401);
      for (const cli of ["docker", "berth"] as const) {
        const pulled = await engine[cli](["pull", image], PATIENCE);
        expect(pulled).toMatchObject({ code: 1, stderr: none });
        const pushed = await engine[cli](["push", image], PATIENCE);
        expect(pushed).toMatchObject({ code: 1, stderr: none });
        const searched = await engine[cli](["search", `${fake.host}/x`], PATIENCE);
        expect(searched).toMatchObject({ code: 1, stderr: expect.stringContaining("unauthorized") });
      }
    });

    it("tells everybody 404 for what one may not see", async () => {
      await using tokens = new FakeRegistry();
      tokens.intercept = () => Response.json({ token: "t" });
      const answers = [
        () =>
          refusal(401, "UNAUTHORIZED", "authentication required", {
            "WWW-Authenticate": `Bearer realm="http://${tokens.host}/token",error="insufficient_scope"`,
          }),
        () => refusal(403, "DENIED", "requested access to the resource is denied"),
        () => new Response(null, { status: 403 }),
      ];
      for (const answer of answers) {
        fake.intercept = answer;
        const message = `pull access denied for ${fake.host}/x, repository does not exist or may require ` +
          "'docker login': denied: requested access to the resource is denied";
        const { status, text } = await ask("POST", `/images/create?fromImage=${fake.host}/x&tag=1`);
        expect(status).toBe(404);
        expect(JSON.parse(text)).toEqual({ message });
        for (const cli of ["docker", "berth"] as const) {
          expect(await engine[cli](["pull", `${fake.host}/x:1`], PATIENCE)).toMatchObject({
            code: 1,
            stderr: `Error response from daemon: ${message}\n`,
          });
        }
      }
    });

    it("pushes for a platform what is for it, and refuses the rest", async () => {
      fake.intercept = () => undefined;
      const name = `${fake.host}/platform/busybox`;
      expect((await engine.docker(["tag", image, `${name}:1`])).code).toBe(0);
      const own = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
      for (const cli of ["docker", "berth"] as const) {
        fake.requests.length = 0;
        const refused = await engine[cli](["push", "--platform", "linux/s390x", `${name}:1`], PATIENCE);
        expect(refused.code).toBe(1);
        expect(refused.stderr).toContain(
          `image with reference ${name}:1 was found but its platform (linux/${own}`,
        );
        expect(fake.requests).toEqual([]);
        const pushed = await engine[cli](["push", "--platform", `linux/${own}`, `${name}:1`], PATIENCE);
        expect(pushed).toMatchObject({ code: 0, stdout: expect.stringContaining("1: digest: sha256:") });
      }
      const push = (platform: string, version = "v1.46") =>
        fetch(
          `http://engine/${version}/images/${name}/push?tag=1&platform=${encodeURIComponent(platform)}`,
          { method: "POST", client: http },
        );
      const bad: [string, string][] = [
        ["linux/amd64", "failed to parse platform: "],
        ['{"os":"linux"}', "both OS and Architecture must be provided"],
        ['{"variant":"v7"}', "optional platform fields provided, but OS and Architecture are missing"],
      ];
      for (const [platform, message] of bad) {
        const response = await push(platform);
        expect(response.status).toBe(400);
        expect((await response.json()).message).toContain(message);
      }
      // the parameter came with 1.46
      const older = await push("linux/amd64", "v1.45");
      expect(older.status).toBe(200);
      await older.body?.cancel();
    });

    it.each(["hangs", "trickles"])(
      "closes the download of a layer that %s when its client goes",
      async (how) => {
        const image = buildImage({ layers: [[file(how)]] });
        const layer = createHash("sha256").update(image.layers[0]?.bytes ?? "").digest("hex");
        fake.add(how, "1", image);
        const asked = Promise.withResolvers<void>();
        let closed = false;
        let timer: ReturnType<typeof setInterval> | undefined;
        fake.intercept = (request, path) => {
          if (!path.endsWith(layer)) return undefined;
          request.signal.addEventListener("abort", () => closed = true);
          return new Response(
            new ReadableStream({
              start(controller) {
                if (how === "trickles") timer = setInterval(() => controller.enqueue(new Uint8Array(1)), 20);
                asked.resolve();
              },
              cancel: () => clearInterval(timer),
            }),
          );
        };
        const give = new AbortController();
        const pull = `http://engine/v1.46/images/create?fromImage=${fake.host}/${how}&tag=1`;
        const response = await fetch(pull, { method: "POST", client: http, signal: give.signal });
        await asked.promise;
        give.abort();
        await response.body?.cancel().catch(() => {});
        await waitFor(() => closed, 10_000, () => "the registry still sends");
        clearInterval(timer);
        fake.intercept = () => undefined;
      },
    );

    it("fetches no layer again that was whole when the client went away", async () => {
      const zeros = buildImage({
        layers: [[file("zeros", "\0".repeat(50_000_000))], [file("never")]],
        compress: (bytes) => new Uint8Array(gzipSync(bytes)),
      });
      const [whole = "", cut = ""] = zeros.layers.map(({ bytes }) =>
        `sha256:${createHash("sha256").update(bytes).digest("hex")}`
      );
      fake.add("zeros", "1", zeros);
      const asked = Promise.withResolvers<void>();
      let closed = false;
      fake.intercept = (request, path) => {
        if (!path.endsWith(cut)) return undefined;
        request.signal.addEventListener("abort", () => closed = true);
        asked.resolve();
        return new Response(new ReadableStream());
      };
      const response = await fetch(`http://engine/v1.46/images/create?fromImage=${fake.host}/zeros&tag=1`, {
        method: "POST",
        client: http,
      });
      let text = "";
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk, { stream: true });
        if (/"(Extracting|Pull complete)"/.test(text)) break;
      }
      // The client has left when one layer was whole, the other one had been asked for: that download ends with it.
      await asked.promise;
      await waitFor(() => closed, 10_000, () => "the download that nobody wants is still open");
      // As a whole part of a download, or where it belongs, when unpacking was quicker than the client's leaving.
      const places = [`tmp/blob-${whole.slice(7)}.part`, `blobs/sha256/${whole.slice(7)}`];
      const kept = () =>
        places.some((place) => {
          try {
            return Deno.statSync(`${engine.dataRoot}/${place}`).isFile;
          } catch {
            return false;
          }
        });
      await waitFor(kept, 10_000, () => "the blob is not kept");
      fake.intercept = () => undefined;
      fake.requests.length = 0;
      expect((await engine.docker(["pull", `${fake.host}/zeros:1`])).code).toBe(0);
      expect(fake.paths("GET").filter((path) => path.endsWith(whole))).toEqual([]);
      expect(fake.paths("GET").filter((path) => path.endsWith(cut))).toHaveLength(1);
    });
  },
);
