import { describe, expect, it } from "vitest";
import { parseChallenges } from "../../image/registry/challenge.ts";
import { endpointsOf, isInsecure } from "../../image/registry/endpoints.ts";
import { ConnectionError, errorOf, isTransient, RegistryError } from "../../image/registry/errors.ts";
import { domainOf } from "../../image/registry/login.ts";
import { retryDelay } from "../../image/registry/retry.ts";
import { DEFAULT_REGISTRY_SETTINGS } from "../../image/registry/settings.ts";
import { SharedTransfers, Slots } from "../../image/transfers.ts";
import { Growth } from "../../fs/growing_file.ts";
import { registryAuth } from "../../api/schemas/registry.ts";
import { progressBar } from "../../base/units.ts";

const never = new AbortController().signal;

describe("parseChallenges()", () => {
  it.each([
    ['Basic realm="x"', [{ scheme: "basic", parameters: { realm: "x" } }]],
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
      [{
        scheme: "bearer",
        parameters: {
          realm: "https://auth.docker.io/token",
          service: "registry.docker.io",
          scope: "repository:a/b:pull,push",
        },
      }],
    ],
    [
      'Negotiate, BEARER Realm = "a\\"b" , service=c, Basic realm="d"',
      [
        { scheme: "negotiate", parameters: {} },
        { scheme: "bearer", parameters: { realm: 'a"b', service: "c" } },
        { scheme: "basic", parameters: { realm: "d" } },
      ],
    ],
    ["", []],
    ['Bearer realm="never ends', [{ scheme: "bearer", parameters: {} }]],
    ["=,=", []],
  ])("takes %j apart", (header, challenges) => {
    expect(parseChallenges(header)).toEqual(challenges);
  });
});

describe("endpointsOf()", () => {
  const settings = {
    ...DEFAULT_REGISTRY_SETTINGS,
    mirrors: ["https://mirror.example/", "http://10.1.2.3:5000"],
    insecure: ["plain.example:5000", "10.0.0.0/8"],
  };

  it("asks the mirrors before Docker Hub, but only for Docker Hub, and not for pushes", () => {
    expect(endpointsOf("docker.io", settings)).toEqual([
      { base: "https://mirror.example", mirror: true, insecureTls: false },
      { base: "http://10.1.2.3:5000", mirror: true, insecureTls: true },
      { base: "https://registry-1.docker.io", mirror: false, insecureTls: false },
    ]);
    expect(endpointsOf("docker.io", settings, true).map(({ base }) => base)).toEqual([
      "https://registry-1.docker.io",
    ]);
    expect(endpointsOf("quay.io", settings)).toEqual([
      { base: "https://quay.io", mirror: false, insecureTls: false },
    ]);
  });

  it("falls back to plain HTTP for insecure registries only", () => {
    expect(endpointsOf("plain.example:5000", settings).map(({ base }) => base)).toEqual([
      "https://plain.example:5000",
      "http://plain.example:5000",
    ]);
  });

  it.each([
    ["localhost:5000", true],
    ["127.1.2.3", true],
    ["[::1]:5000", true],
    ["plain.example:5000", true],
    ["plain.example:5001", false],
    ["10.200.0.1:443", true],
    ["11.0.0.1", false],
    ["10.0.0.1.example", false],
    ["127.evil.example", false],
    ["localhost.example", false],
  ])("knows whether %s may be insecure", (host, insecure) => {
    expect(isInsecure(host, settings.insecure)).toBe(insecure);
  });
});

describe("domainOf()", () => {
  it.each([
    ["", "docker.io"],
    ["https://index.docker.io/v1/", "docker.io"],
    ["registry-1.docker.io", "docker.io"],
    ["https://quay.io/v2/", "quay.io"],
    ["localhost:5000", "localhost:5000"],
  ])("%j is %s", (address, domain) => expect(domainOf(address)).toBe(domain));

  it("refuses what is no address", () => expect(() => domainOf("a b")).toThrow("invalid registry address"));
});

