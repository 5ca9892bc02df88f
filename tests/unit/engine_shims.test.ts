import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ShimClient, type ShimEvents, ShimFailure, type ShimOrder } from "../../engine/shim_client.ts";
import { ALL_PRIVATE, type ReadyShim, ShimPool } from "../../engine/shim_pool.ts";
import { waitFor } from "../support/processes.ts";

let dir: string;
beforeEach(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-shim-" });
});
afterEach(() => Deno.removeSync(dir, { recursive: true }));

/** The far end of a control connection, line by line. */
class Peer implements Disposable {
  readonly #listener: Deno.UnixListener;
  conn: Deno.UnixConn | undefined;
  readonly lines: Record<string, unknown>[] = [];

  constructor() {
    this.#listener = Deno.listen({ transport: "unix", path: `${dir}/ctl.sock` });
  }

  async accept(): Promise<void> {
    this.conn = await this.#listener.accept();
    void this.#read(this.conn);
  }

  async #read(conn: Deno.UnixConn): Promise<void> {
    let text = "";
    const buffer = new Uint8Array(4096);
    for (;;) {
      const count = await conn.read(buffer).catch(() => null);
      if (count === null) return;
      text += new TextDecoder().decode(buffer.subarray(0, count));
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        this.lines.push(JSON.parse(text.slice(0, end)));
        text = text.slice(end + 1);
      }
    }
  }

  async send(text: string): Promise<void> {
    await this.conn?.write(new TextEncoder().encode(text));
  }

  [Symbol.dispose](): void {
    this.#listener.close();
    try {
      this.conn?.close();
    } catch {
      // The test has closed it.
    }
  }
}

async function pair(): Promise<{ peer: Peer; client: ShimClient }> {
  const peer = new Peer();
  const [client] = await Promise.all([ShimClient.connect(dir), peer.accept()]);
  return { peer, client };
}

const RECORD =
  '{"containerId":"c","exitCode":3,"signal":null,"oomKilled":false,"startedAt":"","finishedAt":"","pid":1}';

describe("ShimClient", () => {
  it("matches answers by number, in whatever order and pieces they come", async () => {
    const { peer, client } = await pair();
    using _peer = peer, _client = client;
    const first = client.request({ op: "status" });
    const second = client.request({ op: "signal", signal: 15 });
    second.catch(() => {});
    await waitFor(() => peer.lines.length === 2, 5000, () => "waited for both requests");
    expect(peer.lines.map((line) => line["op"])).toEqual(["status", "signal"]);
    const [a, b] = peer.lines.map((line) => line["seq"]);
    await peer.send(`{"seq":${b},"ok":false,"error":{"message":"gone","errno":3,"stage":"signal"}}\n{"seq":`);
    await expect(second).rejects.toBeInstanceOf(ShimFailure);
    await peer.send(`${a},"ok":true,"pid":7}\n`);
    expect((await first).pid).toBe(7);
  });

  it("delivers an exit that came before anybody listened, once", async () => {
    const { peer, client } = await pair();
    using _peer = peer, _client = client;
    await peer.send(`{"event":"exit","record":${RECORD}}\n{"event":"exec-exit","execId":"e","exitCode":1}\n`);
    const asked = client.request({ op: "status" });
    await waitFor(() => peer.lines.length === 1, 5000, () => "waited for the request");
    await peer.send(`{"seq":1,"ok":true}\n`);
    await asked;
    const heard: unknown[] = [];
    const events: ShimEvents = {
      onExit: (record) => heard.push(record.exitCode),
      onExecExit: ({ execId }) => heard.push(execId),
    };
    client.listen(events);
    client.listen(events);
    expect(heard).toEqual([3, "e"]);
  });

  it("rejects what is open and says so when the shim dies", async () => {
    const { peer, client } = await pair();
    using _peer = peer;
    let closed = 0;
    client.listen({ onClose: () => closed++ });
    const open = client.request({ op: "status" });
    open.catch(() => {});
    await waitFor(() => peer.lines.length === 1, 5000, () => "waited for the request");
    peer.conn?.close();
    await expect(open).rejects.toThrow("shim has ended unexpectedly");
    await expect(client.request({ op: "status" })).rejects.toThrow("shim has ended unexpectedly");
    expect([closed, client.closed]).toEqual([1, true]);
  });

  it("says nothing when it is closed on purpose", async () => {
    const { peer, client } = await pair();
    using _peer = peer;
    let closed = 0;
    client.listen({ onClose: () => closed++ });
    client.close();
    expect([closed, client.closed]).toEqual([0, true]);
  });
});

