import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterEach, beforeEach, expect, it } from "vitest";
import { concat } from "../../base/concat.ts";
import { probeGraphDriver } from "../../fs/probe.ts";
import { ImageStore } from "../../image/image_store.ts";
import { ImagePuller, type TransferMessage } from "../../image/pull.ts";
import { ImagePusher, type PushMessage } from "../../image/push.ts";
import { parsePlatform } from "../../image/platform.ts";
import { parseReference } from "../../base/reference.ts";
import { RegistryClient } from "../../image/registry/client.ts";
import { Transport } from "../../image/registry/transport.ts";
import {
  DEFAULT_REGISTRY_SETTINGS,
  type RegistryAuth,
  type RegistrySettings,
} from "../../image/registry/settings.ts";
import { brokenBody, FakeRegistry, type Intercept, refusal } from "../support/fake_registry.ts";
import { buildImage, type BuiltImage, dockerArchive, file, streamOf } from "../support/image_archive.ts";
import { useProxies } from "../../engine/registry_config.ts";
import { waitFor } from "../support/processes.ts";
import { LOOPBACK_NAME, loopbackName, makeCertificates, makeSelfSigned } from "../support/registry.ts";
import { describeWith, itWith, ROOT } from "../support/needs.ts";

const gzip = (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes));
const noise = (length: number): string => {
  let text = "";
  for (let i = 0; text.length < length; i++) text += createHash("sha256").update(`${i}`).digest("hex");
  return text.slice(0, length);
};

const small = buildImage({ layers: [[file("a")], [file("b")]], compress: gzip });
/** One layer that does not fit into a few packets. */
const large = buildImage({ layers: [[file("noise", noise(3_000_000))]], compress: gzip });

let root: string;
let db: DatabaseSync;
let store: ImageStore;
let registry: FakeRegistry;
let settings: RegistrySettings;

async function open(): Promise<void> {
  db = new DatabaseSync(`${root}/berth.db`);
  const { driver } = await probeGraphDriver({ root });
  store = ImageStore.open({ db, root, driver, singleId: false });
  await store.sweep();
}

beforeEach(async () => {
  root = Deno.makeTempDirSync({ prefix: "berth-registry-" });
  settings = { ...DEFAULT_REGISTRY_SETTINGS, certDirs: [`${root}/certs.d`], retryDelayMs: 10, stallMs: 5000 };
  registry = new FakeRegistry();
  await open();
});
afterEach(async () => {
  await store.settled();
  db.close();
  await registry[Symbol.asyncDispose]();
  Deno.removeSync(root, { recursive: true });
});

interface PullExtras {
  platform?: string;
  auth?: RegistryAuth;
  signal?: AbortSignal;
  puller?: ImagePuller;
  report?: (message: TransferMessage) => void;
}

async function pull(
  name: string,
  extras: PullExtras = {},
): Promise<{ ids: string[]; messages: TransferMessage[] }> {
  const messages: TransferMessage[] = [];
  const puller = extras.puller ?? new ImagePuller(store.internals, settings);
  const pulled = await puller.pull({
    reference: parseReference(name.includes("/") ? name : `${registry.host}/${name}`),
    platform: extras.platform === undefined ? undefined : parsePlatform(extras.platform),
    auth: extras.auth,
    signal: extras.signal ?? new AbortController().signal,
    report: (message) => {
      messages.push(message);
      extras.report?.(message);
    },
  });
  return { ids: pulled.map(({ id }) => id), messages };
}

async function push(name: string, auth?: RegistryAuth): Promise<PushMessage[]> {
  const messages: PushMessage[] = [];
  await new ImagePusher(store.internals, settings).push({
    reference: parseReference(`${registry.host}/${name}`),
    auth,
    signal: new AbortController().signal,
    report: (message) => messages.push(message),
  });
  return messages;
}

const namesIn = (dir: string): string[] => {
  try {
    return [...Deno.readDirSync(`${root}/${dir}`)].map(({ name }) => name).sort();
  } catch {
    return [];
  }
};
const layerBytes = (image: BuiltImage, at = 0): Uint8Array<ArrayBuffer> =>
  new Uint8Array(image.layers[at]?.bytes ?? new Uint8Array(0));
const digestOfLayer = (image: BuiltImage, at = 0): string =>
  `sha256:${createHash("sha256").update(layerBytes(image, at)).digest("hex")}`;

const pemOf = (files: { cert: string; key: string }) => ({
  cert: Deno.readTextFileSync(files.cert),
  key: Deno.readTextFileSync(files.key),
});

/** What a pull must leave: these layers, and nothing under way. */
function expectClean(layers: number): void {
  expect(namesIn("tmp")).toEqual([]);
  expect(namesIn("trash")).toEqual([]);
  expect(namesIn("layers")).toHaveLength(layers);
}

/** Breaks off the large layer's first downloads. */
function breakingOff(times: number, after = 500_000): { intercept: Intercept; count: () => number } {
  let seen = 0;
  return {
    count: () => seen,
    intercept: (request, path) => {
      if (!path.includes("/blobs/sha256:") || request.method !== "GET" || path.endsWith(large.id)) {
        return undefined;
      }
      if (seen++ >= times) return undefined;
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.get("range") ?? "")?.[1] ?? 0);
      const bytes = layerBytes(large).subarray(from);
      return new Response(brokenBody(bytes, after), {
        status: from === 0 ? 200 : 206,
        headers: from === 0 ? {} : { "Content-Range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` },
      });
    },
  };
}