describe("errorOf()", () => {
  it("shows the registry's codes as Docker does", async () => {
    const body = {
      errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown", detail: {} }, { code: "X_Y" }],
    };
    const error = await errorOf(Response.json(body, { status: 404 }));
    expect(error).toMatchObject({ kind: "not-found", code: "MANIFEST_UNKNOWN", transient: false });
    expect(error.message).toBe("manifest unknown: manifest unknown\nx y");
  });

  it("believes what is said of the token before the body, and reads the older form of errors", async () => {
    const challenge = (error: string) => ({
      status: 401,
      headers: { "WWW-Authenticate": `Bearer realm="https://x/token",error="${error}"` },
    });
    const body = { errors: [{ code: "UNAUTHORIZED", message: "authentication required" }] };
    expect(await errorOf(Response.json(body, challenge("insufficient_scope")))).toMatchObject({
      code: "DENIED",
      message: "denied: requested access to the resource is denied",
    });
    expect(await errorOf(Response.json({}, challenge("invalid_token")))).toMatchObject({
      kind: "unauthorized",
      message: "unauthorized: authentication required",
    });
    const details = { details: "incorrect username or password" };
    expect(await errorOf(Response.json(details, { status: 401 }))).toMatchObject({
      kind: "unauthorized",
      message: "unauthorized: incorrect username or password",
    });
    expect(await errorOf(Response.json(null, { status: 403 }))).toMatchObject({
      code: "DENIED",
      message: "denied: requested access to the resource is denied",
    });
  });

  it("knows how long to wait, and what may pass", async () => {
    const busy = await errorOf(new Response("", { status: 429, headers: { "Retry-After": "7" } }));
    expect(busy).toMatchObject({ transient: true, retryAfterMs: 7000 });
    expect(retryDelay(busy, 1, DEFAULT_REGISTRY_SETTINGS)).toBe(7000);
    const gone = new ConnectionError("GET", "http://x/", new Error("connection reset"));
    expect(retryDelay(gone, 3, DEFAULT_REGISTRY_SETTINGS)).toBe(4000);
    expect(isTransient(gone)).toBe(true);
    expect(gone.message).toBe('Get "http://x/": connection reset');
    expect(isTransient(new RegistryError("no", 403, "DENIED"))).toBe(false);
    expect(isTransient(new Error("x"))).toBe(false);
  });

  it("does not read an endless body", async () => {
    const endless = new ReadableStream<Uint8Array>({
      pull: (c) => c.enqueue(new Uint8Array(65536).fill(65)),
    });
    expect((await errorOf(new Response(endless, { status: 500 }))).message.length).toBeLessThan(400);
  });
});

describe("SharedTransfers", () => {
  it("does the work once, and tells late comers how far it is", async () => {
    const transfers = new SharedTransfers<number, string>();
    const gate = Promise.withResolvers<number>();
    let runs = 0;
    const work = (report: (text: string) => void) => {
      runs++;
      report("half");
      return gate.promise;
    };
    const heard: string[] = [];
    const first = transfers.join("k", work, (text) => heard.push(`1 ${text}`), never);
    await Promise.resolve();
    await Promise.resolve();
    const second = transfers.join("k", work, (text) => heard.push(`2 ${text}`), never);
    gate.resolve(7);
    expect(await Promise.all([first, second])).toEqual([7, 7]);
    expect(runs).toBe(1);
    expect(heard).toEqual(["1 half", "2 half"]);
  });

  it("calls the work off with the last who wanted it, and starts anew for the next", async () => {
    const transfers = new SharedTransfers<string, never>();
    const ended = Promise.withResolvers<void>();
    const cleanedUp = Promise.withResolvers<void>();
    let aborts = 0;
    const stuck = (_report: unknown, signal: AbortSignal) =>
      new Promise<string>((_, reject) =>
        signal.addEventListener("abort", () => {
          aborts++;
          ended.resolve();
          void cleanedUp.promise.then(() => reject(signal.reason));
        })
      );
    const [a, b] = [new AbortController(), new AbortController()];
    const one = transfers.join("k", stuck, () => {}, a.signal);
    const two = transfers.join("k", stuck, () => {}, b.signal);
    a.abort(new Error("a"));
    await expect(one).rejects.toThrow("a");
    expect(aborts).toBe(0);
    b.abort(new Error("b"));
    await ended.promise;
    // it comes while the first run is still cleaning up
    const three = transfers.join("k", () => Promise.resolve("new"), () => {}, never);
    cleanedUp.resolve();
    await expect(two).rejects.toThrow("b");
    expect(aborts).toBe(1);
    expect(await three).toBe("new");
  });
});