async function readSome(connection: Deno.Conn): Promise<Uint8Array> {
  const buffer = new Uint8Array(1024);
  return buffer.subarray(0, await connection.read(buffer) ?? 0);
}

/** A pool over shims that are no processes. */
function fakePool(size: number): {
  pool: ShimPool;
  spawned: (ReadyShim & { events: ShimEvents; closed: boolean })[];
  orders: ShimOrder[];
  release(): void;
  fail: { next: boolean };
  log: string[];
} {
  const spawned: (ReadyShim & { events: ShimEvents; closed: boolean })[] = [];
  const waiting: (() => void)[] = [];
  const fail = { next: false };
  const orders: ShimOrder[] = [];
  const log: string[] = [];
  const spawn = async (): Promise<ReadyShim> => {
    await new Promise<void>((resolve) => waiting.push(resolve));
    if (fail.next) throw new Error("no more processes");
    const shim = {
      ref: { id: String(spawned.length), dir: `${dir}/none`, pid: 1, startTime: "1" },
      init: { pid: 2, startTime: "2" },
      events: {} as ShimEvents,
      closed: false,
      client: undefined as unknown as ShimClient,
    };
    shim.client = {
      get closed() {
        return shim.closed;
      },
      listen: (events: ShimEvents) => shim.events = events,
      close: () => shim.closed = true,
      request: (order: ShimOrder) => {
        orders.push(order);
        return Promise.resolve({ seq: 1, ok: true });
      },
    } as unknown as ShimClient;
    spawned.push(shim);
    return shim;
  };
  const release = () => {
    for (const resolve of waiting.splice(0)) resolve();
  };
  const newDir = () => Deno.makeTempDirSync({ dir });
  const pool = new ShimPool({ size, spawn, newDir, log: (line) => log.push(line) });
  return { pool, spawned, orders, release, fail, log };
}