describeWith(ROOT)("pull", () => {
  it("gets an image, its names and its blobs, and says so in Docker's words", async () => {
    const { digest } = registry.add("a/small", "1", small);
    const { ids, messages } = await pull("a/small:1".replace(/^/, `${registry.host}/`));
    expect(ids).toEqual([small.id]);
    const image = store.get(`${registry.host}/a/small:1`);
    expect(image).toMatchObject({
      id: small.id,
      repoTags: [`${registry.host}/a/small:1`],
      repoDigests: [`${registry.host}/a/small@${digest}`],
    });
    expect(store.layers(image).map(({ dir }) => [...Deno.readDirSync(dir)].map(({ name }) => name))).toEqual([
      ["b"],
      ["a"],
    ]);
    expect(messages[0]).toEqual({ status: "Pulling from a/small", id: "1" });
    const first = digestOfLayer(small).slice(7, 19);
    const statuses = messages.filter(({ id }) => id === first).map(({ status }) => status);
    expect([...new Set(statuses)]).toEqual([
      "Pulling fs layer",
      "Downloading",
      "Verifying Checksum",
      "Download complete",
      "Extracting",
      "Pull complete",
    ]);
    expect(messages.slice(-2)).toEqual([
      { status: `Digest: ${digest}` },
      { status: `Status: Downloaded newer image for ${registry.host}/a/small:1` },
    ]);
    // both layers and the manifest
    expect(namesIn("blobs/sha256")).toHaveLength(3);
    expectClean(2);
  });

  it("asks for nothing but the manifest and the configuration the second time", async () => {
    registry.add("small", "1", small);
    await pull("small:1");
    registry.requests.length = 0;
    const { messages } = await pull("small:1");
    expect(registry.paths("GET").filter((path) => path.includes("/blobs/"))).toEqual([
      `/v2/small/blobs/${small.id}`,
    ]);
    expect(messages.map(({ status }) => status)).toContain("Already exists");
    expect(messages.at(-1)?.status).toBe(`Status: Image is up to date for ${registry.host}/small:1`);
  });

  it("removes blobs with the image that needs them", async () => {
    registry.add("small", "1", small);
    await pull("small:1");
    store.remove(small.id, { force: true, noPrune: false, inUse: () => [] });
    await store.settled();
    expect(namesIn("blobs/sha256")).toEqual([]);
    expectClean(0);
  });

  it.each([
    ["gzip", gzip, "application/vnd.docker.image.rootfs.diff.tar.gzip"],
    [
      "zstd",
      (bytes: Uint8Array) => new Uint8Array(zstdCompressSync(bytes)),
      "application/vnd.oci.image.layer.v1.tar+zstd",
    ],
    ["no", (bytes: Uint8Array) => bytes, "application/vnd.oci.image.layer.v1.tar"],
  ])("unpacks layers of %s compression", async (_name, compress, type) => {
    const image = buildImage({ layers: [[file("x")]], compress });
    registry.add("x", "1", image, type);
    await pull("x:1");
    expect(Deno.readTextFileSync(`${store.layers(store.get(image.id))[0]?.dir}/x`)).toBe("x");
  });

  it("takes the platform's image out of an index, and the digest of the index as the image's", async () => {
    const arm = buildImage({
      layers: [[file("arm")]],
      compress: gzip,
      top: { architecture: "arm", variant: "v7" },
    });
    const type = "application/vnd.oci.image.index.v1+json";
    const own = { os: "linux", architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64" };
    const index = registry.addManifest("multi", "1", type, {
      schemaVersion: 2,
      mediaType: type,
      manifests: [
        { ...registry.add("multi", undefined, small), platform: { os: "unknown", architecture: "unknown" } },
        {
          ...registry.add("multi", undefined, arm),
          platform: { os: "linux", architecture: "arm", variant: "v7" },
        },
        { ...registry.add("multi", undefined, large), platform: own },
      ],
    });
    expect((await pull("multi:1")).ids).toEqual([large.id]);
    expect(store.get(large.id).repoDigests).toEqual([`${registry.host}/multi@${index.digest}`]);
    expect((await pull("multi:1", { platform: "linux/arm/v7" })).ids).toEqual([arm.id]);
    expect(store.get(`${registry.host}/multi:1`).id).toBe(arm.id);
    await expect(pull("multi:1", { platform: "linux/s390x" })).rejects.toMatchObject({
      kind: "not-found",
      message: "no matching manifest for linux/s390x in the manifest list entries",
    });
  });

  it("pulls by digest without giving a tag, and all tags of a repository", async () => {
    const { digest } = registry.add("small", "1", small);
    registry.add("small", "2", large);
    await pull(`${registry.host}/small@${digest}`);
    expect(store.get(small.id).repoTags).toEqual([]);
    const { ids } = await pull(`${registry.host}/small`);
    expect(ids).toEqual([small.id, large.id]);
    expect(store.get(small.id).repoTags).toEqual([`${registry.host}/small:1`]);
  });

  it("continues where the connection broke, and unpacks meanwhile", async () => {
    registry.add("large", "1", large);
    const broken = breakingOff(3);
    registry.intercept = broken.intercept;
    await pull("large:1");
    const ranges = registry.requests.filter(({ path }) => path.endsWith(digestOfLayer(large)))
      .map(({ headers }) => headers.get("range"));
    expect(ranges).toHaveLength(4);
    expect(ranges[0]).toBe(null);
    expect(ranges.slice(1).every((range) => Number(/(\d+)-$/.exec(range ?? "")?.[1]) > 0)).toBe(true);
    expect(Deno.readTextFileSync(`${store.layers(store.get(large.id))[0]?.dir}/noise`)).toBe(
      noise(3_000_000),
    );
    expectClean(1);
  });

  it("passes over what it has when the registry knows no ranges", async () => {
    registry.add("large", "1", large);
    let seen = 0;
    registry.intercept = (request, path) => {
      if (!path.endsWith(digestOfLayer(large)) || request.method !== "GET") return undefined;
      return seen++ === 0
        ? new Response(brokenBody(layerBytes(large), 700_000))
        : new Response(layerBytes(large));
    };
    await pull("large:1");
    expect(seen).toBe(2);
    expectClean(1);
  });

  it("waits and tries again when the registry is overloaded, but not for ever", async () => {
    registry.add("large", "1", large);
    let seen = 0;
    registry.intercept = (_request, path) =>
      path.endsWith(digestOfLayer(large)) && seen++ < 4
        ? refusal(seen % 2 === 0 ? 503 : 429, "TOOMANYREQUESTS", "slow down")
        : undefined;
    const { messages } = await pull("large:1");
    expect(seen).toBe(5);
    expect(messages.map(({ status }) => status)).toContain("Retrying in 1 second");
    store.remove(large.id, { force: true, noPrune: false, inUse: () => [] });
    seen = -100;
    await expect(pull("large:1")).rejects.toThrow("toomanyrequests: slow down");
    expect(seen).toBe(-95);
  });

  it("gives up a transfer of which nothing comes", async () => {
    settings = { ...settings, stallMs: 200, maxAttempts: 2 };
    registry.add("large", "1", large);
    registry.intercept = (_request, path) => {
      if (!path.endsWith(digestOfLayer(large))) return undefined;
      return new Response(
        new ReadableStream<Uint8Array<ArrayBuffer>>({
          start: (controller) => controller.enqueue(layerBytes(large).subarray(0, 10)),
          cancel() {},
        }),
      );
    };
    await expect(pull("large:1")).rejects.toThrow("i/o timeout");
  });

  it("gives up a registry, and a server of tokens, that takes requests and answers none", async () => {
    settings = { ...settings, stallMs: 300 };
    registry.add("small", "1", small);
    const ended = Promise.withResolvers<Response>();
    registry.intercept = () => ended.promise;
    await expect(pull("small:1")).rejects.toThrow(/^Get "http:.*\/manifests\/1": i\/o timeout$/);
    await using tokens = new FakeRegistry();
    tokens.intercept = () => ended.promise;
    const realm = `http://${tokens.host}/token`;
    registry.intercept = () =>
      refusal(401, "UNAUTHORIZED", "x", { "WWW-Authenticate": `Bearer realm="${realm}"` });
    await expect(pull("small:1")).rejects.toThrow(/^Get "http:.*\/token.*": i\/o timeout$/);
    ended.resolve(new Response());
    expectClean(0);
  });

  it("keeps what has come for the next pull, also after a crash", async () => {
    settings = { ...settings, maxAttempts: 1 };
    registry.add("large", "1", large);
    registry.intercept = breakingOff(1, 1_000_000).intercept;
    await expect(pull("large:1")).rejects.toMatchObject({ kind: "system" });
    expect(namesIn("tmp")).toEqual([`blob-${digestOfLayer(large).slice(7)}.part`]);
    db.close();
    await open();
    registry.requests.length = 0;
    await pull("large:1");
    const [range] = registry.requests.filter(({ path }) => path.endsWith(digestOfLayer(large)));
    expect(range?.headers.get("range")).toMatch(/^bytes=[1-9]\d*-$/);
    expectClean(1);
  });

  it("begins anew when what was there is spoilt, and refuses what is spoilt altogether", async () => {
    registry.add("large", "1", large);
    const part = `${root}/tmp/blob-${digestOfLayer(large).slice(7)}.part`;
    Deno.mkdirSync(`${root}/tmp`, { recursive: true });
    Deno.writeFileSync(part, new Uint8Array(5000));
    await pull("large:1");
    expectClean(1);
    store.remove(large.id, { force: true, noPrune: false, inUse: () => [] });
    await store.settled();
    const spoilt = layerBytes(large).slice();
    spoilt[1_000_000] = (spoilt[1_000_000] ?? 0) ^ 1;
    registry.intercept = (_request, path) =>
      path.endsWith(digestOfLayer(large)) ? new Response(spoilt) : undefined;
    await expect(pull("large:1")).rejects.toMatchObject({
      kind: "invalid",
      message: `filesystem layer verification failed for digest ${digestOfLayer(large)}`,
    });
    await store.settled();
    expectClean(0);
    expect(namesIn("blobs/sha256")).toEqual([]);
  });

  it("refuses more bytes than the manifest says, a wrong diff id, wrong manifests and wrong configurations", async () => {
    registry.add("large", "1", large);
    registry.intercept = (request, path) =>
      path.endsWith(digestOfLayer(large)) && request.method === "GET"
        ? new Response(new Uint8Array([...layerBytes(large), 0]))
        : undefined;
    await expect(pull("large:1")).rejects.toThrow("is larger than its manifest says");
    registry.intercept = () => undefined;
    const liar = {
      ...small,
      configJson: small.configJson.replace(/sha256:[0-9a-f]{64}/, `sha256:${"0".repeat(64)}`),
    };
    registry.add("liar", "1", liar);
    await expect(pull("liar:1")).rejects.toThrow("invalid diffID for layer");
    const { digest } = registry.add("small", "1", small);
    registry.intercept = (_request, path) =>
      path.endsWith(`manifests/${digest}`) ? Response.json({}) : undefined;
    await expect(pull(`${registry.host}/small@${digest}`)).rejects.toThrow("manifest verification failed");
    registry.intercept = (_request, path) => path.endsWith(small.id) ? Response.json({}) : undefined;
    await expect(pull("small:1")).rejects.toThrow("image config verification failed");
    await store.settled();
    expect(store.list()).toEqual([]);
    expect(namesIn("layers")).toEqual([]);
  });

  it.each([
    [
      "application/vnd.docker.distribution.manifest.v1+prettyjws",
      { schemaVersion: 1, name: "x" },
      "schema 1 support has been removed",
    ],
    ["application/vnd.oci.image.manifest.v1+json", {
      schemaVersion: 2,
      config: {
        mediaType: "application/vnd.cncf.helm.config.v1+json",
        digest: `sha256:${"a".repeat(64)}`,
        size: 2,
      },
      layers: [],
    }, "Encountered remote"],
    ["application/vnd.example.manifest+json", { schemaVersion: 2 }, "unsupported manifest media type"],
    ["application/vnd.oci.image.manifest.v1+json", { schemaVersion: 2, layers: 7 }, "invalid image manifest"],
  ])("refuses what is no image: %s", async (mediaType, value, message) => {
    registry.addManifest("x", "1", mediaType, value);
    await expect(pull("x:1")).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining(message),
    });
  });

  it("refuses an index that contains itself in the end", async () => {
    const type = "application/vnd.oci.image.index.v1+json";
    const platform = { os: "linux", architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64" };
    let inner = { ...registry.add("deep", undefined, small), platform };
    for (let i = 0; i < 6; i++) {
      const nested = { schemaVersion: 2, mediaType: type, manifests: [inner] };
      inner = { ...registry.addManifest("deep", i === 5 ? "1" : undefined, type, nested), platform };
    }
    await expect(pull("deep:1")).rejects.toThrow("nested too deeply");
  });

  it("says in Docker's words what the registry refuses", async () => {
    await expect(pull("nope:1")).rejects.toMatchObject({
      kind: "not-found",
      message: `manifest for ${registry.host}/nope:1 not found: manifest unknown: manifest unknown`,
    });
    registry.intercept = () => refusal(403, "DENIED", "requested access to the resource is denied");
    await expect(pull("nope:1")).rejects.toMatchObject({
      kind: "not-found",
      message:
        `pull access denied for ${registry.host}/nope, repository does not exist or may require 'docker login': ` +
        "denied: requested access to the resource is denied",
    });
    // what Docker Hub says of a repository that does not exist, or is somebody's own
    await using tokens = new FakeRegistry();
    tokens.intercept = () => Response.json({ token: "t" });
    registry.intercept = () =>
      refusal(401, "UNAUTHORIZED", "authentication required", {
        "WWW-Authenticate": `Bearer realm="http://${tokens.host}/token",error="insufficient_scope"`,
      });
    await expect(pull("nope:1")).rejects.toMatchObject({
      kind: "not-found",
      message:
        `pull access denied for ${registry.host}/nope, repository does not exist or may require 'docker login': ` +
        "denied: requested access to the resource is denied",
    });
    for (const [status, kind] of [[401, "unauthorized"], [403, "forbidden"]] as const) {
      registry.intercept = () => refusal(status, "OTHER", "go away");
      await expect(pull("nope:1")).rejects.toMatchObject({ kind, message: "other: go away" });
    }
    registry.intercept = () => new Response("<html>busy</html>", { status: 500 });
    await expect(pull("nope:1")).rejects.toThrow("received unexpected HTTP status: 500");
    await registry[Symbol.asyncDispose]();
    await expect(pull("nope:1")).rejects.toThrow(
      /^Get "http:\/\/127\.0\.0\.1:\d+\/v2\/nope\/manifests\/1": .*refused/,
    );
  });

  it("ends at once when it is called off, and keeps what the next pull can use", async () => {
    registry.add("large", "1", large);
    registry.intercept = (_request, path) =>
      path.endsWith(digestOfLayer(large))
        ? new Response(
          new ReadableStream<Uint8Array<ArrayBuffer>>({
            start: (controller) => controller.enqueue(layerBytes(large).subarray(0, 1_000_000)),
          }),
        )
        : undefined;
    const give = new AbortController();
    const pulling = pull("large:1", {
      signal: give.signal,
      report: ({ progress }) => (progress?.current ?? 0) > 0 && give.abort(),
    });
    await expect(pulling).rejects.toMatchObject({ name: "AbortError" });
    await store.settled();
    expect(namesIn("layers")).toEqual([]);
    expect(namesIn("tmp")).toEqual([`blob-${digestOfLayer(large).slice(7)}.part`]);
    registry.intercept = () => undefined;
    await pull("large:1");
    expectClean(1);
  });

  it.each(["Download complete", "Extracting"])(
    "fetches no layer again that was whole when the pull was called off at %j",
    async (moment) => {
      // little to download, much to unpack
      const zeros = buildImage({
        layers: [[file("zeros", "\0".repeat(50_000_000))], [file("other", noise(1_000_000))]],
        compress: gzip,
      });
      const [whole, cut] = [digestOfLayer(zeros, 0), digestOfLayer(zeros, 1)];
      registry.add("zeros", "1", zeros);
      registry.intercept = (_request, path) =>
        path.endsWith(cut)
          ? new Response(
            new ReadableStream<Uint8Array<ArrayBuffer>>({
              start: (controller) => controller.enqueue(layerBytes(zeros, 1).subarray(0, 100_000)),
            }),
          )
          : undefined;
      const give = new AbortController();
      const pulling = pull("zeros:1", {
        signal: give.signal,
        report: ({ id, status }) => id === whole.slice(7, 19) && status === moment && give.abort(),
      });
      await expect(pulling).rejects.toMatchObject({ name: "AbortError" });
      await store.settled();
      expect(namesIn("layers")).toEqual([]);
      expect(namesIn("blobs/sha256")).toEqual([]);
      expect(namesIn("tmp")).toContain(`blob-${whole.slice(7)}.part`);
      registry.intercept = () => undefined;
      registry.requests.length = 0;
      await pull("zeros:1");
      expect(registry.paths("GET").filter((path) => path.endsWith(whole))).toEqual([]);
      expect(registry.paths("GET").filter((path) => path.endsWith(cut))).toHaveLength(1);
      expectClean(2);
    },
  );

  it("leaves a layer's blob alone that another image has, when a pull that wanted it as well is called off", async () => {
    const more = buildImage({
      layers: [[file("noise", noise(3_000_000))], [file("more", noise(1_000_000))]],
      compress: gzip,
    });
    registry.add("large", "1", large);
    registry.add("more", "1", more);
    await pull("large:1");
    registry.intercept = (_request, path) =>
      path.endsWith(digestOfLayer(more, 1)) ? new Response(new ReadableStream()) : undefined;
    const give = new AbortController();
    const pulling = pull("more:1", { signal: give.signal });
    await waitFor(
      () => registry.paths("GET").some((path) => path.endsWith(digestOfLayer(more, 1))),
      5000,
      () => "no request",
    );
    give.abort();
    await expect(pulling).rejects.toMatchObject({ name: "AbortError" });
    await store.settled();
    expect(namesIn("blobs/sha256")).toContain(digestOfLayer(large).slice(7));
    store.tag(large.id, `${registry.host}/again:1`);
    await push("again:1");
  });

  it("downloads a layer once for two pulls, and goes on for the second when the first is called off", async () => {
    const other = buildImage({
      layers: [[file("noise", noise(3_000_000))]],
      compress: gzip,
      config: { Cmd: ["other"] },
    });
    registry.add("large", "1", large);
    registry.add("other", "1", other);
    const gate = Promise.withResolvers<void>();
    registry.intercept = async (_request, path) => {
      if (path.endsWith(digestOfLayer(large))) await gate.promise;
      return undefined;
    };
    const puller = new ImagePuller(store.internals, settings);
    const give = new AbortController();
    const first = pull("large:1", { puller, signal: give.signal });
    const waiting = () => registry.paths("GET").some((path) => path.endsWith(digestOfLayer(large)));
    await waitFor(waiting, 5000, () => "no request");
    const second = pull("other:1", { puller });
    await waitFor(
      () => registry.paths("GET").some((path) => path.endsWith(other.id)),
      5000,
      () => "no second",
    );
    const third = pull("large:1", { puller });
    await waitFor(
      () => registry.paths("GET").filter((path) => path.endsWith(large.id)).length === 2,
      5000,
      () => "no third",
    );
    give.abort();
    await expect(first).rejects.toMatchObject({ name: "AbortError" });
    gate.resolve();
    await Promise.all([second, third]);
    expect(registry.paths("GET").filter((path) => path.endsWith(digestOfLayer(large)))).toHaveLength(1);
    expectClean(1);
  });

  it("asks again for the second pull when the connection breaks after the first was called off", async () => {
    registry.add("large", "1", large);
    const asked = () => registry.paths("GET").filter((path) => path.endsWith(digestOfLayer(large)));
    const gate = Promise.withResolvers<void>();
    registry.intercept = async (_request, path) => {
      if (!path.endsWith(digestOfLayer(large)) || asked().length > 1) return undefined;
      await gate.promise;
      return new Response(null, { status: 502 });
    };
    const puller = new ImagePuller(store.internals, settings);
    const give = new AbortController();
    const first = pull("large:1", { puller, signal: give.signal });
    await waitFor(() => asked().length > 0, 5000, () => "no request");
    const second = pull("large:1", { puller });
    await waitFor(
      () => registry.paths("GET").filter((path) => path.endsWith(large.id)).length === 2,
      5000,
      () => "no second",
    );
    give.abort();
    await expect(first).rejects.toMatchObject({ name: "AbortError" });
    gate.resolve();
    await second;
    expect(asked()).toHaveLength(2);
    expectClean(1);
  });

  it("runs no more downloads at a time than it may", async () => {
    settings = { ...settings, maxDownloads: 2 };
    const many = buildImage({ layers: Array.from({ length: 6 }, (_, i) => [file(`f${i}`)]), compress: gzip });
    registry.add("many", "1", many);
    const digests = new Set(many.layers.map((_, i) => digestOfLayer(many, i)));
    let now = 0, most = 0;
    registry.intercept = async (request, path, self) => {
      if (!digests.has(path.split("/").at(-1) ?? "")) return undefined;
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 20));
      now--;
      return await self.serve(request);
    };
    const { messages } = await pull("many:1");
    expect(most).toBe(2);
    expect(messages.map(({ status }) => status)).toContain("Waiting");
    expectClean(6);
  });
});