describe("Slots", () => {
  it("gives them in order, and takes nobody's place who has left", async () => {
    const slots = new Slots(() => 1);
    const order: string[] = [];
    const first = await slots.take(never);
    const leaver = new AbortController();
    const left = slots.take(leaver.signal, () => order.push("waits"));
    const next = slots.take(never).then((slot) => {
      order.push("next");
      return slot;
    });
    leaver.abort(new Error("left"));
    await expect(left).rejects.toThrow("left");
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    const slot = await next;
    const last = slots.take(never).then(() => order.push("last"));
    expect(order).toEqual(["waits", "next"]);
    slot[Symbol.dispose]();
    await last;
    expect(order).toEqual(["waits", "next", "last"]);
  });
});

describe("Growth", () => {
  it("tells a reader what there is, the end, and failure", () => {
    const growth = new Growth();
    const reader = new Growth(growth.shared);
    growth.grow(10);
    expect(reader.wait(0, () => false)).toBe(10);
    expect(reader.wait(4, () => false)).toBe(6);
    expect(reader.wait(10, () => true)).toBe(-1);
    reader.tookUpTo(4);
    reader.tookUpTo(2);
    expect(growth.consumed).toBe(4);
    growth.end(true);
    expect(reader.wait(10, () => false)).toBe(0);
    growth.end(false);
    expect(reader.wait(0, () => false)).toBe(-1);
  });
});

describe("registryAuth()", () => {
  const encoded = (value: unknown, alphabet: "base64" | "base64url" = "base64url") =>
    new TextEncoder().encode(JSON.stringify(value)).toBase64({ alphabet });

  it("takes either alphabet, and knows when there is nothing in it", () => {
    const config = { username: "ü?>", password: "p~", serveraddress: "x" };
    for (const alphabet of ["base64", "base64url"] as const) {
      expect(registryAuth(encoded(config, alphabet))).toEqual({ username: "ü?>", password: "p~" });
    }
    expect(registryAuth(encoded({ auth: btoa("me:a:b") }))).toEqual({ username: "me", password: "a:b" });
    expect(registryAuth(encoded({ identitytoken: "t" }))).toEqual({ identityToken: "t" });
    for (const nothing of [undefined, "", encoded({}), encoded(null), encoded({ username: "" })]) {
      expect(registryAuth(nothing)).toBeUndefined();
    }
  });

  it("refuses what is neither base64 nor JSON", () => {
    for (const bad of ["%%%", btoa("no json")]) {
      expect(() => registryAuth(bad)).toThrow("invalid X-Registry-Auth header");
    }
  });
});

describe("progressBar()", () => {
  it.each([
    [0, 0, ""],
    [500, 0, "    500B"],
    [512, 1024, `[${"=".repeat(25)}>${" ".repeat(24)}]     512B/1.024kB`],
    [1024, 1024, `[${"=".repeat(50)}>]  1.024kB/1.024kB`],
    [2048, 1024, " 2.048kB"],
  ])("draws %d of %d as Docker does", (current, total, bar) => expect(progressBar(current, total)).toBe(bar));
});
