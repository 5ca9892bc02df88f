import { describe, expect, test } from "vitest";
import { GO_MODE, receiveAsTar, stateOf, TreeReceiver } from "../../api/buildkit/diff_copy.ts";
import { frontendOptions } from "../../api/buildkit/frontend_options.ts";
import type { ClientCall } from "../../api/buildkit/grpc.ts";
import { Progress } from "../../api/buildkit/progress.ts";
import { decode, encode, PACKET } from "../../api/buildkit/protocol.ts";
import { type TarEntry, tarEvents } from "../../base/tar/mod.ts";

describe("options of the frontend", () => {
  test("are what buildx makes of its flags", () => {
    const options = frontendOptions({
      "add-hosts": "one=10.0.0.1,two=::1",
      "build-arg:A": "b=c",
      "build-arg:SOURCE_DATE_EPOCH": "1700000000",
      "context:other": "local:other-dir",
      "context:base": "docker-image://busybox:1",
      "force-network-mode": "none",
      "image-resolve-mode": "pull",
      "label:x": "",
      "no-cache": "one,two",
      "shm-size": "67108864",
      filename: "sub/Other.Dockerfile",
      target: "app",
      ulimit: '"nofile=1:2",core=0',
    }, [{ Type: "registry", Attrs: { ref: "r/cache" } }, { Type: "local", Attrs: {} }]);
    expect(options).toMatchObject({
      buildArgs: { A: "b=c", SOURCE_DATE_EPOCH: "1700000000" },
      cacheFrom: ["r/cache"],
      context: { kind: "local", directory: "context" },
      dockerfileDirectory: "dockerfile",
      extraHosts: ["one:10.0.0.1", "two:::1"],
      filename: "sub/Other.Dockerfile",
      labels: { x: "" },
      namedContexts: {
        other: { kind: "local", directory: "other-dir" },
        base: { kind: "image", reference: "busybox:1" },
      },
      networkMode: "none",
      noCache: false,
      noCacheStages: ["one", "two"],
      pull: true,
      shmSize: 67108864,
      sourceDateEpoch: 1700000000,
      target: "app",
      ulimits: [{ Name: "nofile", Soft: 1, Hard: 2 }, { Name: "core", Soft: 0, Hard: 0 }],
    });
  });

  test("without names are defaults; an upload has its Dockerfile inside", () => {
    expect(frontendOptions({ "no-cache": "" }, [])).toMatchObject({
      filename: "Dockerfile",
      noCache: true,
      noCacheStages: [],
      networkMode: "default",
    });
    expect(frontendOptions({ context: "http://buildkit-session/abc" }, [])).toMatchObject({
      context: { kind: "upload", path: "/abc" },
      dockerfileDirectory: undefined,
    });
  });

  test.each([
    [{ platform: "linux/amd64,linux/arm64" }, "multiple platforms"],
    [{ requestid: "frontend.outline" }, "unsupported request frontend.outline"],
    [{ "force-network-mode": "odd" }, "invalid netmode odd"],
    [{ "shm-size": "-1" }, "invalid shm-size"],
    [{ ulimit: "nofile" }, "invalid ulimit argument"],
    [{ "context:x": "ftp://y" }, "unsupported context source"],
    [{ "add-hosts": "nothing" }, "invalid key-value pair"],
  ])("%j is refused", (options, message) => {
    expect(() => frontendOptions(options as Record<string, string>, [])).toThrow(message);
  });
});

/** The sender's end of a call, played by hand. */
function fakeCall(
  play: (requests: AsyncIterable<{ type: number; ID: number }>) => AsyncGenerator<Uint8Array>,
) {
  const queue: { type: number; ID: number }[] = [];
  let wake: () => void = () => {};
  async function* requests() {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => wake = resolve);
    }
  }
  const call: ClientCall = {
    send: (message) => {
      const { type, ID } = decode("Packet", message);
      queue.push({ type, ID });
      wake();
      return Promise.resolve();
    },
    end() {},
    cancel() {},
    messages: play(requests()),
  };
  return call;
}