describeWith(ROOT)("save", () => {
  it("names layers by what they are, also those of Docker's media types", async () => {
    for (
      const [type, compress, oci] of [
        ["tar", (bytes: Uint8Array) => new Uint8Array(bytes), "tar"],
        ["tar.gzip", gzip, "tar+gzip"],
        ["tar.zstd", (bytes: Uint8Array) => new Uint8Array(zstdCompressSync(bytes)), "tar+zstd"],
      ] as const
    ) {
      const image = buildImage({ layers: [[file(type)]], compress });
      registry.add("typed", type, image, `application/vnd.docker.image.rootfs.diff.${type}`);
      await pull(`typed:${type}`);
      const parts: Uint8Array[] = [];
      for await (const chunk of (await store.save([image.id])).chunks) parts.push(chunk.slice());
      const archive = new TextDecoder().decode(concat(parts));
      expect(archive).toContain(
        `{"mediaType":"application/vnd.oci.image.layer.v1.${oci}","size":${layerBytes(image).length}`,
      );
    }
  });
});

describeWith(ROOT)("TLS, mirrors and proxies", () => {
  const name = loopbackName();

  it("pull and push where the certificate does not count", async () => {
    const { server } = makeCertificates(root, "somebody.else");
    await using tls = new FakeRegistry(pemOf(server));
    tls.add("large", "1", large);
    await pull(`${tls.host}/large:1`);
    store.tag(large.id, `${tls.host}/again:1`);
    const first = registry;
    registry = tls;
    expect((await push("again:1")).at(-1)?.aux?.Tag).toBe("1");
    store.tag(large.id, `${tls.host}/other:1`);
    tls.has.clear();
    expect((await push("other:1")).map(({ status }) => status)).toContain("Pushed");
    registry = first;
    expect(tls.blobs.get(digestOfLayer(large))).toEqual(layerBytes(large));
  });

  itWith(LOOPBACK_NAME)(
    "takes a certificate that signs for itself only when it is the one it was given",
    async () => {
      const [files, others] = [`${root}/x`, `${root}/y`].map((dir) => {
        Deno.mkdirSync(dir);
        return makeSelfSigned(dir, name ?? "");
      });
      await using tls = new FakeRegistry(pemOf(files ?? { cert: "", key: "" }));
      tls.add("small", "1", small);
      const host = `${name}:${tls.host.split(":")[1]}`;
      const trust = `${root}/certs.d/${host}`;
      Deno.mkdirSync(trust, { recursive: true });
      await expect(pull(`${host}/small:1`)).rejects.toThrow("invalid peer certificate");
      Deno.copyFileSync(others?.cert ?? "", `${trust}/ca.crt`);
      await expect(pull(`${host}/small:1`)).rejects.toThrow("invalid peer certificate: UnknownIssuer");
      expect(tls.requests).toEqual([]);
      Deno.copyFileSync(files?.cert ?? "", `${trust}/ca.crt`);
      expect((await pull(`${host}/small:1`)).ids).toEqual([small.id]);
    },
  );

  it("says which file of certs.d is of no use", async () => {
    if (name === undefined) return;
    const trust = `${root}/certs.d/${name}:1`;
    Deno.mkdirSync(trust, { recursive: true });
    Deno.writeTextFileSync(`${trust}/client.cert`, "x");
    await expect(pull(`${name}:1/small:1`)).rejects.toMatchObject({
      kind: "invalid",
      message: "missing key client.key for client certificate client.cert",
    });
  });

  it("asks mirrors in order for images of Docker Hub, without credentials", async () => {
    await using bad = new FakeRegistry();
    bad.intercept = () => new Response("no", { status: 500 });
    registry.add("library/small", "latest", small);
    settings = { ...settings, mirrors: [`http://${bad.host}/`, `http://${registry.host}`] };
    const auth = { username: "me", password: "s3cret" };
    const { messages } = await pull("docker.io/library/small:latest", { auth });
    expect(messages[0]).toEqual({ status: "Pulling from library/small", id: "latest" });
    expect(store.get("small").id).toBe(small.id);
    expect(bad.requests.length).toBe(1);
    expect([...bad.requests, ...registry.requests].some(({ headers }) => headers.has("authorization"))).toBe(
      false,
    );
  });

  it("reaches ports that browsers must not use, also by TLS", async () => {
    const at = (tls?: { cert: string; key: string }) => {
      for (const port of [6000, 6566, 6697, 10080, 6665, 6666]) {
        try {
          return new FakeRegistry(tls, port);
        } catch (error) {
          if (!(error instanceof Deno.errors.AddrInUse)) throw error;
        }
      }
      throw new Error("all these ports are taken");
    };
    const first = registry;
    await using plain = registry = at();
    registry.add("large", "1", large);
    await pull("large:1");
    store.tag(large.id, `${registry.host}/again:1`);
    registry.has.clear();
    expect((await push("again:1")).map(({ status }) => status)).toContain("Pushed");
    registry = first;
    expect(plain.blobs.get(digestOfLayer(large))).toEqual(layerBytes(large));
    if (name === undefined) return;
    const { server, authority } = makeCertificates(root, name);
    await using tls = at(pemOf(server));
    const host = tls.host.replace("127.0.0.1", name);
    tls.add("small", "1", small);
    await expect(pull(`${host}/small:1`)).rejects.toThrow(/issuer|certificate/i);
    Deno.mkdirSync(`${root}/certs.d/${host}`, { recursive: true });
    Deno.copyFileSync(authority, `${root}/certs.d/${host}/ca.crt`);
    expect((await pull(`${host}/small:1`)).ids).toEqual([small.id]);
  });

  it("goes through the environment's proxy, but not to loopback addresses", async () => {
    registry.add("small", "1", small);
    const names = ["HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"];
    const before = names.map((variable) => Deno.env.get(variable));
    await using direct = new FakeRegistry();
    direct.add("large", "1", large);
    try {
      useProxies({ http: `http://${registry.host}`, https: undefined, no: undefined });
      settings = { ...settings, insecure: ["registry.invalid"] };
      await pull("registry.invalid/small:1");
      expect(registry.requests.length).toBeGreaterThan(0);
      registry.requests.length = 0;
      await pull(`${direct.host}/large:1`);
      expect(registry.requests).toEqual([]);
    } finally {
      for (const [i, variable] of names.entries()) {
        const value = before[i];
        if (value === undefined) Deno.env.delete(variable);
        else Deno.env.set(variable, value);
      }
    }
  });
});

