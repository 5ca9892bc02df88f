/** Both ends of gRPC on one connection. */
import { duplexPair } from "node:stream";
import { expect, test } from "vitest";
import { BuildJob } from "../../api/buildkit/build_job.ts";
import { GrpcClient, type Method, serveGrpc } from "../../api/buildkit/grpc.ts";
import { ControlServer } from "../../api/buildkit/control.ts";
import { encode } from "../../api/buildkit/protocol.ts";
import type { Builder } from "../../engine/build/types.ts";
import type { Sessions } from "../../api/buildkit/session.ts";
import { fakeEngine } from "../support/fake_engine.ts";

/** A client of these methods. */
function connected(methods: Record<string, Method>): Disposable & { client: GrpcClient } {
  const [here, there] = duplexPair();
  void serveGrpc(there, new Map(Object.entries(methods)));
  const client = new GrpcClient(here);
  return { client, [Symbol.dispose]: () => client.close() };
}

test("a call has one message there and one back", async () => {
  using pair = connected({
    "/echo": async ({ messages }) => {
      for await (const message of messages) return message.slice().reverse();
      return new Uint8Array();
    },
  });
  const answer = await pair.client.unary("/echo", new Uint8Array([1, 2, 3]), new AbortController().signal);
  expect([...answer]).toEqual([3, 2, 1]);
  await expect(pair.client.unary("/nothing", answer, new AbortController().signal)).rejects.toThrow(
    "berth does not serve nothing",
  );
});

test("a call of somebody who has given up before is canceled, whether it is answered or not", async () => {
  using pair = connected({ "/silent": () => new Promise(() => {}) });
  const call = pair.client.unary("/silent", new Uint8Array(), AbortSignal.abort());
  await expect(call).rejects.toMatchObject({ name: "GrpcError" });
});

test("prune keeps what the client says, and takes nothing while the disk has as much free as it wants", async () => {
  const asked: unknown[] = [];
  const record = { size: 100, shared: false, id: "a" };
  const builder = {
    cacheRecords: () => [record],
    prune: (options: unknown) => {
      asked.push(options);
      return Promise.resolve({ ids: [], space: 0 });
    },
  } as unknown as Builder;
  const { engine } = fakeEngine({
    builder: () => Promise.resolve(builder),
    info: () => Promise.resolve({ DockerRootDir: "/tmp" }),
  });
  const path = "/moby.buildkit.v1.Control/Prune";
  const prune = new ControlServer(engine, {} as Sessions).methods.get(path);
  const ask = async (request: Record<string, unknown>) => {
    const messages = (async function* () {
      yield await Promise.resolve(encode("PruneRequest", request));
    })();
    const { signal } = new AbortController();
    await prune?.({ metadata: {}, messages, send: () => Promise.resolve(), signal });
  };
  await ask({ all: true });
  await ask({ reservedSpace: 7, maxUsedSpace: 9 });
  await ask({ all: true, minFreeSpace: 1 });
  await ask({ minFreeSpace: Number.MAX_SAFE_INTEGER, reservedSpace: 30 });
  expect(asked).toEqual([
    { all: true, keepStorage: 0, filters: {} },
    { all: false, keepStorage: 9, filters: {} },
    { all: false, keepStorage: 30, filters: {} },
  ]);
});

test("a build of a client's frontend ends when its client has gone before it sent Solve", async () => {
  const job = new BuildJob("ref", fakeEngine({}).engine, {} as Sessions);
  const give = new AbortController();
  const solving = job.solve({}, [], give.signal);
  give.abort();
  await expect(solving).rejects.toThrow("context canceled");
});