describe("ShimPool", () => {
  it("keeps as many as asked for, also when it is asked several times while they boot", async () => {
    const { pool, spawned, release } = fakePool(2);
    pool.refill();
    pool.refill();
    release();
    await waitFor(() => pool.idle === 2, 5000, () => "waited for two idle shims");
    pool.refill();
    release();
    expect(spawned).toHaveLength(2);
  });

  it("hands out a warm one at once, and boots one for a burst and for other namespaces", async () => {
    const { pool, spawned, release } = fakePool(1);
    pool.refill();
    release();
    await waitFor(() => pool.idle === 1, 5000, () => "waited for one idle shim");
    const host = pool.acquire({ ...ALL_PRIVATE, net: { kind: "host" } });
    release();
    expect((await host).ref.id).toBe("1");
    expect((await pool.acquire()).ref.id).toBe("0");
    const burst = pool.acquire();
    release();
    expect((await burst).ref.id).toBe("2");
    expect([spawned.length, pool.idle]).toEqual([3, 0]);
  });

  it("does not hand out one that died, and boots nothing with size 0", async () => {
    const { pool, spawned, release } = fakePool(1);
    pool.refill();
    release();
    await waitFor(() => pool.idle === 1, 5000, () => "waited for one idle shim");
    const [idle] = spawned;
    if (idle === undefined) throw new Error("no shim");
    idle.closed = true;
    idle.events.onClose?.();
    expect(pool.idle).toBe(0);
    const fresh = pool.acquire();
    release();
    expect((await fresh).ref.id).toBe("1");

    const none = fakePool(0);
    none.pool.refill();
    none.release();
    expect([none.spawned.length, none.pool.idle]).toEqual([0, 0]);
  });

  it("closes idle ones, and those that were still booting when it closed", async () => {
    const { pool, spawned, release } = fakePool(2);
    pool.refill();
    pool.close();
    release();
    await waitFor(
      () => spawned.length === 2 && spawned.every((shim) => shim.closed),
      5000,
      () => "waited for both to be closed",
    );
    expect(pool.idle).toBe(0);
  });

  it("takes a shim back whose container has ended, where there is room", async () => {
    const { pool, spawned, orders, release } = fakePool(1);
    const [first, second] = [pool.acquire(), pool.acquire()];
    release();
    const shims = [await first, await second];
    const [shim, other] = shims;
    if (shim === undefined || other === undefined) throw new Error("no shims");
    await pool.release(shim);
    const order = orders[0] as { again?: string };
    // The place is taken: this one is to end.
    await pool.release(other);
    expect(orders[1]).toEqual({ op: "shutdown" });
    const listener = Deno.listen({ transport: "unix", path: `${order.again}/ctl.sock` });
    using _listener = listener;
    spawned[0]?.events.onReady?.();
    using connection = await listener.accept();
    const status = JSON.parse(new TextDecoder().decode(await readSome(connection))) as { seq: number };
    const state = { init: { pid: 3, startTime: "3" } };
    await connection.write(
      new TextEncoder().encode(`${JSON.stringify({ seq: status.seq, ok: true, state })}\n`),
    );
    await waitFor(() => pool.idle === 1, 5000, () => "waited for the shim to be back");
    const again = await pool.acquire();
    expect(again.ref).toMatchObject({ pid: shim.ref.pid, dir: order.again });
    expect(again.init).toEqual(state.init);
    expect(spawned.map(({ closed }) => closed)).toEqual([true, true]);
    again.client.close();
  });

  it("boots another one for a shim that does not come back, and takes none of another kind", async () => {
    const { pool, spawned, orders, release } = fakePool(1);
    const host = pool.acquire({ ...ALL_PRIVATE, net: { kind: "host" } });
    const own = pool.acquire();
    release();
    await pool.release(await host);
    expect(orders).toEqual([{ op: "shutdown" }]);
    await pool.release(await own);
    spawned.find(({ closed }) => !closed)?.events.onClose?.();
    const next = pool.acquire();
    await waitFor(
      () => {
        release();
        return spawned.length === 3;
      },
      5000,
      () => "waited for another shim",
    );
    expect((await next).ref.id).toBe("2");
    pool.close();
  });

  it("does not wait for one that its clients hold up", async () => {
    const { pool, spawned, release } = fakePool(1);
    const acquired = pool.acquire();
    release();
    const shim = await acquired;
    shim.client.request = () => Promise.resolve({ seq: 1, ok: true, heldUp: true });
    await pool.release(shim);
    const next = pool.acquire();
    await waitFor(
      () => {
        release();
        return spawned.length === 2;
      },
      5000,
      () => "waited for another shim",
    );
    expect((await next).ref.id).toBe("1");
    expect(spawned[0]?.closed).toBe(true);
    pool.close();
  });

  it("does not wait for one that has died before it is let go", async () => {
    const { pool, spawned, orders, release } = fakePool(1);
    const acquired = pool.acquire();
    release();
    const shim = await acquired;
    const [spawn] = spawned;
    if (spawn !== undefined) spawn.closed = true;
    await pool.release(shim);
    expect(orders).toEqual([{ op: "shutdown" }]);
    const next = pool.acquire();
    release();
    expect((await next).ref.id).toBe("1");
    pool.close();
  });

  it("survives that a shim cannot be started", async () => {
    const { pool, release, fail, log } = fakePool(1);
    fail.next = true;
    const failed = pool.acquire();
    failed.catch(() => {});
    release();
    await expect(failed).rejects.toThrow("no more processes");
    pool.refill();
    release();
    await waitFor(() => log.length > 0, 5000, () => "waited for the pool's word");
    expect(log).toEqual(["cannot keep a warm shim: no more processes"]);
    fail.next = false;
    const again = pool.acquire();
    release();
    expect((await again).ref.id).toBe("0");
  });
});