describeWith(ROOT)("credentials", () => {
  const user = { username: "me", password: "s3cret" };
  const basic = `Basic ${btoa("me:s3cret")}`;

  it("proves who the user is by basic authentication when the registry asks for it, and not to another host", async () => {
    registry.add("large", "1", large);
    await using elsewhere = new FakeRegistry();
    elsewhere.intercept = () => new Response(layerBytes(large));
    registry.intercept = (request, path) => {
      if (request.headers.get("authorization") !== basic) {
        return refusal(401, "UNAUTHORIZED", "authentication required", {
          "WWW-Authenticate": 'Basic realm="x"',
        });
      }
      return path.endsWith(digestOfLayer(large)) && request.method === "GET"
        ? new Response(null, {
          status: 307,
          headers: { Location: `http://${elsewhere.host}/bucket/blob?signed=1` },
        })
        : undefined;
    };
    await expect(pull("large:1")).rejects.toMatchObject({
      kind: "unauthorized",
      message: expect.stringMatching(/^Get "http:.*": no basic auth credentials$/),
    });
    await expect(pull("large:1", { auth: { ...user, password: "wrong" } })).rejects.toMatchObject({
      kind: "unauthorized",
      message: "unauthorized: authentication required",
    });
    await pull("large:1", { auth: user });
    expect(elsewhere.requests.map(({ path, headers }) => [path, headers.get("authorization")])).toEqual([
      ["/bucket/blob?signed=1", null],
    ]);
  });

  it("gets tokens for what it wants to do, and new ones when they expire", async () => {
    registry.add("private/large", "1", large);
    let issued = 0;
    await using tokens = new FakeRegistry();
    tokens.intercept = (request) => {
      if (request.headers.get("authorization") !== basic) return refusal(401, "UNAUTHORIZED", "bad password");
      return Response.json({ token: `t${++issued}` });
    };
    let blobs = 0;
    registry.intercept = (request, path) => {
      // the first token is good for the manifest only
      const expired = path.endsWith(digestOfLayer(large)) && blobs++ === 0;
      if (!expired && request.headers.get("authorization") === `Bearer t${issued}` && issued > 0) {
        return undefined;
      }
      return refusal(401, "UNAUTHORIZED", "authentication required", {
        "WWW-Authenticate":
          `Bearer realm="http://${tokens.host}/token",service="reg \\"x\\"",scope="repository:private/large:pull"`,
      });
    };
    await pull(`${registry.host}/private/large:1`, { auth: user });
    expect(issued).toBe(2);
    const [asked] = tokens.requests;
    const query = new URLSearchParams(asked?.path.split("?")[1]);
    expect(Object.fromEntries(query)).toEqual({
      service: 'reg "x"',
      scope: "repository:private/large:pull",
      account: "me",
    });
    await expect(pull(`${registry.host}/private/large:1`, { auth: { username: "me", password: "no" } }))
      .rejects
      .toMatchObject({ kind: "unauthorized", message: "unauthorized: bad password" });
  });

  it("asks for a token once for all requests, and for the others when the first is called off", async () => {
    registry.add("small", "1", small);
    await using tokens = new FakeRegistry();
    const gate = Promise.withResolvers<void>();
    tokens.intercept = async () => {
      await gate.promise;
      return Response.json({ token: "t" });
    };
    registry.intercept = (request) =>
      request.headers.has("authorization") ? undefined : refusal(401, "UNAUTHORIZED", "x", {
        "WWW-Authenticate": `Bearer realm="http://${tokens.host}/token"`,
      });
    using transport = new Transport(settings);
    const endpoint = { base: `http://${registry.host}`, mirror: false, insecureTls: false };
    const client = new RegistryClient(endpoint, "small", transport, undefined, ["repository:small:pull"]);
    const give = new AbortController();
    const first = client.manifest("1", give.signal);
    await waitFor(() => tokens.requests.length > 0, 5000, () => "no token");
    const second = client.manifest("1");
    await waitFor(() => registry.requests.length === 2, 5000, () => "no second request");
    give.abort();
    await expect(first).rejects.toMatchObject({ name: "AbortError" });
    gate.resolve();
    expect((await second).bytes.length).toBeGreaterThan(0);
    expect(tokens.requests).toHaveLength(1);
  });

  it("exchanges an identity token", async () => {
    registry.add("small", "1", small);
    await using tokens = new FakeRegistry();
    let form = "";
    tokens.intercept = async (request) => {
      form = await request.text();
      return Response.json({ access_token: "short" });
    };
    registry.intercept = (request) =>
      request.headers.get("authorization") === "Bearer short"
        ? undefined
        : refusal(401, "UNAUTHORIZED", "x", {
          "WWW-Authenticate": `Bearer realm="http://${tokens.host}/token",service=reg`,
        });
    await pull("small:1", { auth: { identityToken: "long" } });
    expect(Object.fromEntries(new URLSearchParams(form))).toMatchObject({
      grant_type: "refresh_token",
      refresh_token: "long",
      service: "reg",
      scope: "repository:small:pull",
    });
  });
});

