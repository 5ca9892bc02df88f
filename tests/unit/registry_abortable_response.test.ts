import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { abortableResponse } from "../../image/registry/abortable_response.ts";

/** Makes the garbage collector run: all generations, several times. */
async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 10; round++) {
    const garbage: unknown[] = [];
    for (let i = 0; i < 50; i++) garbage.push(new Array(20_000).fill({ round }));
    expect(garbage).toHaveLength(50);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

describe("abortableResponse()", () => {
  let server: Deno.HttpServer<Deno.NetAddr>;
  let left: PromiseWithResolvers<void>;
  beforeEach(() => {
    left = Promise.withResolvers<void>();
    server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
      if (request.url.endsWith("/none")) return new Response(null, { status: 204 });
      if (request.url.endsWith("/whole")) return new Response("all of it", { headers: { "x-more": "1" } });
      return new Response(new ReadableStream({ cancel: () => left.resolve() }));
    });
  });
  afterEach(async () => {
    await server.shutdown();
  });
  const url = (path: string) => `http://127.0.0.1:${server.addr.port}/${path}`;

  it("gives up a body that hangs, also when everything but the caller's signal has been collected", async () => {
    const source = new AbortController();
    const reading = (async () => {
      const both = AbortSignal.any([source.signal, new AbortController().signal]);
      const { body } = abortableResponse(await fetch(url("hangs"), { signal: both }), both);
      for await (const _ of body ?? []) { /* never */ }
    })();
    const outcome = expect(reading).rejects.toThrow("enough");
    await collectGarbage();
    source.abort(new Error("enough"));
    await outcome;
    await left.promise;
  });

  it("gives up one whose signal has been aborted before it is read", async () => {
    const source = new AbortController();
    const response = await fetch(url("hangs"));
    source.abort(new Error("enough"));
    await expect(abortableResponse(response, source.signal).text()).rejects.toThrow("enough");
    await left.promise;
  });

  it("lets go of the connection when its reader does", async () => {
    const { signal } = new AbortController();
    await abortableResponse(await fetch(url("hangs"), { signal }), signal).body?.cancel();
    await left.promise;
  });

  it("changes nothing of a response that comes whole, or has no body", async () => {
    const { signal } = new AbortController();
    const whole = abortableResponse(await fetch(url("whole"), { signal }), signal);
    expect([whole.status, whole.url, whole.headers.get("x-more")]).toEqual([200, url("whole"), "1"]);
    expect(await whole.text()).toBe("all of it");
    const none = await fetch(url("none"), { signal });
    expect(abortableResponse(none, signal)).toBe(none);
    const without = await fetch(url("whole"));
    expect(abortableResponse(without, undefined)).toBe(without);
    await without.body?.cancel();
  });
});