const stat = (path: string, mode: number, more: Record<string, unknown> = {}) =>
  encode("Packet", { type: PACKET.stat, stat: { path, mode, ...more } });

async function received(call: ClientCall): Promise<{ entry: TarEntry; text: string }[]> {
  const out: { entry: TarEntry; text: string }[] = [];
  for await (const event of tarEvents(receiveAsTar(call, () => {}))) {
    if (event.kind === "entry") out.push({ entry: event.entry, text: "" });
    const last = out.at(-1);
    if (event.kind === "data" && last !== undefined) last.text += new TextDecoder().decode(event.chunk);
  }
  return out;
}

describe("files of a client", () => {
  test("are listed first, and only what is wanted is asked for", async () => {
    const asked: number[] = [];
    const call = fakeCall(async function* (requests) {
      yield stat("dir", (GO_MODE.directory | 0o755) >>> 0);
      for (const name of ["dir/a", "dir/b", "c"]) yield stat(name, 0o644, { size: 1 });
      yield encode("Packet", { type: PACKET.stat });
      for await (const { type, ID } of requests) {
        if (type !== PACKET.request) break;
        asked.push(ID);
        yield encode("Packet", { type: PACKET.data, ID, data: new TextEncoder().encode("x") });
        yield encode("Packet", { type: PACKET.data, ID });
      }
      yield encode("Packet", { type: PACKET.end });
    });
    const receiver = new TreeReceiver(call, () => {});
    expect((await receiver.list(10))?.map(({ path }) => path)).toEqual(["dir", "dir/a", "dir/b", "c"]);
    const names: string[] = [];
    for await (const event of tarEvents(receiver.archive(new Set([0, 2])))) {
      if (event.kind === "entry") names.push(event.entry.name.replace(/\/$/, ""));
    }
    expect([names, asked]).toEqual([["dir", "dir/b"], [2]]);
  });

  test("too many for a list come whole", async () => {
    const call = fakeCall(async function* (requests) {
      for (const name of ["a", "b", "c"]) yield stat(name, (GO_MODE.pipe | 0o644) >>> 0);
      yield encode("Packet", { type: PACKET.stat });
      for await (const { type } of requests) if (type === PACKET.end) break;
      yield encode("Packet", { type: PACKET.end });
    });
    const receiver = new TreeReceiver(call, () => {});
    expect(await receiver.list(1)).toBeUndefined();
    const entries = await Array.fromAsync(tarEvents(receiver.archive()));
    expect(entries.filter(({ kind }) => kind === "entry")).toHaveLength(3);
  });

  test("have no state where their time may be another file's as well", () => {
    const now = 1_700_000_000_123_456_789;
    const file = decode("Packet", stat("a", 0o644, { size: 1, modTime: 1_600_000_000_123_456_789 })).stat;
    if (file === null) throw new TypeError("no stat");
    expect(stateOf(file, now)).not.toBe("");
    expect(stateOf({ ...file, size: 2 }, now)).not.toBe(stateOf(file, now));
    expect(stateOf({ ...file, modTime: 1_600_000_000_000_000_000 }, now)).toBe("");
    expect(stateOf({ ...file, modTime: now - 1e9 }, now)).toBe("");
    expect(stateOf({ ...file, modTime: 0, linkname: "b" }, now)).not.toBe("");
  });

  test("become an archive in their order, whatever the order of their contents", async () => {
    const call = fakeCall(async function* (requests) {
      yield stat("dir", (GO_MODE.directory | 0o750) >>> 0);
      yield stat("dir/a", 0o644, { size: 3 });
      yield stat("dir/b", (GO_MODE.setuid | 0o755) >>> 0, { size: 3 });
      yield stat("hard", 0o644, { linkname: "dir/a" });
      yield stat("link", (GO_MODE.symlink | 0o777) >>> 0, { linkname: "dir/b" });
      yield stat("pipe", (GO_MODE.pipe | 0o600) >>> 0);
      yield stat("socket", (GO_MODE.socket | 0o600) >>> 0);
      yield encode("Packet", { type: PACKET.stat });
      const wanted = [];
      for await (const { type, ID } of requests) {
        if (type !== PACKET.request) break;
        wanted.push(ID);
        if (wanted.length < 2) continue;
        for (const id of wanted.reverse()) {
          const data = new TextEncoder().encode(id === 1 ? "one" : "grown since");
          yield encode("Packet", { type: PACKET.data, ID: id, data });
          yield encode("Packet", { type: PACKET.data, ID: id });
        }
      }
      yield encode("Packet", { type: PACKET.end });
    });
    const entries = await received(call);
    expect(
      entries.map((
        { entry, text },
      ) => [entry.name, entry.type, entry.mode.toString(8), entry.linkName, text]),
    )
      .toEqual([
        ["dir/", "directory", "750", "", ""],
        ["dir/a", "file", "644", "", "one"],
        ["dir/b", "file", "4755", "", "grown since"],
        ["hard", "hardlink", "644", "dir/a", ""],
        ["link", "symlink", "777", "dir/b", ""],
        ["pipe", "fifo", "600", "", ""],
      ]);
  });

  test("that were not asked for end the transfer", async () => {
    const call = fakeCall(async function* () {
      yield encode("Packet", { type: PACKET.data, ID: 7, data: new Uint8Array(1) });
    });
    await expect(received(call)).rejects.toThrow("was not asked for: 7");
  });

  test("whose sender goes away or fails are an error", async () => {
    await expect(received(fakeCall(async function* () {
      yield stat("dir", (GO_MODE.directory | 0o755) >>> 0);
    }))).rejects.toThrow("session has ended");
    await expect(received(fakeCall(async function* () {
      yield encode("Packet", { type: PACKET.error, data: new TextEncoder().encode("no such file") });
    }))).rejects.toThrow("error from sender: no such file");
  });
});