describeWith(ROOT)("push", () => {
  const tagged = (name: string, image: BuiltImage): void => store.tag(image.id, `${registry.host}/${name}`);
  const statuses = (messages: PushMessage[]): string[] => [
    ...new Set(messages.filter(({ id }) => id !== undefined).map(({ status }) => status)),
  ];

  it("sends what was pulled under another name with the same digest, mounting what the registry has", async () => {
    const { digest } = registry.add("from", "1", small);
    await pull("from:1");
    tagged("to:2", small);
    const messages = await push("to:2");
    expect(messages[0]).toEqual({ status: `The push refers to repository [${registry.host}/to]` });
    expect(statuses(messages)).toEqual(["Preparing", "Mounted from from"]);
    expect(messages.at(-1)?.aux).toMatchObject({ Tag: "2", Digest: digest });
    expect(registry.manifests.get("to:2")).toEqual(registry.manifests.get("from:1"));
    expect(registry.paths("PATCH").length).toBe(1);
    registry.requests.length = 0;
    expect(statuses(await push("to:2"))).toEqual(["Preparing", "Layer already exists"]);
    expect(registry.paths("PATCH")).toEqual([]);
    expect(store.get(small.id).repoDigests).toContain(`${registry.host}/to@${digest}`);
  });

  it("packs and sends an image that was loaded, twice with the same digest", async () => {
    const image = buildImage({
      layers: [[file("x", noise(2_000_000))]],
      refs: [`${registry.host}/loaded:1`],
    });
    await store.load(streamOf(dockerArchive(image)));
    const messages = await push("loaded:1");
    expect(statuses(messages)).toEqual(["Preparing", "Pushing", "Pushed"]);
    const manifest = JSON.parse(new TextDecoder().decode(registry.manifests.get("loaded:1")?.bytes));
    expect(manifest.config.digest).toBe(image.id);
    expect(manifest.layers[0].mediaType).toBe("application/vnd.docker.image.rootfs.diff.tar.gzip");
    await using second = new FakeRegistry();
    store.tag(image.id, `${second.host}/loaded:1`);
    const first = registry;
    registry = second;
    const again = await push("loaded:1");
    registry = first;
    expect(again.at(-1)?.aux).toEqual(messages.at(-1)?.aux);
    store.remove(image.id, { force: true, noPrune: false, inUse: () => [] });
    await pull("loaded:1");
    expect(store.get(image.id).id).toBe(image.id);
  });

  it("sends in pieces where a stream is refused, and again when the connection breaks", async () => {
    registry.add("from", "1", large);
    await pull("from:1");
    await using other = new FakeRegistry();
    store.tag(large.id, `${other.host}/to:1`);
    let broken = 0;
    other.intercept = async (request) => {
      if (request.method !== "PATCH") return undefined;
      if (!request.headers.has("content-length")) {
        await request.body?.cancel();
        return new Response(null, { status: 411 });
      }
      if (broken++ === 0) {
        await request.body?.cancel();
        return new Response(null, { status: 502 });
      }
      return undefined;
    };
    const first = registry;
    registry = other;
    const messages = await push("to:1");
    registry = first;
    expect(messages.map(({ status }) => status)).toContain("Retrying in 1 second");
    expect(other.blobs.get(digestOfLayer(large))).toEqual(layerBytes(large));
    expect(other.requests.some(({ headers }) => /^0-\d+$/.test(headers.get("content-range") ?? ""))).toBe(
      true,
    );
  });

  it("asks again what a registry has that is overloaded for a moment", async () => {
    registry.add("from", "1", small);
    await pull("from:1");
    await using other = new FakeRegistry();
    store.tag(small.id, `${other.host}/to:1`);
    const busy = new Set<string>();
    other.intercept = (request, path) => {
      if (request.method !== "HEAD" || busy.has(path)) return undefined;
      busy.add(path);
      return new Response(null, { status: 503 });
    };
    const first = registry;
    registry = other;
    const messages = await push("to:1");
    registry = first;
    // two layers and the configuration
    expect(busy.size).toBe(3);
    expect(messages.map(({ status }) => status)).toContain("Retrying in 1 second");
    expect(messages.at(-1)?.aux).toMatchObject({ Tag: "1" });
  });

  it("pushes all tags of a repository, and says what it does not know", async () => {
    registry.add("from", "1", small);
    await pull("from:1");
    tagged("to:a", small);
    tagged("to:b", small);
    await push("to");
    expect([...registry.manifests.keys()].filter((key) => key.startsWith("to:"))).toEqual(["to:a", "to:b"]);
    await expect(push("to:c")).rejects.toThrow(`tag does not exist: ${registry.host}/to:c`);
    await expect(push("none")).rejects.toThrow(
      `An image does not exist locally with the tag: ${registry.host}/none`,
    );
  });

  it("shows the registry's refusal", async () => {
    registry.add("from", "1", small);
    await pull("from:1");
    tagged("to:1", small);
    registry.intercept = (request) =>
      request.method === "POST"
        ? refusal(403, "DENIED", "requested access to the resource is denied")
        : undefined;
    await expect(push("to:1")).rejects.toThrow("denied: requested access to the resource is denied");
  });

  it("pushes for a platform what is for that platform, and refuses the rest before anything is said", async () => {
    registry.add("from", "1", small);
    await pull("from:1");
    tagged("to:1", small);
    const messages: PushMessage[] = [];
    const pushFor = (platform: string) =>
      new ImagePusher(store.internals, settings).push({
        reference: parseReference(`${registry.host}/to:1`),
        platform: parsePlatform(platform),
        signal: new AbortController().signal,
        report: (message) => messages.push(message),
      });
    registry.requests.length = 0;
    await expect(pushFor("linux/s390x")).rejects.toMatchObject({
      kind: "not-found",
      message: `image with reference ${registry.host}/to:1 was found but its platform (linux/amd64) ` +
        "does not match the specified platform (linux/s390x)",
    });
    expect(messages).toEqual([]);
    expect(registry.requests).toEqual([]);
    await pushFor("linux/amd64");
    expect(registry.manifests.get("to:1")).toEqual(registry.manifests.get("from:1"));
  });

  it("refuses an image of this machine's own directories", async () => {
    const host = await store.ensureHostImage();
    store.tag(host.id, `${registry.host}/mine:1`);
    await expect(push("mine:1")).rejects.toMatchObject({ kind: "forbidden" });
    expect(registry.requests).toEqual([]);
  });
});