test("progress is told from the beginning to whoever asks, also after the end", async () => {
  const progress = new Progress("ref", { name: "Dockerfile", text: () => "FROM x" });
  progress.take({
    kind: "plan",
    vertices: [{ id: 0, name: "[1/1] FROM x", instruction: "FROM x", stage: undefined, inputs: [] }],
  });
  const first = progress.messages(new AbortController().signal);
  expect((await first.next()).done).toBe(false);
  const late = first.next();
  progress.take({ kind: "start", id: 0, time: 1000 });
  expect((await late).done).toBe(false);
  await progress.step("[internal] x", "transferring", () => Promise.resolve());
  progress.end();
  let count = 0;
  for await (const _ of progress.messages(new AbortController().signal)) count++;
  expect(count).toBeGreaterThan(4);
});

test("warnings bring the Dockerfile for their excerpts, but not any number of times", async () => {
  const text = "#".repeat(4 * 1024 * 1024);
  const progress = new Progress("ref", { name: "Dockerfile", text: () => text });
  progress.take({
    kind: "vertex",
    vertex: { id: 0, name: "x", instruction: undefined, stage: undefined, inputs: [] },
  });
  for (let line = 1; line <= 50; line++) {
    const range = { startLine: line, endLine: line };
    const warning = { rule: "StageNameCasing", description: "d", url: "", message: "m", range };
    progress.take({ kind: "warning", id: 0, warning });
  }
  progress.end();
  const sizes: number[] = [];
  for await (const message of progress.messages(new AbortController().signal)) sizes.push(message.length);
  // the step, and each warning
  expect(sizes).toHaveLength(51);
  expect(sizes[1]).toBeGreaterThan(text.length);
  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(5 * text.length);
});
